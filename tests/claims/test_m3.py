"""The verdict on M3 follows the gaps, what they cost, and the share of zeros."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.clauses import of_clause
from exnihilo.claims.m3 import CLAIM


def arm_of(run) -> str:
    if run.network.dropout or run.optimizer.weight_decay:
        return "remedy"
    return run.start.name


def world_of(gaps: dict[str, float], tests: dict[str, float], zeros: float):
    """Each arm's gap and test score (0.2 and 0.7 where nothing is said), and the zero weights of the all-zero runs."""

    def world(run):
        arm, jitter = arm_of(run), run.seed % 7 / 1e4
        test = tests.get(arm, 0.7)
        end = {"test_score": test - jitter, "train_score": test + gaps.get(arm, 0.2)}
        return end | ({"zero_weights": zeros} if arm == "zeros" else {})

    return world


SUPPORTED = world_of({"remedy": 0.05, "zeros": 0.0}, {"zeros": 0.1}, 1.0)
REFUTED = world_of({"zeros": 0.0, "zeros_noise": 0.0, "remedy": 0.2}, {}, 0.0)


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (SUPPORTED, "supported"),
        (REFUTED, "refuted"),
        (world_of({"zeros": 0.0}, {"zeros": 0.1}, 1.0), "depends"),
    ],
)
def test_the_verdict_follows_gaps_and_zeros(world, verdict) -> None:
    assert verdict_in(CLAIM, world) == verdict


def holds(world, clause: str) -> set[bool | None]:
    return {cell.supports for cell in of_clause(CLAIM.answer(found_in(CLAIM, world)).evidence.cells, clause)}


def test_a_gap_that_is_closed_by_learning_less_is_no_cure() -> None:
    assert holds(world_of({"zeros": 0.0}, {"zeros": 0.1}, 1.0), "overfitting stays") == {True}
    assert holds(world_of({"zeros": 0.0}, {}, 1.0), "overfitting stays") == {True, False}


def test_where_xavier_has_no_gap_there_is_nothing_to_remove() -> None:
    nothing = dict.fromkeys(("xavier_normal", "zeros", "zeros_noise", "remedy"), 0.0)
    assert holds(world_of(nothing, {}, 1.0), "overfitting stays") == {None}


def test_a_remedy_that_costs_test_score_is_left_open() -> None:
    assert holds(world_of({"remedy": 0.05}, {"remedy": 0.5}, 1.0), "decay and dropout do more") == {None}
    assert holds(world_of({"remedy": 0.05}, {"remedy": 0.8}, 1.0), "decay and dropout do more") == {True}


def test_zeros_in_some_runs_leave_the_sparsity_open() -> None:
    def world(run):
        return {"zero_weights": 1.0 if run.seed % 2 else 0.0}

    assert holds(world, "sparsity") == {None}


def test_one_task_with_many_zeros_is_enough_for_what_may_happen() -> None:
    assert holds(lambda run: {"zero_weights": 1.0 if run.task == "digits" else 0.0}, "sparsity") == {True}
    assert holds(lambda run: {"zero_weights": 0.0}, "sparsity") == {False}


def test_the_finding_tells_a_gap_from_none_that_was_bought_by_learning_less() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of({"zeros": 0.0, "zeros_noise": 0.0}, {"zeros": 0.1}, 1.0)))
    assert "a start near zero leaves a gap in 0 of 4 tasks and none in 4;" in answer.finding
    assert "a start all zero leaves a gap in 0 of 4 tasks and none in 4 (in 4 of these its test score" in answer.finding
