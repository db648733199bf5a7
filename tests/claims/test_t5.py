"""The verdict on T5 follows the records."""

import pytest
from exnihilo.claims.t5 import CLAIM

from worlds import verdict_in


@pytest.mark.parametrize(
    ("zero", "random", "verdict"),
    [(0.10, 0.95, "refuted"), (0.95, 0.83, "supported"), (0.9, 0.9, "refuted")],
)
def test_the_verdict_follows_the_test_accuracies(zero: float, random: float, verdict: str) -> None:
    def world(run):
        score = zero if run.start.name == "zeros" else random
        return {"test_score": score - (run.seed % 7) / 1e4}

    assert verdict_in(CLAIM, world) == verdict


def test_tasks_that_disagree_make_it_depend() -> None:
    def world(run):
        better = run.start.name == "zeros" and run.task == "wine"
        return {"test_score": (0.95 if better else 0.5) - (run.seed % 7) / 1e4}

    assert verdict_in(CLAIM, world) == "depends"
