"""What a figure becomes: safe numbers, placed zeros, categories in order, colors that keep apart."""

import itertools
import json
import math
import re
from dataclasses import replace

import pytest
import sample

from exnihilo.claims.records import Axis, Figure
from exnihilo.report.charts import inlined, spec, svg
from exnihilo.report.marks import MARKS
from exnihilo.report.palette import CARD, RAMP, SERIES, TOKENS, series_styles
from exnihilo.report.scales import placement

START = Axis(field="start", title="start", kind="nominal")
VALUE = Axis(field="value", title="value")


def figure(mark, rows, **fields):
    given = {"x": Axis(field="x", title="x"), "y": VALUE, "name": "f", "title": "Title", "caption": "Caption"}
    return Figure(mark=mark, rows=tuple(rows), **{**given, **fields})


def sample_figures():
    return [entry for answer in sample.results().claims for entry in answer.evidence.figures]


def drawn_rows(specification):
    """The rows that a specification holds."""
    return specification["data"]["values"]


def values_in(tree):
    """Every number, text and None of nested lists and mappings."""
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list):
        return [value for entry in tree for value in values_in(entry)]
    return [tree]


def test_the_sample_has_every_mark():
    assert {entry.mark for entry in sample_figures()} == set(MARKS)


@pytest.mark.parametrize("mark", sorted(MARKS))
def test_every_mark_becomes_an_svg_with_its_title(mark):
    first = next(entry for entry in sample_figures() if entry.mark == mark)
    drawn = svg(spec(first), title=first.title, caption=first.caption)
    assert drawn.startswith("<svg")
    assert f"<title>{first.title.replace(chr(39), '&#x27;')}</title>" in drawn
    assert len(re.findall(r"<path|<line|<rect", drawn)) > 10


def test_every_sample_specification_is_strict_json_and_names_no_address_but_its_schema():
    for entry in sample_figures():
        specification = spec(entry)
        json.dumps(specification, allow_nan=False)
        addresses = [text for text in values_in(specification) if isinstance(text, str) and "http" in text]
        assert addresses == [specification["$schema"]]


def test_missing_and_infinite_numbers_are_gaps():
    numbers = [1.0, None, math.nan, math.inf, -math.inf, 2.0]
    rows = [{"x": i, "value": number} for i, number in enumerate(numbers)]
    assert [row["y"] for row in drawn_rows(spec(figure("line", rows)))] == [1.0, None, None, None, None, 2.0]


def test_a_gap_breaks_the_line():
    def line_path(numbers):
        drawn = svg(spec(figure("line", [{"x": i, "value": number} for i, number in enumerate(numbers)])))
        return next(path for path in re.findall(r'd="([^"]+)"[^>]*stroke-width="2.2"', drawn))

    assert line_path([1.0, 2.0, 3.0, 4.0, 5.0]).count("M") == 1
    assert line_path([1.0, 2.0, None, 4.0, 5.0]).count("M") == 2


@pytest.mark.parametrize("mark", ["line", "bar", "point", "interval"])
@pytest.mark.parametrize("scale", ["log", "symlog"])
def test_zeros_stand_on_a_log_axis_with_a_label_of_their_own(mark, scale):
    rows = [{"x": "a", "value": 0.0}, {"x": "b", "value": 1e-6}, {"x": "c", "value": 1.0}]
    axis = Axis(field="value", title="value", scale=scale)
    first = figure(mark, rows, x=Axis(field="x", title="x", kind="nominal"), y=axis)
    drawn = svg(spec(first))
    assert ">0</text>" in drawn
    assert ">10⁻⁶</text>" in drawn
    assert "NaN" not in drawn
    assert "Infinity" not in drawn


def test_zero_at_the_floor_of_a_log_axis_is_zero_in_the_tooltip():
    rows = [{"x": 1, "value": 0.0}, {"x": 2, "value": 1e-6}]
    specification = spec(figure("line", rows, y=Axis(field="value", title="value", scale="log")))
    assert [(row["y"] > 0, row["y0"]) for row in drawn_rows(specification)] == [(True, 0.0), (True, 1e-6)]
    fields = {entry["field"] for layer in specification["layer"] for entry in layer["encoding"].get("tooltip", [])}
    assert "y0" in fields
    assert "y" not in fields


def test_negative_numbers_on_a_log_axis_make_it_symlog():
    assert placement([-1e-3, 0.0, 10.0], "log").scale["type"] == "symlog"
    assert placement([1e-3, 10.0], "log").scale["type"] == "log"


def test_categories_keep_the_order_of_their_first_appearance():
    rows = [{"x": name, "value": 1.0, "start": name} for name in ("zeros", "alpha", "momentum", "beta")]
    specification = spec(figure("bar", rows, x=Axis(field="x", title="x", kind="nominal"), color=START))
    encoding = specification["layer"][0]["encoding"]
    assert encoding["x"]["sort"] == ["zeros", "alpha", "momentum", "beta"]
    assert encoding["color"]["scale"]["domain"] == ["zeros", "alpha", "momentum", "beta"]


def test_a_field_name_that_vega_would_read_as_a_path_is_drawn():
    axis = Axis(field="d.loss[0]", title="loss")
    rows = [{"x": i, "d.loss[0]": 0.5 * i} for i in range(4)]
    assert [row["y"] for row in drawn_rows(spec(figure("point", rows, y=axis)))] == [0.0, 0.5, 1.0, 1.5]


def test_the_reference_is_one_line_a_panel():
    rows = [{"x": i, "value": float(i), "task": task} for task in "ab" for i in range(5)]
    panels = figure("line", rows, facet=Axis(field="task", title="task", kind="nominal"), reference=2.0)
    assert svg(spec(panels)).count('stroke-dasharray="4,3"') == 2
    assert svg(spec(replace(panels, facet=None))).count('stroke-dasharray="4,3"') == 1


def test_an_interval_without_an_end_is_dotted_to_the_edge():
    rows = [
        {"x": "bounded", "value": 0.1, "low": 0.0, "high": 0.2},
        {"x": "open", "value": 0.1, "low": -math.inf, "high": 0.2},
    ]
    cell = Axis(field="x", title="cell", kind="nominal")
    forest = figure("interval", rows, x=VALUE, y=cell)
    assert svg(spec(forest)).count('stroke-dasharray="1,3"') == 1
    assert svg(spec(replace(forest, rows=tuple(rows[:1])))).count('stroke-dasharray="1,3"') == 0


def test_panels_of_unlike_sizes_get_scales_of_their_own():
    def scales(*sizes):
        rows = [{"x": i, "value": size * i, "task": f"task {size}"} for size in sizes for i in range(5)]
        panels = figure("line", rows, facet=Axis(field="task", title="task", kind="nominal"))
        return spec(panels).get("resolve", {}).get("scale", {}).get("y")

    assert scales(1.0, 3.0) is None
    assert scales(1.0, 100.0) == "independent"


def test_a_line_below_another_is_wider_and_shows():
    def widths(gap):
        rows = [{"x": i, "value": 1.0 + gap * k, "start": f"s{k}"} for k in range(2) for i in range(5)]
        drawn = svg(spec(figure("line", rows, color=START)))
        return {float(width) for width in re.findall(r'<path[^>]*d="M0,[^>]*stroke-width="([\d.]+)"', drawn)}

    assert len(widths(gap=0.0)) == 2
    assert len(widths(gap=1.0)) == 1


def test_a_figure_without_rows_is_drawn_empty():
    for mark in MARKS:
        assert svg(spec(figure(mark, [], color=START))).startswith("<svg")


def test_a_heatmap_writes_its_numbers_and_marks_cells_that_were_not_run():
    rows = [{"x": "a", "y": "r", "value": 0.123456}, {"x": "b", "y": "r", "value": None}]
    axes = {"x": Axis(field="x", title="x", kind="nominal"), "y": Axis(field="y", title="y", kind="nominal")}
    drawn = svg(spec(figure("heatmap", rows, color=VALUE, **axes)))
    assert ">0.123</text>" in drawn
    assert ">–</text>" in drawn


def test_a_series_has_one_style_in_all_figures():
    one = figure("line", [{"x": 1, "value": 1.0, "start": name} for name in ("lsuv", "he_normal")], color=START)
    two = figure("line", [{"x": 1, "value": 1.0, "start": name} for name in ("fixup", "lsuv", "zeros")], color=START)
    styles = series_styles([one, two])
    colors = [
        dict(zip(scale["domain"], scale["range"], strict=True))
        for scale in (spec(entry, styles)["layer"][0]["encoding"]["color"]["scale"] for entry in (one, two))
    ]
    assert colors[0]["lsuv"] == colors[1]["lsuv"]
    assert colors[0]["he_normal"] == SERIES[0].light
    assert series_styles([two, one])["he_normal"] == styles["he_normal"]


def test_series_that_meet_in_a_figure_never_share_a_style():
    names = ["he_normal", "normal(0.01)", "normal(0.1)", "normal(1)", *(f"start {i}" for i in range(20))]
    crowd = figure("line", [{"x": 1, "value": 1.0, "start": name} for name in names], color=START)
    styles = series_styles([crowd])
    looks = [(styles[name].color.name, styles[name].dash) for name in names]
    assert len(set(looks)) == len(names)
    assert len({styles[name].color for name in names[1:4]}) == 1


def test_an_inlined_svg_follows_the_page_and_keeps_its_ids_apart():
    drawn = svg(spec(sample.heat("h")))
    inside = inlined(drawn, prefix="card-h")
    assert 'id="clip0"' not in inside
    assert set(re.findall(r"url\(#([^)]+)\)", inside)) <= set(re.findall(r'id="([^"]+)"', inside))
    for token in TOKENS:
        assert token.light not in inside.lower()


def test_tokens_have_different_values():
    assert len({token.light for token in TOKENS}) == len(TOKENS)


# Color vision: contrast as WCAG 2 defines it; dichromacy after Machado, Oliveira and Fernandes (2009), table 1,
# severity 1; distance as CIE76 in L*a*b* (D65).
VISION = {
    "full": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),
    "tritanopia": ((1.255528, -0.076749, -0.178779), (-0.078411, 0.930809, 0.147602), (0.004733, 0.691367, 0.3039)),
}


def linear(color):
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    return [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]


def luminance(color):
    return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear(color), strict=True))


def contrast(one, two):
    low, high = sorted((luminance(one), luminance(two)))
    return (high + 0.05) / (low + 0.05)


def lab(color, matrix):
    seen = [min(1, max(0, sum(m * v for m, v in zip(row, linear(color), strict=True)))) for row in matrix]
    to_xyz = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.072175), (0.0193339, 0.119192, 0.9503041))
    xyz = [sum(m * v for m, v in zip(row, seen, strict=True)) for row in to_xyz]
    f = [
        t ** (1 / 3) if t > 0.008856 else 7.787 * t + 16 / 116
        for t in (value / white for value, white in zip(xyz, (0.95047, 1.0, 1.08883), strict=True))
    ]
    return (116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2]))


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_series_and_ramp_stand_out_against_the_page(mode):
    for token in (*SERIES, *RAMP):
        assert contrast(getattr(token, mode), getattr(CARD, mode)) >= 2.8, token


@pytest.mark.parametrize("vision", sorted(VISION))
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_series_colors_keep_apart_for_every_color_vision(mode, vision):
    pairs = itertools.combinations([getattr(token, mode) for token in SERIES], 2)
    distances = {pair: math.dist(*(lab(color, VISION[vision]) for color in pair)) for pair in pairs}
    assert min(distances.values()) >= 12, min(distances, key=distances.__getitem__)


def test_the_distance_of_colors_would_notice_a_red_and_a_green_of_equal_lightness():
    red, green = "#c06000", "#708000"
    assert math.dist(lab(red, VISION["full"]), lab(green, VISION["full"])) > 40
    assert math.dist(lab(red, VISION["deuteranopia"]), lab(green, VISION["deuteranopia"])) < 12
