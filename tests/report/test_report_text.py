"""The terminal: one line a claim, at 80 columns, with color and without."""

import io
from dataclasses import replace
from pathlib import Path

import pytest
import sample
from rich.console import Console

from exnihilo.report.numbers import shown
from exnihilo.report.text import claim_line, count_line, summary


def printed(renderable, **options):
    """What a console of 80 columns writes."""
    out = io.StringIO()
    Console(file=out, **{"width": 80, **options}).print(renderable)
    return out.getvalue()


def test_the_summary_is_one_line_a_claim_a_count_and_the_page():
    results = sample.results()
    few = replace(results, claims=results.claims[:3])
    assert printed(summary(few, Path("report/index.html"))) == (
        "D1   supported  All 6,922 parameters of the test network are zero, bit for bit,…\n"
        "D2   refuted    With f(0) = 0 (relu, tanh, gelu) only the output bias ever move…\n"
        "D3   depends    on the activation's value at zero: With f(0) = 0 the gradients …\n"
        "\n"
        "3 claims: 1 supported, 1 refuted, 1 depends\n"
        "2,016 training runs · preset quick · seed 0 · 3 min 41 s\n"
        "page: report/index.html\n"
    )


def test_no_line_is_wider_than_the_terminal():
    assert max(map(len, printed(summary(sample.results())).splitlines())) <= 80


def test_the_path_of_the_page_stays_whole():
    path = Path("/a") / ("long" * 30) / "index.html"
    text = printed(summary(sample.results(), path))
    assert str(path) in text.replace("\n", "")


def test_a_pipe_gets_no_color():
    assert "\x1b" not in printed(summary(sample.results()))


def test_no_color_keeps_the_words(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    text = printed(claim_line(sample.results().claims[0]), force_terminal=True)
    assert "\x1b[3" not in text
    assert "supported" in text


def test_a_terminal_gets_the_verdict_in_color(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = printed(claim_line(sample.results().claims[1]), force_terminal=True, color_system="standard")
    assert "\x1b[31mrefuted" in text


def test_one_claim_is_not_counted_as_claims():
    results = replace(sample.results(), claims=sample.results().claims[:1])
    assert count_line(results).plain == "1 claim: 1 supported"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-3, "−3"),
        (-0.0, "0"),
        (0.001, "0.001"),
        (0.00099, "9.9×10⁻⁴"),
        (1e-30, "10⁻³⁰"),
        (-1e-8, "−10⁻⁸"),
        (999.95, "1,000"),
        (123456.0, "123,456"),
        (1.5e9, "1.5×10⁹"),
        (float("-inf"), "−∞"),
        (False, "no"),
    ],
)
def test_numbers_are_written_for_readers(value, text):
    assert shown(value) == text
