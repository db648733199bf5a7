"""The layers of each mark, as Altair charts without data (the figure's rows come on top)."""

import json
import math
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import altair as alt

from exnihilo.report.heat import DARK_INK, LIGHT_INK, heat_scale
from exnihilo.report.palette import CARD, INK, MUTED, SERIES
from exnihilo.report.plot import Key, Plot

_MOST_MARKERS = 12
_MOST_HOVERS = 1500
_MOST_CELL_NUMBERS = 120
_LABEL_CHARACTERS = 42

Layer = alt.Chart


def layers(plot: Plot) -> list[Layer]:
    """The layers of the figure's mark, the lowest first."""
    return MARKS[plot.figure.mark](plot)


def _line(plot: Plot) -> list[Layer]:
    axes, color = _axes(plot), _color(plot)
    dashed: dict[str, Any] = {"strokeDash": _dash(plot)} if _has_dashes(plot) else {}
    if plot.has_hidden_lines:
        dashed["size"] = _thinning(plot)  # the width of a line is its size in Vega-Lite
    drawn = [alt.Chart().mark_line(strokeWidth=2.2, strokeJoin="round").encode(**axes, **color, **dashed)]
    if plot.has_band:
        drawn.insert(0, alt.Chart().mark_area(opacity=0.15).encode(**axes | _span(plot), **color))
    if _has_markers(plot):
        mark = alt.Chart().mark_point(filled=True, size=34, opacity=1)
        drawn.append(mark.encode(**axes, **color, **_shape(plot), tooltip=_tooltip(plot)))
    elif len(plot.rows) <= _MOST_HOVERS:
        mark = alt.Chart().mark_point(filled=True, size=90, opacity=0)
        drawn.append(mark.encode(**axes, **color, tooltip=_tooltip(plot)))
    return [*_reference(plot), *drawn]


def _bar(plot: Plot) -> list[Layer]:
    axes, value = _axes(plot, stack=None), plot.value
    placement = plot.placements.get(value)
    # A bar on a log axis has no zero to stand on: it stands on the axis.
    base = {f"{value}2": alt.datum(_axis_start(placement.scale))} if placement and _axis_start(placement.scale) else {}
    offset = _offset(plot)
    mark = alt.Chart().mark_bar(cornerRadiusEnd=2, opacity=0.92)
    drawn = [mark.encode(**axes, **base, **_color(plot), **offset, tooltip=_tooltip(plot))]
    return [*drawn, *_whisker(plot, ink=True), *_reference(plot)]


def _point(plot: Plot) -> list[Layer]:
    mark = alt.Chart().mark_point(filled=True, size=62, opacity=0.85)
    dots = mark.encode(**_axes(plot), **_color(plot), **_shape(plot), tooltip=_tooltip(plot))
    return [*_reference(plot), *_whisker(plot, dodged=False), dots]


def _interval(plot: Plot) -> list[Layer]:
    mark = alt.Chart().mark_point(filled=True, size=70, opacity=1)
    dots = mark.encode(**_axes(plot), **_color(plot), **_shape(plot), **_offset(plot), tooltip=_tooltip(plot))
    return [*_reference(plot), *_whisker(plot), dots]


def _heatmap(plot: Plot) -> list[Layer]:
    axis = plot.figure.color
    axes = _axes(plot)
    if axis is None or "c" in plot.categories:
        color = _color(plot)
    else:
        numbers = [row["c"] for row in plot.rows if row["c"] is not None]
        scale = alt.Scale(**heat_scale(axis, numbers))
        legend = alt.Legend(title=axis.title, gradientLength=220, gradientThickness=10)
        color: dict[str, Any] = {"color": alt.Color("c:Q", scale=scale, legend=legend)}
    cells = (
        alt.Chart()
        .mark_rect(cornerRadius=3, stroke=CARD.light, strokeWidth=2)
        .encode(**axes, **color, tooltip=_tooltip(plot))
    )
    if len(plot.rows) > _MOST_CELL_NUMBERS or "c" in plot.categories:
        return [cells]
    inks = (("dark", DARK_INK), ("light", LIGHT_INK))
    ink = {"condition": [{"test": f"datum.ink == '{name}'", "value": hue} for name, hue in inks], "value": MUTED.light}
    numbers_shown = alt.Chart().mark_text(fontSize=11).encode(**axes, text="label:N", color=ink)
    return [cells, numbers_shown]


MARKS: Mapping[str, Callable[[Plot], list[Layer]]] = MappingProxyType(
    {"line": _line, "bar": _bar, "point": _point, "interval": _interval, "heatmap": _heatmap}
)


def _axes(plot: Plot, **options: Any) -> dict[str, Any]:
    channels: dict[str, Any] = {}
    known: tuple[tuple[Key, Any], ...] = (("x", alt.X), ("y", alt.Y))
    for key, channel in known:
        axis = plot.figure.x if key == "x" else plot.figure.y
        # The title of y stands above its axis, where it reads from left to right, or once above all panels.
        title = axis.title if key == "x" or plot.panels == 1 else None
        if key in plot.categories:
            sort = list(plot.categories[key])
            shape = alt.Axis(title=title) if key == "x" else alt.Axis(title=None, **_wrapped(sort))
            channels[key] = channel(f"{key}:N", sort=sort, axis=shape)
            continue
        place = plot.placements[key]
        # Vega thins the given ticks of a log axis down to its tick count: a large one keeps them all.
        ticks: dict[str, Any] = {"values": list(place.ticks), "tickCount": 40} if place.ticks is not None else {}
        label: dict[str, Any] = {"labelExpr": place.label} if place.label is not None else {}
        shape = alt.Axis(title=title, **ticks, **label)
        only_value = options if key == plot.value else {}
        channels[key] = channel(f"{key}:Q", scale=alt.Scale(**place.scale), axis=shape, **only_value)
    return channels


def wrapped_labels(labels: Sequence[str]) -> dict[str, list[str]]:
    """Lines for the names beside rows: all in as many as the longest needs, so that they stand at equal height.

    Example:
        >>> wrapped_labels(["digits", "a name of more than forty characters · beside a row"])["digits"]
        ['digits']
    """
    most = max((math.ceil(len(label) / _LABEL_CHARACTERS) for label in labels), default=1)
    return {label: _lines(label, most) for label in labels}


def _lines(label: str, most: int) -> list[str]:
    if most == 1:
        return [label]
    # A separating dot stays with the word before it, and both sides of an equation together.
    tied = re.sub(r" (?=[·=])|(?<==) ", "\u00a0", label)
    return textwrap.wrap(tied, math.ceil(len(label) / most) + 4) or [label]


def _wrapped(labels: Sequence[str]) -> dict[str, Any]:
    lines = wrapped_labels(labels)
    most = max(map(len, lines.values()), default=1)
    if most == 1:
        return {}
    expression = f"{json.dumps(lines)}[datum.label]"
    return {"labelExpr": expression, "labelLineHeight": 13, "labelOffset": -6.5 * (most - 1)}


def _span(plot: Plot) -> dict[str, Any]:
    """The value axis from ``low`` to ``high``, with the axis of the others."""
    axis = _axes(plot)[plot.value].copy()
    axis.shorthand = "low:Q"
    return {plot.value: axis, f"{plot.value}2": "high:Q"}


def _whisker(plot: Plot, *, ink: bool = False, dodged: bool = True) -> list[Layer]:
    if not any("low" in row or "high" in row for row in plot.rows):
        return []
    color: dict[str, Any] = {"color": alt.value(INK.light)} if ink else _color(plot)
    offset = _offset(plot) if dodged else {}
    mark = alt.Chart().mark_rule(strokeWidth=1.3 if ink else 2.2, opacity=0.9 if ink else 0.75)
    span = _axes(plot) | _span(plot)
    # Ink on a bar of any color stands out by its halo.
    halo = alt.Chart().mark_rule(strokeWidth=3.6, color=CARD.light).encode(**span, **offset)
    whole = mark.encode(**span, **color, **offset)
    return [*([halo] if ink else []), whole, *_open_ends(plot, color | offset)]


def _open_ends(plot: Plot, others: dict[str, Any]) -> list[Layer]:
    """Whiskers of intervals without an end on one side or both: dotted, to the edge of the panel."""
    axes, key = _axes(plot), plot.value
    edges = {"low": 0, "high": "width"} if key == "x" else {"low": "height", "high": 0}
    drawn: list[Layer] = []
    for missing, present in (("low", "high"), ("high", "low")):
        if not any(missing in row and row[missing] is None and row[key] is not None for row in plot.rows):
            continue
        test = f"datum.{missing} === null && isValid(datum.{key})"
        mark = alt.Chart().transform_filter(test).mark_rule(strokeWidth=2.2, strokeDash=[1, 3])
        span = {key: axes[key], f"{key}2": alt.value(edges[missing])}
        drawn.append(mark.encode(**axes | span, **others))
        # From the estimate to the end that is there, as everywhere.
        mark = alt.Chart().transform_filter(test).mark_rule(strokeWidth=2.2, opacity=0.75)
        drawn.append(mark.encode(**axes | {key: axes[key], f"{key}2": f"{present}:Q"}, **others))
    return drawn


def _reference(plot: Plot) -> list[Layer]:
    reference = plot.figure.reference
    placement = plot.placements.get(plot.value)
    if reference is None or placement is None:
        return []
    # Aggregated to one row a panel: else the line is drawn once for each row.
    mark = alt.Chart().transform_aggregate(n="count()").mark_rule(color=MUTED.light, strokeDash=[4, 3], strokeWidth=1.4)
    return [mark.encode(**{plot.value: alt.datum(placement.place(reference))})]


def _color(plot: Plot) -> dict[str, Any]:
    axis, names = plot.figure.color, plot.categories.get("c")
    if axis is None or not names:
        return {"color": alt.value(SERIES[0].light)}
    colors = [plot.styles[name].color.light for name in names]
    scale = alt.Scale(domain=list(names), range=colors)
    return {"color": alt.Color("c:N", sort=list(names), scale=scale, legend=_legend(plot))}


def _dash(plot: Plot) -> alt.StrokeDash:
    names = plot.categories["c"]
    scale = alt.Scale(domain=list(names), range=[list(plot.styles[name].dash) for name in names])
    return alt.StrokeDash("c:N", sort=list(names), scale=scale, legend=_legend(plot))


def _thinning(plot: Plot) -> dict[str, Any]:
    """Lines that lie on each other: the ones below are wider and show on both sides."""
    names = plot.categories["c"]
    widths = [round(4.8 - 2.8 * place / (len(names) - 1), 2) for place in range(len(names))]
    tests = [f"datum.c === {json.dumps(name)}" for name in names]
    return {"condition": [{"test": test, "value": width} for test, width in zip(tests, widths, strict=True)]}


def _shape(plot: Plot) -> dict[str, Any]:
    names = plot.categories.get("c")
    if not names or plot.figure.color is None or plot.figure.color.kind != "nominal":
        return {}
    scale = alt.Scale(domain=list(names), range=[plot.styles[name].shape for name in names])
    return {"shape": alt.Shape("c:N", sort=list(names), scale=scale, legend=_legend(plot))}


def _legend(plot: Plot) -> alt.Legend | None:
    color = plot.figure.color
    if color is None or _names_itself(plot):
        return None
    # Names speak for themselves; numbers need to be told what they count.
    stroke: dict[str, Any] = (
        {"symbolType": "stroke", "symbolSize": 260} if plot.figure.mark == "line" and not _has_markers(plot) else {}
    )
    return alt.Legend(title=None if color.kind == "nominal" else color.title, symbolOpacity=1, **stroke)


def _names_itself(plot: Plot) -> bool:
    """Whether the categories of an axis or the panels already name the colors."""
    color = plot.figure.color
    others = [plot.figure.x, plot.figure.y, *([plot.figure.facet] if plot.figure.facet else [])]
    return color is not None and any(axis.field == color.field for axis in others)


def _has_markers(plot: Plot) -> bool:
    return len({row["x"] for row in plot.rows}) <= _MOST_MARKERS


def _has_dashes(plot: Plot) -> bool:
    return len({style.dash for style in plot.styles.values()}) > 1


def _offset(plot: Plot) -> dict[str, Any]:
    if not plot.is_dodged:
        return {}
    names = list(plot.categories["c"])
    channel = alt.XOffset if plot.category == "x" else alt.YOffset
    return {f"{plot.category}Offset": channel("c:N", sort=names, scale=alt.Scale(domain=names))}


def _tooltip(plot: Plot) -> list[alt.Tooltip]:
    def field(key: str) -> str:
        return f"{key}:N" if key[0] == "t" or key in plot.categories else f"{key}:Q"

    return [
        alt.Tooltip(field(key), title=title, format=alt.Undefined if field(key).endswith("N") else ".4~g")
        for key, title in plot.tooltip.items()
    ]


def _axis_start(scale: Mapping[str, Any]) -> float | None:
    return scale["domain"][0] if scale["type"] == "log" and "domain" in scale else None
