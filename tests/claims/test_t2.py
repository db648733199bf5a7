"""The verdict on T2 follows the training losses and the steps to the target."""

import math

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.t2 import CLAIM, target_of


def world_of(zero: float, random: float):
    return lambda run: {"train_loss": zero if run.start.name == "zeros" else random}


@pytest.mark.parametrize(
    ("zero", "random", "verdict"),
    [
        (2.4, 0.1, "refuted"),
        (0.028, 2.4, "supported"),
        (2.4, 2.4, "refuted"),  # equivalent losses, and neither ever halves the loss of guessing
    ],
)
def test_the_verdict_follows_the_training_losses(zero: float, random: float, verdict: str) -> None:
    assert verdict_in(CLAIM, world_of(zero, random)) == verdict


def test_soon_but_not_low_makes_it_depend() -> None:
    def world(run):
        length = run.evaluations + 1
        if run.start.name == "zeros":
            return {"train_loss": (2.4, *(0.3 + run.seed % 7 / 1e4,) * (length - 1))}
        return {"train_loss": (*(2.4,) * (length - 1), 0.1 + run.seed % 5 / 1e4)}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "depends"
    assert answer.factor is not None and "final loss refutes" in answer.factor


def test_a_task_where_neither_start_reaches_the_target_stays_open() -> None:
    cells = CLAIM.answer(found_in(CLAIM, world_of(2.4, 2.4))).evidence.cells
    assert {cell.supports for cell in cells if "steps" in cell.where} == {None}


def test_the_target_is_half_the_loss_of_guessing() -> None:
    assert target_of("wine") == pytest.approx(-math.log(1 / 3) / 2)


def test_steps_that_lie_one_evaluation_apart_are_equivalent() -> None:
    def world(run):
        # The small preset evaluates every step: zero arrives at step 2, or at 1 with one seed of ten; random at 2.
        at = 2 if run.start.name != "zeros" or run.seed % 10 else 1
        return {"train_loss": tuple(2.4 if step < at else 0.1 for step in range(run.evaluations + 1))}

    cells = CLAIM.answer(found_in(CLAIM, world)).evidence.cells
    assert {cell.supports for cell in cells if "steps" in cell.where} == {False}
    assert "equivalent within one interval between evaluations (15 steps with preset quick" in CLAIM.rule


def test_the_steps_are_shown_as_censored_data() -> None:
    def world(run):
        never = run.start.name == "zeros" and run.seed % 10 >= 7
        at = 99 if never else 5
        return {"train_loss": tuple(2.4 if step < at else 0.1 for step in range(run.evaluations + 1))}

    rows = CLAIM.answer(found_in(CLAIM, world)).evidence.tables[1].rows
    assert {row[2:] for row in rows if row[1] == "zeros"} == {(7, 10, 5.0, 9.5)}
    assert {row[2:] for row in rows if row[1] == "small_normal"} == {(10, 10, 5.0, 5.0)}


def test_the_finding_counts_the_runs_that_reach_the_target() -> None:
    finding = CLAIM.answer(found_in(CLAIM, world_of(2.4, 0.1))).finding
    assert "0 of 40 zero runs" in finding and "40 of 40 small random" in finding
