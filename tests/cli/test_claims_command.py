"""`exnihilo claims`: which claims it asks, where it resumes, what it prints and how it refuses."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exnihilo.claims import catalog, runner
from exnihilo.claims.claim import Claim, Found, Reading
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Cell, Evidence
from exnihilo.cli.app import app
from exnihilo.lab.records import Network, Start
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study


def small(preset: Preset, seed: int) -> tuple[Study, ...]:
    return (
        preset.study(
            "small",
            "Does zero learn?",
            seed=seed,
            tasks=("wine",),
            networks=(Network(depth=1, width=4),),
            starts=(Start(name="zeros"),),
            baseline=Start(name="he_normal"),
            lrs=(0.1,),
            looks=(6,),
            steps=20,
            batch_size=16,
            evaluations=2,
            measurements=1,
        ),
    )


def read_small(found: Found) -> Reading:
    ((_, verdict),) = found.verdicts("small")
    cell = Cell(where="wine", supports=verdict.outcome == "worse", finding="zeros are worse")
    return Reading(verdict="supported", finding=f"Zeros are {verdict.outcome}.", evidence=Evidence(cells=(cell,)))


def read_nothing(found: Found) -> Reading:
    return Reading(verdict="refuted", finding="It is not so.", evidence=Evidence())


CLAIMS = (
    Claim(id="D2", title="Exact", statement="It is so.", basis="exact", rule="By proof.", read=read_nothing),
    Claim(
        id="T6",
        title="Small",
        statement="Zero is worse.",
        basis="measured",
        rule="A test.",
        read=read_small,
        studies=small,
    ),
)


PUBLISHED = (
    Claim(id="P1", title="Paper", statement="It is so (2015).", basis="exact", rule="By proof.", read=read_nothing),
)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr(catalog, "CLAIMS", CLAIMS)
    monkeypatch.setattr(catalog, "PUBLISHED", PUBLISHED)
    return tmp_path


def ask(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["claims", *arguments], prog_name="exnihilo")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_every_claim_gets_a_line_and_the_page_its_path() -> None:
    code, out, err = ask("--workers", "1")
    assert code == 0
    assert re.search(r"^D2 +refuted +It is not so\.$", out, re.MULTILINE)
    assert re.search(r"^T6 +supported +Zeros are worse\.$", out, re.MULTILINE)
    assert "report/index.html" in out
    assert "D2" in err  # as soon as it is known
    assert (Path("report") / "index.html").exists()
    assert [claim["id"] for claim in json.loads(Path("report/results.json").read_text())["claims"]] == ["D2", "T6"]


def test_json_is_what_the_page_lies_beside() -> None:
    code, out, err = ask("--workers", "1", "--json")
    assert code == 0
    assert "T6   supported" in err  # what is told meanwhile stands apart
    assert json.loads(out) == json.loads(Path("report/results.json").read_text())


def ids_in(text: str) -> list[str]:
    return [claim["id"] for claim in json.loads(text)["claims"]]


def page() -> str:
    return Path("report/results.json").read_text()


def test_what_papers_found_stands_behind_the_article_on_one_page() -> None:
    _, out, _ = ask("--workers", "1", "--set", "published", "--json")
    assert ids_in(out) == ["P1"] and ids_in(page()) == ["P1"]
    assert "What papers found" not in Path("report/index.html").read_text()
    ask("--workers", "1")
    assert ids_in(page()) == ["D2", "T6", "P1"]
    assert "What papers found" in Path("report/index.html").read_text()
    _, out, _ = ask("--workers", "1", "--only", "p1,d2", "--json")
    assert ids_in(out) == ["D2", "P1"]


def test_an_unknown_set_is_refused_and_nothing_is_written() -> None:
    code, _, err = ask("--set", "papers")
    assert code == 2 and "Unknown set of claims 'papers'" in err and "article, published" in err
    assert not Path("report").exists()


def test_one_claim_alone_keeps_the_others_answers_on_the_page() -> None:
    ask("--workers", "1")
    whole = json.loads(page())
    _, out, _ = ask("--workers", "1", "--only", "d2", "--json")
    assert ids_in(out) == ["D2"]  # what was asked, and nothing else
    assert json.loads(out)["num_runs"] == 0
    assert ids_in(page()) == ["D2", "T6"]
    assert json.loads(page())["num_runs"] == whole["num_runs"] == 12
    assert json.loads(page())["seconds"] == pytest.approx(whole["seconds"] + json.loads(out)["seconds"])
    _, out, _ = ask("--workers", "1", "--only", "D2")
    assert re.search("^D2 ", out, re.MULTILINE) and not re.search("^T6 ", out, re.MULTILINE)


def test_runs_that_two_calls_trained_are_counted_together() -> None:
    for only, ids, num_runs in (("D2", ["D2"], 0), ("T6", ["D2", "T6"], 12), ("D2", ["D2", "T6"], 12)):
        ask("--workers", "1", "--only", only)
        assert (ids_in(page()), json.loads(page())["num_runs"]) == (ids, num_runs)
    Path("report/results.json").write_text(page().replace("T6", "T5"))  # no claim of ours: left out, its runs too
    ask("--workers", "1", "--only", "D2")
    assert ids_in(page()) == ["D2"]


@pytest.mark.parametrize("key", ["exnihilo", "torch", "numerics"])
def test_answers_of_another_origin_do_not_mix(key: str) -> None:
    ask("--workers", "1")
    earlier = json.loads(page())
    earlier["environment"][key] += "x"
    Path("report/results.json").write_text(json.dumps(earlier))
    ask("--workers", "1", "--only", "D2")
    assert ids_in(page()) == ["D2"]


def test_answers_of_another_seed_do_not_mix() -> None:
    ask("--workers", "1")
    ask("--workers", "1", "--only", "D2", "--seed", "1")
    assert ids_in(page()) == ["D2"]


def test_every_claim_is_declared_with_its_rule_and_its_studies() -> None:
    ask("--workers", "1")
    with Ledger("report/ledger.sqlite") as ledger:
        declared = {entry.name: entry for entry in ledger.declarations()}
    assert declared.keys() == {"D2", "T6", "small"}
    assert (declared["T6"].question, declared["T6"].rule) == ("Zero is worse.", "A test.")
    assert json.loads(declared["T6"].text)["studies"] == {"small": declared["small"].hash}
    assert json.loads(declared["D2"].text)["studies"] == {}


def test_a_claim_is_declared_before_its_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner, "execute", interrupted)
    assert ask("--workers", "1")[0] == 130
    with Ledger("report/ledger.sqlite") as ledger:
        assert [entry.name for entry in ledger.declarations()] == ["D2", "T6"]


def test_what_is_measured_in_place_is_asked_with_the_preset_and_the_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    def measure(preset: Preset, seed: int) -> None:
        asked.append((preset.name, seed))

    monkeypatch.setattr(catalog, "CLAIMS", (replace(CLAIMS[0], measure=measure),))
    ask("--workers", "1", "--preset", "full", "--seed", "7")
    assert asked == [("full", 7)]


def test_a_second_call_trains_nothing() -> None:
    ask("--workers", "1", "--json")
    with Ledger("report/ledger.sqlite") as ledger:
        before = ledger.identities()
    ask("--workers", "1", "--json")
    with Ledger("report/ledger.sqlite") as ledger:
        assert ledger.identities() == before
        assert len(before) == 12


def test_a_run_that_studies_share_is_forecast_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def two(preset: Preset, seed: int) -> tuple[Study, ...]:
        (study,) = small(preset, seed)
        return study, replace(study, name="again"), replace(study, name="other", seed=seed + 1)

    monkeypatch.setattr(catalog, "CLAIMS", (replace(CLAIMS[1], studies=two),))
    assert "3 studies: about 24 runs to the first look, at most 36" in ask("--dry-run")[1]
    trained = ask("--workers", "1", "--json")[1]
    assert json.loads(trained)["num_runs"] == 24


def test_a_dry_run_lists_the_studies_and_leaves_no_trace(folder: Path) -> None:
    code, out, _ = ask("--dry-run")
    assert code == 0
    assert "12 runs to the first look, at most 12 (about" in out
    assert "1 study: 12 runs" in out
    assert json.loads(ask("--dry-run", "--json")[1])["forecasts"][0]["num_first"] == 12
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "fact"),
    [
        (["--only", "D9"], "Unknown claim 'D9'. Did you mean 'D2'?"),
        (["--only", "D2,T66"], "Unknown claim 'T66'. Did you mean 'T6'?"),
        (["--only", ","], "--only is ',' and names no claim."),
        (["--preset", "quik"], "Unknown preset 'quik'. Did you mean 'quick'?"),
        (["--out", "file"], "Output folder 'file' cannot be written"),
        (["--out", "corrupt"], "corrupt/ledger.sqlite is no ledger, or is corrupt."),
    ],
)
def test_bad_input_gets_one_clear_error(folder: Path, arguments: list[str], fact: str) -> None:
    (folder / "file").touch()
    (folder / "corrupt").mkdir()
    (folder / "corrupt" / "ledger.sqlite").write_text("no ledger at all\n" * 500)
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    assert err.splitlines()[0].startswith(fact)
    assert "\n  Fix: " in err and err.splitlines()[-1].startswith("  [")
