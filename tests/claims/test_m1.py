"""The verdict on M1 follows accuracy, steps to the target loss and dead units."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.clauses import of_clause
from exnihilo.claims.m1 import CLAIM


def zeros_end(*, score: float, loss: float, dead: float, only_depth: int | None = None):
    def world(run):
        jitter = run.seed % 7 / 1e4
        is_zero = run.start.name == "zeros" and only_depth in (None, run.network.depth)
        if not is_zero:
            return {"test_score": 0.9 - jitter, "train_loss": 0.1}
        return {"test_score": score - jitter, "train_loss": loss, "dead_units": dead}

    return world


@pytest.mark.parametrize(
    ("score", "loss", "dead", "verdict"),
    [
        (0.3, 2.0, 1.0, "supported"),
        (0.9, 0.1, 0.0, "refuted"),
        (0.95, 0.1, 0.4, "refuted"),
        (0.9, 0.1, 1.0, "depends"),
        (0.3, 2.0, 0.0, "depends"),
    ],
)
def test_the_verdict_follows_what_became_of_the_zero_runs(score, loss, dead, verdict) -> None:
    assert verdict_in(CLAIM, zeros_end(score=score, loss=loss, dead=dead)) == verdict


def test_a_zero_start_that_fails_in_shallow_networks_alone_makes_it_depend() -> None:
    answer = CLAIM.answer(found_in(CLAIM, zeros_end(score=0.3, loss=2.0, dead=1.0, only_depth=2)))
    assert answer.verdict == "depends"
    assert answer.factor is not None
    assert "'not always best' holds; 'dead neurons' holds; 'slow convergence' holds; 'poor" in answer.factor
    assert answer.factor.endswith("'poor in deep networks' fails")


def test_one_place_is_enough_for_what_can_happen() -> None:
    def world(run):
        fails = run.task == "wine" and run.network.depth == 6
        return (
            zeros_end(score=0.3, loss=2.0, dead=1.0)(run) if fails else zeros_end(score=0.99, loss=0.1, dead=0.0)(run)
        )

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert [cell.supports for cell in answer.evidence.cells] == [True] * 4
    assert answer.verdict == "supported"
    assert "in 1 of 8 places; 0 are open" in answer.evidence.cells[0].finding


def test_a_target_that_nobody_reaches_tells_nothing_of_speed() -> None:
    answer = CLAIM.answer(found_in(CLAIM, lambda run: {"train_loss": 2.0}))
    assert {cell.supports for cell in of_clause(answer.evidence.cells, "slow convergence")} == {None}


def test_half_of_the_runs_with_dead_units_leave_that_cell_open() -> None:
    def world(run):
        return {"dead_units": 1.0 if run.seed % 2 else 0.0}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert {cell.supports for cell in of_clause(answer.evidence.cells, "dead neurons")} == {None}
