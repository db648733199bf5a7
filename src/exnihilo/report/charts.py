"""Figure → Altair chart → Vega-Lite specification → SVG.

A chart carries the light colors of ``palette`` and a default width; the page refits both to the reader's screen.
"""

import html
import math
import re
from collections.abc import Mapping
from typing import Any

import altair as alt
import vl_convert

from exnihilo.claims.records import Figure
from exnihilo.report.marks import layers, wrapped_labels
from exnihilo.report.palette import GRID, GROUND, INK, MUTED, TOKENS, Style, series_styles
from exnihilo.report.plot import Plot, prepare

WIDTH = 680
FONT = '-apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif'

_HEIGHT, _PANEL_HEIGHT, _ROW_HEIGHT, _DODGED_HEIGHT = 280, 170, 27, 14
_MOST_COLUMNS, _AXIS_ROOM, _SPACING = 3, 56, 18
_UPRIGHT = {"titleAngle": 0, "titleAlign": "left", "titleBaseline": "bottom", "titleX": -34, "titleY": -12}
_CHARACTER = 6.6  # mean width of one at 12 px


def chart(figure: Figure, styles: Mapping[str, Style] | None = None) -> alt.LayerChart | alt.FacetChart:
    """The Altair chart of a figure.

    Missing and non-finite numbers are gaps; categories keep the order of their first appearance.

    Args:
        figure: What to draw.
        styles: Styles of the report's series (``palette.series_styles``); None takes the figure's own.
    """
    return _chart(prepare(figure, series_styles([figure]) if styles is None else styles))


def spec(figure: Figure, styles: Mapping[str, Style] | None = None) -> dict[str, Any]:
    """The Vega-Lite specification of a figure: plain JSON, every number finite, nothing to load from elsewhere.

    Its ``usermeta`` holds what a page needs to refit it: the panels, and the longest label of each channel.
    """
    plot = prepare(figure, series_styles([figure]) if styles is None else styles)
    longest = {key: max(map(len, labels), default=0) for key, labels in plot.categories.items()}
    counts = {key: len(labels) for key, labels in plot.categories.items()}
    meta = {"panels": plot.panels, "own": plot.has_own_scales, "longest": longest, "counts": counts}
    drawn = _chart(plot).to_dict()
    return drawn | {"config": _config(plot), "background": GROUND.light, "usermeta": meta}


def svg(specification: Mapping[str, Any], *, title: str = "", caption: str = "") -> str:
    """A specification as a static SVG, with its title and description for those who cannot see it."""
    drawn = vl_convert.vegalite_to_svg(dict(specification))
    words = f"<title>{html.escape(title)}</title><desc>{html.escape(caption)}</desc>" if title else ""
    return re.sub(r"(<svg\b[^>]*>)", lambda found: found[1] + words, drawn, count=1)


def inlined(drawn: str, *, prefix: str) -> str:
    """A static SVG to stand inside a page: ids of its own, and colors that follow the page's CSS variables."""
    drawn = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', drawn)
    drawn = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", drawn)
    for token in TOKENS:
        drawn = re.sub(token.light, f"var(--{token.name})", drawn, flags=re.IGNORECASE)
    return drawn


def _chart(plot: Plot) -> alt.LayerChart | alt.FacetChart:
    figure = plot.figure
    data = alt.Data(values=list(plot.rows))
    if plot.panels == 1:
        return alt.layer(*layers(plot), data=data).properties(width=WIDTH, height=_height(plot))
    above = alt.TitleParams(text="" if "y" in plot.categories else figure.y.title)
    columns = _columns(plot.panels)
    room = _AXIS_ROOM if "y" not in plot.categories else _CHARACTER * max(map(len, plot.categories["y"]), default=0)
    room *= columns if plot.has_own_scales else 1
    width = max(90, int((WIDTH - room - _SPACING * (columns - 1)) / columns))
    panel = alt.layer(*layers(plot), data=data).properties(width=width, height=_height(plot))
    header = alt.Header(title=None, labelAnchor="start")
    facet = alt.Facet("f:N", sort=list(plot.categories["f"]), title=None, header=header)
    panels = panel.facet(facet=facet, columns=columns, spacing=_SPACING).properties(title=above)
    return panels.resolve_scale(y="independent") if plot.has_own_scales else panels


def _columns(panels: int) -> int:
    """Columns of evenly filled rows: four panels stand two by two, not three and one."""
    return math.ceil(panels / math.ceil(panels / _MOST_COLUMNS))


def _height(plot: Plot) -> int:
    if "y" not in plot.categories:
        return _HEIGHT if plot.panels == 1 else _PANEL_HEIGHT
    dodged = len(plot.categories["c"]) * _DODGED_HEIGHT if plot.is_dodged else 0
    wrapped = 13 * max(map(len, wrapped_labels(plot.categories["y"]).values()), default=1) + 12
    return max(80, len(plot.categories["y"]) * max(_ROW_HEIGHT, dodged, wrapped))


def _config(plot: Plot) -> dict[str, Any]:
    names = plot.categories.get("c", ())
    entry = _CHARACTER * max(map(len, names), default=1) + 44
    quiet = {"labelColor": MUTED.light, "titleColor": MUTED.light, "gridColor": GRID.light}
    lines = {"domainColor": MUTED.light, "tickColor": MUTED.light, "ticks": False, "labelPadding": 7}
    sizes = {"labelFontSize": 12, "titleFontSize": 12, "titleFontWeight": "normal", "titlePadding": 10}
    horizontal = "y" in plot.categories
    return {
        "font": FONT,
        "view": {"stroke": None},
        "aria": False,  # the figure is described as a whole; a label for each of a thousand points helps nobody
        "axis": {**quiet, **lines, **sizes, "labelLimit": 260},
        "axisX": {"grid": horizontal and "x" not in plot.categories, "domain": not horizontal},
        "axisY": {"grid": not horizontal, "domain": False, **_UPRIGHT},
        "axisXDiscrete": {"labelAngle": _angle(plot)},
        "axisXQuantitative": {"labelFlush": plot.panels > 1, "tickCount": 7 if plot.panels == 1 else 4},
        "axisYQuantitative": {"tickCount": 5},
        "legend": {
            "orient": "top",
            "columns": max(1, min(len(names), int(WIDTH / entry))),
            "labelColor": INK.light,
            "titleColor": MUTED.light,
            "labelFontSize": 12,
            "titleFontSize": 12,
            "titleFontWeight": "normal",
            "symbolSize": 140,
            "symbolStrokeWidth": 2.4,
            "labelLimit": 240,
            "offset": 14 if plot.panels > 1 or "y" in plot.categories else 32,  # the title of y stands between
        },
        "header": {"labelColor": INK.light, "labelFontSize": 12.5, "labelFontWeight": 600, "labelPadding": 6},
        "title": {
            "anchor": "start",
            "frame": "bounds",
            "color": MUTED.light,
            "fontSize": 12,
            "fontWeight": "normal",
            "offset": 10,
        },
    }


def _angle(plot: Plot) -> int:
    """Labels of categories lie flat where they fit beside each other, else they slope."""
    labels = plot.categories.get("x", ())
    columns = _columns(plot.panels)
    return 0 if sum(len(label) * _CHARACTER + 12 for label in labels) < WIDTH / columns - _AXIS_ROOM else -35
