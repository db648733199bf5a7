"""A figure made ready for drawing: safe field names, finite numbers, categories in order, placed axes.

Field names of a figure are free text; inside a chart they are ``x``, ``y``, ``c`` (color) and ``f`` (facet), ``low``
and ``high``, and ``t0``, ``t1``, ... for what only the tooltip shows. Where an axis places zero at a floor, ``x0`` and
``y0`` keep the true number for the tooltip.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from exnihilo.claims.records import Axis, Figure, Value
from exnihilo.report.heat import with_cell_labels
from exnihilo.report.numbers import shown
from exnihilo.report.palette import Style, ramp
from exnihilo.report.scales import Placement, placement

Key = Literal["x", "y", "c", "f"]

_DIGITS = 6
_MOST_EXTRAS = 4
_MOST_UNLIKE = 6.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """What the marks need to know.

    Args:
        figure: The record.
        rows: Rows under safe names.
        categories: Labels of each categorical channel, in order of first appearance (numbers ascending).
        placements: Of each quantitative axis, ``x`` or ``y``.
        value: The quantitative axis that bars and whiskers run along.
        styles: Of each color category.
        tooltip: Safe field name → title, in order.
        has_band: Whether any row has both ``low`` and ``high``.
    """

    figure: Figure
    rows: tuple[dict[str, Any], ...]
    categories: Mapping[Key, tuple[str, ...]]
    placements: Mapping[Key, Placement]
    value: Literal["x", "y"]
    styles: Mapping[str, Style]
    tooltip: Mapping[str, str]
    has_band: bool

    @property
    def category(self) -> Literal["x", "y"]:
        """The axis that is not the value axis."""
        return "x" if self.value == "y" else "y"

    @property
    def panels(self) -> int:
        """Small multiples; 1 without a facet."""
        return max(1, len(self.categories.get("f", ())))

    @property
    def has_own_scales(self) -> bool:
        """Whether the panels' linear values differ so much that one scale would flatten some of them."""
        if self.panels == 1 or self.value != "y" or self.placements["y"].scale["type"] != "linear":
            return False
        sizes: dict[str, float] = {}
        for row in self.rows:
            if row["y"] is not None:
                sizes[row["f"]] = max(sizes.get(row["f"], 0.0), abs(row["y"]))
        return bool(sizes) and max(sizes.values()) > _MOST_UNLIKE * min(sizes.values())

    @property
    def has_hidden_lines(self) -> bool:
        """Whether lines of several series run through the same points, so that one would cover the other."""
        if self.figure.mark != "line" or len(self.categories.get("c", ())) < 2:
            return False
        places = [(row.get("f"), row["x"], row["y"]) for row in self.rows if row["y"] is not None]
        return len(places) - len(set(places)) > len(places) / 20

    @property
    def is_dodged(self) -> bool:
        """Whether marks of several colors meet at one category and must stand side by side."""
        if "c" not in self.categories or self.category not in self.categories:
            return False
        places = [(row.get("f"), row[self.category]) for row in self.rows]
        return len(places) > len(set(places))


def prepare(figure: Figure, styles: Mapping[str, Style]) -> Plot:
    """A figure as a plot; ``styles`` holds the report's nominal series."""
    axes: dict[Key, Axis] = {"x": figure.x, "y": figure.y}
    if figure.color is not None:
        axes["c"] = figure.color
    if figure.facet is not None:
        axes["f"] = figure.facet
    kinds: dict[Key, bool] = {key: _is_number(key, axis, figure) for key, axis in axes.items()}
    categories: dict[Key, tuple[str, ...]] = {
        key: _categories(figure, axis) for key, axis in axes.items() if not kinds[key]
    }
    value: Literal["x", "y"] = "y" if kinds["y"] else "x"
    placements: dict[Key, Placement] = {
        key: placement(
            _numbers(figure, axes[key], key == value), axes[key].scale, zero=figure.mark == "bar" and key == value
        )
        for key in ("x", "y")
        if kinds[key]
    }
    known = {axis.field for axis in axes.values()} | {"low", "high"}
    extras = [name for name in dict.fromkeys(name for row in figure.rows for name in row) if name not in known]
    extras = extras[:_MOST_EXTRAS]
    rows = tuple(_row(row, axes, kinds, placements, value, extras) for row in figure.rows)
    if kinds.get("c", False):
        rows = with_cell_labels(rows, axes["c"])
    return Plot(
        figure=figure,
        rows=rows,
        categories=categories,
        placements=placements,
        value=value,
        styles=_styles(axes.get("c"), categories.get("c", ()), styles),
        tooltip=_tooltip(axes, placements, rows, extras),
        has_band=any(row.get("low") is not None and row.get("high") is not None for row in rows),
    )


def finite(value: Value) -> float | None:
    """A number that JSON and a scale can hold, at six significant digits; None for anything else.

    Example:
        >>> [finite(v) for v in (0.123456789, float("nan"), None, True, "text")]
        [0.123457, None, None, None, None]
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(f"{value:.{_DIGITS}g}")


def _is_number(key: Key, axis: Axis, figure: Figure) -> bool:
    """Whether a channel shows a number: heatmaps number their color only, the other marks their axes only."""
    quantitative = axis.kind == "quantitative"
    return quantitative and (key == "c") == (figure.mark == "heatmap") and key != "f"


def _categories(figure: Figure, axis: Axis) -> tuple[str, ...]:
    values = list(dict.fromkeys(row.get(axis.field) for row in figure.rows))
    if axis.kind == "quantitative":
        values.sort(key=lambda value: (finite(value) is None, finite(value) or 0.0))
    return tuple(dict.fromkeys(shown(value) for value in values))


def _numbers(figure: Figure, axis: Axis, is_value: bool) -> Iterable[float]:
    fields = (axis.field, "low", "high") if is_value else (axis.field,)
    numbers = [number for row in figure.rows for field in fields if (number := finite(row.get(field))) is not None]
    return [*numbers, figure.reference] if is_value and figure.reference is not None else numbers


def _row(
    row: Mapping[str, Value],
    axes: Mapping[Key, Axis],
    kinds: Mapping[Key, bool],
    placements: Mapping[Key, Placement],
    value: Literal["x", "y"],
    extras: Sequence[str],
) -> dict[str, Any]:
    safe: dict[str, Any] = {}
    for key, axis in axes.items():
        raw = row.get(axis.field)
        if not kinds[key]:
            safe[key] = shown(raw)
        elif key not in placements:
            safe[key] = finite(raw)
        else:
            safe[key] = placements[key].place(finite(raw))
            if placements[key].floor is not None:
                safe[f"{key}0"] = finite(raw)
    if value in placements:
        for bound in ("low", "high"):
            if bound in row:
                safe[bound] = placements[value].place(finite(row[bound]))
    for place, name in enumerate(extras):
        safe[f"t{place}"] = shown(row.get(name))
    return safe


def _styles(axis: Axis | None, names: Sequence[str], styles: Mapping[str, Style]) -> Mapping[str, Style]:
    if axis is None or axis.kind != "nominal":
        return dict(zip(names, ramp(len(names)), strict=True))
    return {name: styles[name] for name in names}


def _tooltip(
    axes: Mapping[Key, Axis],
    placements: Mapping[Key, Placement],
    rows: Sequence[Mapping[str, Any]],
    extras: Sequence[str],
) -> Mapping[str, str]:
    order: tuple[Key, ...] = ("f", "c", "x", "y")
    titles: dict[str, str] = {}
    for key in order:
        if key in axes and (axes[key].title or axes[key].field) not in titles.values():
            has_floor = key in placements and placements[key].floor is not None
            titles[f"{key}0" if has_floor else key] = axes[key].title or axes[key].field
    titles |= {bound: bound for bound in ("low", "high") if any(bound in row for row in rows)}
    return titles | {f"t{place}": name for place, name in enumerate(extras)}
