"""The sample report in a real browser, and the check itself against reports that are broken on purpose."""

from dataclasses import replace

import pytest
import sample
from browser import check_page, chromium

from exnihilo.report.page import write_report

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A report of three claims."""
    chromium()
    results = sample.results()
    few = replace(results, claims=tuple(answer for answer in results.claims if answer.id in {"D2", "D3", "C4"}))
    return write_report(few, tmp_path_factory.mktemp("report")).parent


@pytest.fixture
def altered(small, tmp_path):
    """A copy of the small report in which one text is replaced by another."""

    def alter(old, new):
        html = (small / "index.html").read_text()
        assert old in html
        (tmp_path / "index.html").write_text(html.replace(old, new))
        (tmp_path / "results.json").write_text((small / "results.json").read_text())
        return tmp_path

    return alter


def test_the_page_works_for_every_reader(tmp_path):
    chromium()
    check_page(write_report(sample.results(), tmp_path, explanation=sample.EXPLANATION).parent)


def test_a_report_of_a_few_claims_without_an_opening_works_too(small):
    check_page(small)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("</footer>", '<img src="https://example.org/x.png" alt="x"></footer>', "example.org"),
        ('data-claim="D3"', 'data-claim="D33"', "the card of D3 is None"),
        ("Math.min(ramp.gradientLength, above - 24)", "300", "is cut off"),
        ('"mark":{"type":"rect"', '"mark":{"type":"wrecked"', "is not drawn"),
        ("--muted: #a6aebb;", "--muted: #404650;", "contrast"),
        ("main { max-width: 58rem;", "main { width: 58rem;", "scrolls sideways"),
        ('<a class="skip" href="#main">', '<a class="skip" tabindex="-1" href="#main">', "skip link"),
        (".is-live .static { display: block; }", "", "print: figure"),
    ],
)
def test_a_broken_page_is_found(altered, old, new, complaint):
    with pytest.raises(AssertionError, match=complaint):
        check_page(altered(old, new))
