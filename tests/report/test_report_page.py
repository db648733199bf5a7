"""The files of a report: strict, whole, escaped, and refused early where they cannot be written."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
import sample

from exnihilo.claims.records import Answer, Cell, Evidence
from exnihilo.errors import InvalidValueError, OutputError, UnknownNameError
from exnihilo.report import page as page_module
from exnihilo.report.output import ensure_writable, replace_file
from exnihilo.report.page import write_report
from exnihilo.report.prose import inline, steps
from exnihilo.report.results_json import from_json, to_json
from exnihilo.report.snippet import highlighted

HOSTILE = '</script><script>alert("x")</script> & <b>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_report(sample.results(), tmp_path_factory.mktemp("report"), explanation=sample.EXPLANATION).parent


@pytest.fixture(scope="module")
def html(folder):
    return (folder / "index.html").read_text()


class Outline(HTMLParser):
    """Tags with their attributes in order, and tags that do not close."""

    VOID = frozenset({"meta", "link", "br", "hr", "img", "input", "path"})

    def __init__(self, html):
        super().__init__()
        self.tags, self.open, self.errors = [], [], []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        if tag in self.VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)


def few(*ids):
    results = sample.results()
    return replace(results, claims=tuple(answer for answer in results.claims if answer.id in ids))


def refuse_constant(name):
    raise AssertionError(f"{name} is no JSON")


def test_results_json_is_strict_and_begins_each_claim_with_what_is_promised(folder):
    document = json.loads((folder / "results.json").read_text(), parse_constant=refuse_constant)
    assert len(document["claims"]) == 24
    for claim in document["claims"]:
        assert list(claim)[:7] == ["id", "statement", "verdict", "basis", "n", "rule", "evidence"]
        assert {"title", "finding", "factor", "snippet", "rerun"} <= set(claim)


def test_the_sample_has_numbers_that_json_does_not_know():
    with pytest.raises(ValueError, match="not JSON compliant"):
        json.dumps([dict(row) for row in sample.curves("c", sample.TASKS).rows], allow_nan=False)


def test_results_come_back_from_json():
    results = few("D2", "C4", "T1")
    assert from_json(to_json(results)) == results


def test_failed_runs_and_missing_seeds_come_back_from_json():
    cell = Cell(where="wine", supports=None, finding="Open.", failures=(3, 1), more_seeds=17)
    answer = replace(few("D2").claims[0], evidence=Evidence(cells=(cell,)))
    results = replace(few("D2"), claims=(answer,))
    assert from_json(to_json(results)).claims[0].evidence.cells == (cell,)


def test_json_is_the_same_whatever_order_the_fields_were_given_in():
    results = few("D2")
    assert to_json(from_json(to_json(results))) == to_json(results)


def test_the_page_is_well_formed_and_every_id_is_unique(html):
    outline = Outline(html)
    assert outline.errors == []
    assert outline.open == []
    ids = [attributes["id"] for _, attributes in outline.tags if "id" in attributes]
    assert sorted(ids) == sorted(set(ids))


def test_every_link_inside_the_page_leads_somewhere(html):
    outline = Outline(html)
    ids = {attributes.get("id") for _, attributes in outline.tags}
    targets = {attributes["href"] for tag, attributes in outline.tags if tag in {"a", "use"} and "href" in attributes}
    assert {target for target in targets if target.startswith("#") and target[1:] not in ids} == set()


def test_every_other_link_is_a_file_of_the_report(html, folder):
    links = {attributes.get("href", "#") for tag, attributes in Outline(html).tags if tag == "a"}
    for link in links:
        assert link.startswith("#") or (folder / link).is_file()


def test_nothing_in_the_page_is_loaded_from_elsewhere(html):
    for tag, attributes in Outline(html).tags:
        assert "src" not in attributes, tag
        if tag == "link":
            assert attributes["href"] == "data:,"
    styles = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "@import" not in styles
    assert "url(" not in styles


def test_the_page_opens_with_the_answer_and_has_a_card_for_each_other_claim(html):
    claims = [attributes["data-claim"] for _, attributes in Outline(html).tags if "data-claim" in attributes]
    assert claims == ["F1", *(answer.id for answer in sample.results().claims if answer.id != "F1")]
    assert html.index("<h1") < html.index('id="claims"') < html.index('id="D1"') < html.index('id="yours"')


def test_a_card_shows_all_that_its_answer_holds(html):
    card = html[html.index('id="D3"') : html.index('id="D4"')]
    for words in (
        "Zeros in a deep network make gradients vanish",
        "can give vanishing gradients",
        "depends",
        "measured",
        "a factor of 4.1 a layer",
        "It depends on</strong> the activation&#39;s value at zero",
        "8 cells: 5 support the claim, 3 refute it",
        "[−0.051, −0.012]",
        "336",
        "Exact sign-flip test",
        "exnihilo claims --only D3",
    ):
        assert words in card, words


def test_failed_runs_and_missing_seeds_stand_beside_the_cells_that_have_them(tmp_path):
    known = Cell(where="wine", supports=None, finding="Open.", failures=(3, 1), more_seeds=17)
    certificate = Cell(where="digits", supports=True, finding="Proved.")

    def written(*cells):
        answer = replace(few("D2").claims[0], evidence=Evidence(cells=cells))
        page = write_report(replace(few("D2"), claims=(answer,)), tmp_path)
        return page.read_text(encoding="utf-8")

    both = written(known, certificate)
    assert '<td class="number">3 / 1</td><td class="number">17</td>' in both
    assert '<td class="number">–</td><td class="number">–</td>' in both
    alone = written(certificate)
    assert ">Failed</th>" in both and ">More seeds</th>" in both
    assert ">Failed</th>" not in alone and ">More seeds</th>" not in alone


def test_the_page_ends_with_the_line_for_ones_own_data(tmp_path):
    path = write_report(few("D1"), tmp_path, own_data="exnihilo study mine.py --data my.csv --target y")
    assert path.read_text().index('id="D1"') < path.read_text().index("exnihilo study mine.py --data my.csv --target y")


def test_every_figure_is_saved_as_svg_in_light_colors(folder):
    names = {figure.name for answer in sample.results().claims for figure in answer.evidence.figures}
    assert {path.stem for path in (folder / "figures").iterdir()} == names
    for path in (folder / "figures").iterdir():
        assert "var(--" not in path.read_text()


def test_hostile_text_stays_text(tmp_path):
    answer = sample.results().claims[1]
    figure = replace(answer.evidence.figures[0], title=HOSTILE, caption=HOSTILE, name="hostile")
    figure = replace(figure, rows=(*figure.rows, {"step": 1, "depth": HOSTILE, "width": 1}))
    cell = Cell(where=HOSTILE, supports=True, finding=HOSTILE)
    evidence = Evidence(figures=(figure,), cells=(cell,))
    texts = dict.fromkeys(("title", "statement", "finding", "rule", "rerun", "snippet", "factor"), HOSTILE)
    hostile = replace(answer, evidence=evidence, **texts)
    html = write_report(replace(few("D2"), claims=(hostile,)), tmp_path).read_text()
    assert 'alert("x")</script>' not in html
    assert "<script>alert" not in html
    assert Outline(html).errors == []


def test_a_report_without_the_opening_and_without_evidence_is_written(tmp_path):
    bare = Answer(
        id="D9", title="T", statement="S", verdict="undecided", basis="measured", n=0, rule="R", finding="F", rerun="x"
    )
    html = write_report(replace(sample.results(), claims=(bare,)), tmp_path).read_text()
    assert "One claim, put to the test" in html
    assert Outline(html).errors == []


def test_a_finding_of_several_paragraphs_opens_with_the_first_and_goes_on_with_the_others(tmp_path):
    finding = "The short answer.\n\n## Why\n\nThe longer one, with `zeros`.\n\n[figure: f1-width]"
    results = replace(few("F1"), claims=(replace(few("F1").claims[0], finding=finding),))
    html = write_report(results, tmp_path).read_text()
    assert '<p class="lede">The short answer.</p>' in html
    assert "<h2>Why</h2><p>The longer one, with <code>zeros</code>.</p>" in html


def test_an_unknown_figure_in_the_explanation_is_named(tmp_path):
    with pytest.raises(
        UnknownNameError, match=r"Unknown figure 'd2-efective-width'. Did you mean 'd2-effective-width'\?"
    ):
        write_report(few("D2"), tmp_path, explanation="[figure: d2-efective-width]")


def test_a_figure_of_another_claim_can_stand_in_the_opening_and_on_its_card(tmp_path):
    html = write_report(few("F1", "D2"), tmp_path, explanation="Words.\n\n[figure: d2-effective-width]").read_text()
    assert html.count('data-figure="d2-effective-width"') == 2
    ids = [attributes["id"] for _, attributes in Outline(html).tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_two_figures_of_one_name_are_refused(tmp_path):
    results = few("D2")
    with pytest.raises(InvalidValueError, match="Figure name 'd2-effective-width' is used 2 times"):
        write_report(replace(results, claims=results.claims * 2), tmp_path)


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a b", ".hidden"])
def test_a_figure_name_that_is_no_file_name_is_refused(name, tmp_path):
    answer = few("D2").claims[0]
    evidence = Evidence(figures=(replace(answer.evidence.figures[0], name=name),))
    with pytest.raises(InvalidValueError, match="is no file name"):
        write_report(replace(few("D2"), claims=(replace(answer, evidence=evidence),)), tmp_path)


def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_drawn(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setattr(page_module, "draw", lambda results: pytest.fail("drew first"))
    with pytest.raises(OutputError) as caught:
        write_report(few("D2"), tmp_path / "file" / "report")
    assert str(caught.value).splitlines() == [
        f"Output folder '{tmp_path}/file/report' cannot be written: Not a directory.",
        "  needed: a folder for index.html, results.json and figures/",
        "  Fix: exnihilo claims --out ./report   (or another folder of your own)",
        "  [output]  docs/errors.md#output",
    ]


@pytest.mark.parametrize("name", ["index.html", "results.json"])
def test_a_folder_where_a_file_must_go_is_refused(name, tmp_path):
    (tmp_path / name).mkdir()
    with pytest.raises(OutputError, match=f"'{name}' in it is a folder"):
        ensure_writable(tmp_path)


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path = tmp_path / "index.html"
    path.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OutputError, match="No space left on device"):
        replace_file(path, "new")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("index.html", "old")]


def test_checking_a_folder_leaves_nothing_behind_but_the_folder(tmp_path):
    ensure_writable(tmp_path / "deep" / "report")
    assert [path.name for path in (tmp_path / "deep" / "report").rglob("*")] == ["figures"]


def test_an_explanation_becomes_steps_with_figures_beside():
    told = steps(sample.EXPLANATION)
    assert [step.figures for step in told] == [("f1-curves",), ("f1-width",), ()]
    assert "<h2>Why all zeros stand still</h2>" in told[1].words


def test_a_percent_sign_stays_with_its_number():
    assert inline("62.7 % of it") == "62.7\u00a0% of it"


def test_numbers_in_words_are_typeset_and_code_is_not():
    assert inline("-46 to -15 at 1e-06, 3e+09 and 0.5-0.6, T1-7, `lr=1e-3`") == (
        "−46 to −15 at 10⁻⁶, 3×10⁹ and 0.5-0.6, T1-7, <code>lr=1e-3</code>"
    )


def test_a_snippet_keeps_its_text_when_it_is_highlighted():
    def bare(markup):
        return re.sub(r"<[^>]+>", "", str(markup)).replace("&#34;", '"').replace("&gt;", ">")

    assert bare(highlighted(sample.SNIPPET)) == sample.SNIPPET
    assert 'class="comment"># every weight and every bias<' in highlighted(sample.SNIPPET)
    assert highlighted("this is (not python <") == "this is (not python &lt;"


def test_the_report_is_written_where_torch_cannot_be_imported(tmp_path):
    program = (
        "import sys; sys.modules['torch'] = None; sys.path.insert(0, sys.argv[1])\n"
        "import sample\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from exnihilo.report.page import write_report\nfrom exnihilo.report.text import summary\n"
        "results = sample.results()\n"
        "write_report(replace(results, claims=results.claims[:3]), Path(sys.argv[2]))\n"
        "summary(results)\n"
    )
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", program, here, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()


def test_text_and_json_need_none_of_the_extra():
    program = (
        "import sys; sys.modules.update(dict.fromkeys(['altair', 'vl_convert', 'jinja2', 'markupsafe', 'torch']))\n"
        "import exnihilo.report.text, exnihilo.report.results_json, exnihilo.report.output\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
