"""All claims together: their ids, their words, and answers that a report can show."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from worlds import SMALL, found_in

from exnihilo.claims.catalog import CLAIMS, PUBLISHED, claims_in, claims_named, every_claim
from exnihilo.claims.claim import Claim
from exnihilo.claims.presets import preset_named
from exnihilo.claims.records import Answer
from exnihilo.errors import UnknownNameError
from exnihilo.lab.networks import maps
from exnihilo.lab.records import Model, Run, plain

IDS = (
    *(f"D{i}" for i in range(1, 8)),
    *(f"C{i}" for i in range(1, 5)),
    *(f"M{i}" for i in range(1, 5)),
    *(f"T{i}" for i in range(1, 8)),
    "K1",
    "F1",
)
EXACT = {"D1", "D2", "D6", "M2", "T1", "P12"}
EVERY = every_claim()


@pytest.fixture(scope="module")
def answers() -> Mapping[str, Answer]:
    """Every answer in a world where each run does tolerably well."""
    return {
        claim.id: claim.answer(
            found_in(claim, lambda run: {}, measured=None if claim.measure is None else claim.measure(SMALL, 0))
        )
        for claim in EVERY
    }


def test_the_claims_stand_in_the_order_of_the_article() -> None:
    assert tuple(claim.id for claim in CLAIMS) == IDS


def test_papers_stand_behind_the_article_numbered_from_1() -> None:
    assert [claim.id for claim in PUBLISHED] == [f"P{number}" for number in range(1, len(PUBLISHED) + 1)]
    assert (*claims_in("article"), *claims_in("published")) == EVERY
    unnamed = [claim.id for claim in PUBLISHED if not re.search(r"\(\d{4}\)", claim.statement)]
    assert unnamed == ["P13"]  # a practice that no paper settled
    with pytest.raises(UnknownNameError, match="Unknown set of claims 'papers'"):
        claims_in("papers")


def test_what_is_exact_measured_and_explained_is_declared() -> None:
    assert {claim.id for claim in EVERY if claim.basis == "exact"} == EXACT
    assert [claim.id for claim in EVERY if claim.basis == "explained"] == ["F1"]


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
def test_statements_and_rules_are_sentences(claim) -> None:
    assert claim.statement.endswith(".") and claim.rule.endswith(".")
    assert claim.title and not claim.title.endswith(".")
    assert claim.basis == "exact" or re.search(r"\d", claim.rule)


def test_no_two_studies_share_a_name() -> None:
    names = Counter(study.name for claim in EVERY for study in claim.studies(SMALL, 0))
    assert [name for name, count in names.items() if count > 1] == []


def test_another_seed_asks_for_other_runs() -> None:
    for claim in EVERY:
        seeds = {study.seed for study in claim.studies(SMALL, 3)}
        assert seeds <= {3}, claim.id


def test_the_full_preset_puts_more_seeds_to_every_study_that_is_not_an_exact_count() -> None:
    quick, full = (
        {study.name: study for claim in EVERY for study in claim.studies(preset_named(name), 0)}
        for name in ("quick", "full")
    )
    same = {name for name, study in quick.items() if full[name].looks[-1] <= study.looks[-1]}
    assert {quick[name].looks for name in same} == {(1,)}
    assert {name.split()[0] for name in same} == {"D2", "D6", "T7"}


def test_every_answer_is_of_its_claim(answers: Mapping[str, Answer]) -> None:
    for claim in EVERY:
        answer = answers[claim.id]
        assert (answer.id, answer.statement, answer.basis) == (claim.id, claim.statement, claim.basis)
        assert answer.rerun == f"exnihilo claims --only {claim.id}"
        assert answer.finding.endswith(".")
        assert answer.verdict != "depends" or answer.factor, claim.id


def test_measured_answers_rest_on_runs_and_cells(answers: Mapping[str, Answer]) -> None:
    for answer in answers.values():
        if answer.basis == "measured":
            assert answer.n > 0 and answer.evidence.cells, answer.id


def test_figure_names_are_unique_and_begin_with_the_claim(answers: Mapping[str, Answer]) -> None:
    names = [(answer.id, figure.name) for answer in answers.values() for figure in answer.evidence.figures]
    assert all(re.fullmatch(f"{claim_id.lower()}-[a-z0-9-]+", name) for claim_id, name in names)
    assert len(names) == len({name for _, name in names})
    assert {claim_id for claim_id, _ in names} == set(IDS) | {claim.id for claim in PUBLISHED}


def test_figures_have_the_fields_that_their_axes_name(answers: Mapping[str, Answer]) -> None:
    for answer in answers.values():
        for figure in answer.evidence.figures:
            axes = [axis for axis in (figure.x, figure.y, figure.color, figure.facet) if axis is not None]
            assert figure.rows, figure.name
            assert all(axis.field in row for row in figure.rows for axis in axes), figure.name


def test_tables_are_as_wide_as_their_headings(answers: Mapping[str, Answer]) -> None:
    for answer in answers.values():
        for table in answer.evidence.tables:
            assert {len(row) for row in table.rows} == {len(table.columns)}, table.title


def numbers(value: object) -> Iterator[float]:
    """Every float in plain values."""
    if isinstance(value, float):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from numbers(part)


def strings(value: object) -> Iterator[str]:
    """Every text in plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from strings(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from strings(part)


def test_answers_are_json_without_nan(answers: Mapping[str, Answer]) -> None:
    for answer in answers.values():
        found = plain(answer)
        assert not any(math.isnan(number) for number in numbers(found)), answer.id
        assert json.loads(json.dumps(found))["id"] == answer.id
        # An interval may be the whole line; what figures and tables show is finite or missing.
        shown = [found["evidence"]["figures"], found["evidence"]["tables"]]
        assert all(map(math.isfinite, numbers(shown))), answer.id


def lost(run: Run) -> dict[str, Any]:
    """A run that is finite at the start, and in which nothing is finite after that."""
    curve = (0.5, *(math.nan,) * run.evaluations)
    num_maps = 1 if isinstance(run.network, Model) else len(maps(run.network))
    norms = ((1.0,) * num_maps, *((math.nan,) * num_maps,) * run.measurements)
    curves = dict.fromkeys(("train_loss", "validation_loss", "train_score", "validation_score"), curve)
    return {**curves, "test_loss": math.nan, "test_score": math.nan, "gradient_norm": norms, "diverged": True}


@pytest.mark.parametrize("claim", EVERY, ids=lambda claim: claim.id)
def test_a_world_in_which_every_run_diverges_has_words_and_numbers_for_it(claim: Claim) -> None:
    measured = None if claim.measure is None else claim.measure(SMALL, 0)
    answer = claim.answer(found_in(claim, lost, measured=measured))
    shown = [plain(part) for part in (*answer.evidence.figures, *answer.evidence.tables)]
    words = [answer.finding, answer.factor or "", *(cell.finding for cell in answer.evidence.cells)]
    assert [text for text in [*words, *strings(shown)] if re.search(r"[^a-z](nan|inf)(?![a-z])", f" {text}")] == []
    assert all(map(math.isfinite, numbers(shown)))


@pytest.mark.parametrize("name", ["t2-curves", "t5-curves", "t7-starts"])
def test_figures_count_a_run_that_diverged_as_the_verdicts_do(name: str) -> None:
    [claim] = claims_named([name[:2]])
    [figure] = [figure for figure in claim.answer(found_in(claim, lost)).evidence.figures if figure.name == name]
    assert {row["value"] for row in figure.rows if row.get("step") != 0} == {0.0 if name[1] == "5" else 10.0}
    assert "a run that diverged counts as" in figure.caption


def test_a_table_counts_a_run_that_diverged_and_says_how_many_there_are() -> None:
    [claim] = claims_named(["T5"])

    def world(run: Run) -> dict[str, Any]:
        return lost(run) if run.start.name == "zeros" and run.seed % 2 else {"test_score": 0.8}

    [table] = claim.answer(found_in(claim, world)).evidence.tables
    assert table.title.endswith("; a run that diverged counts as a test score of 0")
    assert {row[3:] for row in table.rows if row[1] == "zeros"} == {(0.4, 16, 8)}
    assert {row[3:] for row in table.rows if row[1] == "small_normal"} == {(0.8, 16, 0)}


def test_claims_are_found_by_name_in_any_case_and_order() -> None:
    assert [claim.id for claim in claims_named(["t6", "D2", "T6"])] == ["D2", "T6"]


def test_an_unknown_claim_is_refused_with_the_nearest_id() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown claim 'D8'. Did you mean '[DP]\d'\?"):
        claims_named(["D8"])
