"""The verdict on D7 follows the units at the start and the accuracies in the end."""

import math

import pytest
from worlds import found_in, record, verdict_in

from exnihilo.claims.d7 import CLAIM, ESCAPED, EVALUATIONS, escape_step
from exnihilo.claims.prior import prior_entropy
from exnihilo.lab.records import Network, Optimizer, Run, Start


def world_of(*, units=32, gain=0.5, escapes=True):
    """Noise makes so many units, tuned noise gains so much accuracy, and small noise in deep networks never escapes."""

    def world(run):
        score = 0.3 - (run.seed % 7) / 1e4
        values = {"test_score": score if run.start.name == "zeros" else score + gain}
        if run.evaluations == EVALUATIONS:
            stuck = not escapes or (run.network.depth > 1 and (run.start.value or 0.0) < 1e-3)
            values |= {"effective_width": units, "train_loss": 5.0 if stuck else 0.0}
        return values

    return world


def test_noise_that_parts_the_units_and_learns_supports_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of()))
    assert answer.verdict == "supported"
    assert "differ in 3 of 3 depths" in answer.finding
    assert "better than zeros in 4 of 4 tasks (+50 to +50 points" in answer.finding
    assert "noise of 1e-08 or more with 1 hidden layer, noise of 0.001 or more with 2" in answer.finding
    # The steps to leave zero are not counted by the rule: they stand in a table, and not among the cells.
    assert {cell.supports for cell in answer.evidence.cells} == {True}
    assert {row[0]: row[2].split(",")[0] for row in answer.evidence.tables[1].rows}[1] == "84 of 84"


def test_noise_that_leaves_units_alike_and_learns_nothing_refutes_the_claim() -> None:
    assert verdict_in(CLAIM, world_of(units=31, gain=0.0)) == "refuted"


@pytest.mark.parametrize("change", [{"units": 31}, {"gain": 0.0}, {"gain": -0.2}])
def test_one_clause_alone_makes_it_depend(change) -> None:
    assert verdict_in(CLAIM, world_of(**change)) == "depends"


def test_runs_that_never_escape_are_missing_and_counted_as_censored() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(escapes=False)))
    assert "noise of no size with 1 hidden layer, noise of no size with 2" in answer.finding
    assert {row["step"] for row in answer.evidence.figures[0].rows} == {None}
    assert {row[-1] for row in answer.evidence.tables[0].rows} == {"0 of 12"}
    assert answer.evidence.tables[0].rows[0][2] == "> 40"


def test_a_run_escapes_at_its_first_evaluation_below_the_bound() -> None:
    run = Run(
        task="wine",
        network=Network(),
        start=Start(name="zeros"),
        optimizer=Optimizer(),
        lr=0.1,
        seed=0,
        steps=10,
        batch_size=32,
        evaluations=2,
    )
    bound = ESCAPED * prior_entropy("wine")
    assert escape_step(record(run, train_loss=(2.0, bound - 1e-6, 0.1))) == 5.0
    assert escape_step(record(run, train_loss=(2.0, bound, math.nan))) == math.inf


def test_the_growth_of_the_steps_is_read_off_a_power_law() -> None:
    def world(run):
        values = world_of()(run)
        if run.evaluations == EVALUATIONS:
            # Escapes at step 1 under noise of 0.1, and a hundred times later for a tenth of it.
            step = round((0.1 / run.start.value) ** 2)
            values["train_loss"] = tuple(5.0 if at < step else 0.0 for at in range(2 * run.steps + 1))[: run.steps + 1]
        return values

    growth = CLAIM.answer(found_in(CLAIM, world)).evidence.tables[1]
    # 0.1 and 0.03 alone escape within 40 steps: after 1 and 11, which is 10 / 0.523 steps a decade and a power of 1.99.
    assert growth.rows[2] == (3, 4, "24 of 84, after 1 to 11 steps", 19.1, 1.99, "(1/s)^2")
    assert growth.rows[0][-1] == "log(1/s)"
