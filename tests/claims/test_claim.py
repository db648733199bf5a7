"""Pairs across cells are compared as one family, on the declared seeds alone."""

from dataclasses import replace

import pytest
from worlds import SMALL, record

from exnihilo.claims.claim import Found, Judged, cell_of, contrast, factor_of
from exnihilo.claims.records import Cell
from exnihilo.errors import InvalidValueError
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord, Start
from exnihilo.lab.schedule import pending
from exnihilo.lab.study import Study

FOUND = Found(preset=SMALL, studies={}, records={})


def runs_of(activation: str, score: float, seeds: range = range(10)) -> list[RunRecord]:
    return [
        record(
            Run(
                task="digits",
                network=Network(activation=activation),
                start=Start(name="zeros"),
                optimizer=Optimizer(),
                lr=0.1,
                seed=seed,
                steps=20,
                batch_size=32,
            ),
            test_score=score + seed / 1e4,
        )
        for seed in seeds
    ]


def test_a_contrast_pairs_two_networks_by_seed() -> None:
    verdicts = contrast(
        FOUND,
        {
            "up": (runs_of("cos", 0.9), runs_of("relu", 0.5)),
            "down": (runs_of("relu", 0.5), runs_of("cos", 0.9)),
            "same": (runs_of("relu", 0.5), runs_of("tanh", 0.5)),
        },
    )
    assert [verdict.outcome for verdict in verdicts.values()] == ["better", "worse", "equivalent"]
    assert verdicts["up"].estimate == pytest.approx(0.4)


def test_a_contrast_leaves_out_the_seeds_of_later_looks() -> None:
    one = [*runs_of("cos", 0.9), *runs_of("cos", 0.0, range(10, 16))]
    other = runs_of("relu", 0.5, range(16))
    assert contrast(FOUND, {"pair": (one, other)})["pair"].n == SMALL.looks[0]
    assert contrast(FOUND, {"pair": (one, other)}, num_seeds=16)["pair"].n == 16


def test_the_family_shares_its_part_of_alpha() -> None:
    verdict = contrast(FOUND, {"pair": (runs_of("cos", 0.9), runs_of("relu", 0.5))}, share=0.02)["pair"]
    assert verdict.outcome == "undecided"  # 2 * 2**-10 is above 0.001
    assert "alpha = 0.001" in verdict.rule


def test_a_loss_is_better_where_it_is_lower() -> None:
    pair = (runs_of("cos", 0.9), runs_of("relu", 0.5))
    low = [record(r.run, train_loss=0.1) for r in pair[0]]
    high = [record(r.run, train_loss=0.9) for r in pair[1]]
    assert contrast(FOUND, {"pair": (low, high)}, metric="train_loss")["pair"].outcome == "better"


def test_a_pair_with_too_few_seeds_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="has 9 seeds; the first declared look needs 10"):
        contrast(FOUND, {"pair": (runs_of("cos", 0.9, range(9)), runs_of("relu", 0.5))})


ZEROS = Start(name="zeros")


def finished(*studies: Study) -> dict[Run, RunRecord]:
    """The records of all that the studies ask for, where every run does tolerably well."""
    records: dict[Run, RunRecord] = {}
    for study in studies:
        while runs := pending(study, records):
            records |= {run: record(run) for run in runs}
    return records


def test_only_runs_at_their_own_studys_tuned_rate_have_neighbors() -> None:
    tuned = SMALL.study("tuned", "?", seed=0, networks=(Network(),), starts=(ZEROS,))
    fixed = replace(tuned, name="fixed", policy="grid", lrs=(0.1, 0.3))
    place = tuned.places[0]
    found = Found(preset=SMALL, studies={"tuned": tuned, "fixed": fixed}, records=finished(tuned, fixed))
    at_choice, at_same_rate = found.judged("tuned", place, ZEROS), found.judged("fixed", place, ZEROS, 0.1)
    assert at_choice == at_same_rate  # the very same runs: only where they were judged tells them apart
    assert [{of.run.lr for of in side} for side in at_choice.near] == [{0.03}, {0.3}]
    assert at_same_rate.near == found.judged("fixed", place, ZEROS).near == ()
    assert found.judged("tuned", place, ZEROS, 0.1).near == ()


def test_a_contrast_reads_the_neighbors_of_its_sides_and_no_others() -> None:
    better, worse = runs_of("cos", 0.9), runs_of("relu", 0.5)
    beside = Judged(worse, [tuple(runs_of("relu", 0.9))])
    verdicts = contrast(FOUND, {"alone": (better, Judged(worse))})
    assert verdicts["alone"].outcome == "better" and "neighbors" not in verdicts["alone"].rule
    assert contrast(FOUND, {"beside": (better, beside)})["beside"].outcome == "undecided"


def test_a_cell_says_what_its_verdict_says_of_failures_and_missing_seeds() -> None:
    failed = [record(r.run, test_score=0.9, moved=r.run.seed > 1) for r in runs_of("cos", 0.9)]
    near = [record(r.run, test_score=0.9 + (-1) ** r.run.seed / 5) for r in runs_of("relu", 0.9)]
    verdict = contrast(FOUND, {"pair": (failed, near)})["pair"]
    cell = cell_of("wine", verdict, "Open.", supports=None)
    assert (cell.failures, cell.more_seeds) == ((2, 0), verdict.more_seeds)
    assert verdict.outcome == "undecided"


def cell(where: str, supports: bool | None) -> Cell:
    return Cell(where=where, supports=supports, finding="Seen.")


def test_the_factor_names_the_part_that_tells_the_sides_apart() -> None:
    cells = (
        cell("gap · wine", True),
        cell("gap · digits", False),
        cell("loss · wine", True),
        cell("loss · iris", None),
    )
    assert factor_of(cells) == "which of these is asked: wine supports the claim; digits refutes it"


def test_the_factor_counts_the_cells_of_a_name_on_both_sides() -> None:
    cells = (*(cell(f"gap · {task}", True) for task in "abc"), cell("gap · d", False), cell("loss · a", False))
    assert factor_of(cells) == (
        "which of these is asked: gap (3 of 4) supports the claim; gap (1 of 4), loss refute it"
    )


def test_there_is_no_factor_where_no_cells_disagree() -> None:
    assert factor_of((cell("wine", True), cell("digits", None))) is None


def test_a_run_that_two_studies_share_counts_once() -> None:
    study = SMALL.study("one", "?", seed=0, networks=(Network(),), starts=(ZEROS,), lrs=(0.1,))
    other = replace(study, name="two", metric="train_loss")
    found = Found(preset=SMALL, studies={"one": study, "two": other}, records=finished(study, other))
    assert found.num_runs == len(found.runs("one")) == len(found.runs("two")) == 4 * 10


def test_what_a_claim_sees_does_not_depend_on_what_else_ran() -> None:
    study = SMALL.study("own", "?", seed=0, networks=(Network(),), starts=(ZEROS,), baseline=Start(name="he_normal"))
    alone = finished(study)
    strangers = (
        replace(study, name="more seeds", looks=(16,)),
        replace(study, name="more rates", policy="grid", lrs=(0.01, 0.1)),
        replace(study, name="more evaluations", evaluations=7),
    )
    own, beside = (
        Found(preset=SMALL, studies={"own": study}, records=records) for records in (alone, finished(*strangers, study))
    )
    assert len(beside.records) > len(own.records)
    assert {record.run for record in own.runs("own")} == set(alone)
    place = study.places[0]
    assert beside.num_runs == own.num_runs
    assert beside.runs("own") == own.runs("own")
    assert beside.verdicts("own") == own.verdicts("own")
    assert len(beside.judged("own", place, ZEROS)) == SMALL.looks[0]
    assert beside.judged("own", place, ZEROS).near == own.judged("own", place, ZEROS).near
    assert beside.judged("own", place, ZEROS, 0.01) == ()
