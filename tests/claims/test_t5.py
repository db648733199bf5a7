"""The verdict on T5 follows the records."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.t5 import CLAIM


@pytest.mark.parametrize(
    ("zero", "random", "verdict"),
    [(0.10, 0.95, "refuted"), (0.95, 0.83, "supported"), (0.9, 0.9, "refuted")],
)
def test_the_verdict_follows_the_test_accuracies(zero: float, random: float, verdict: str) -> None:
    def world(run):
        score = zero if run.start.name == "zeros" else random
        return {"test_score": score - (run.seed % 7) / 1e4}

    assert verdict_in(CLAIM, world) == verdict


def test_tasks_that_disagree_make_it_depend_and_are_named() -> None:
    def world(run):
        better = run.start.name == "zeros" and run.task == "wine"
        return {"test_score": (0.95 if better else 0.5) - (run.seed % 7) / 1e4}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "depends"
    assert answer.factor is not None and "wine supports" in answer.factor


def test_accuracies_that_scatter_leave_it_undecided() -> None:
    def world(run):
        sign = 1 if run.start.name == "zeros" else -1
        return {"test_score": 0.5 + sign * (0.1 if run.seed % 2 else -0.1)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_the_finding_is_told_by_the_numbers_in_either_world() -> None:
    def world(run):
        return {"test_score": 0.9 if run.start.name == "zeros" else 0.4, "moved": run.start.name != "zeros"}

    finding = CLAIM.answer(found_in(CLAIM, world)).finding
    assert "right in 90 to 90 %" in finding and "+50 to +50 points" in finding
    assert "In 40 of 40 runs from zeros no weight ever moved." in finding
