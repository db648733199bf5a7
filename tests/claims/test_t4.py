"""The verdict on T4 follows the gap and the accuracy on unseen data."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.t4 import CLAIM, OPTIMIZERS


def world_of(zero: tuple[float, float], random: tuple[float, float]):
    """Training and test accuracy of each of the two starts."""

    def world(run):
        train, test = zero if run.start.name == "zeros" else random
        jitter = (run.seed % 7) / 1e4
        return {"train_score": train, "test_score": test - jitter * (1 + (run.start.name == "zeros"))}

    return world


@pytest.mark.parametrize(
    ("zero", "random", "verdict"),
    [
        ((0.95, 0.90), (0.99, 0.85), "supported"),
        ((0.30, 0.30), (0.99, 0.85), "depends"),
        ((0.95, 0.60), (0.99, 0.85), "refuted"),
        ((0.90, 0.90), (0.90, 0.90), "refuted"),
    ],
)
def test_the_verdict_follows_gap_and_accuracy(
    zero: tuple[float, float], random: tuple[float, float], verdict: str
) -> None:
    assert verdict_in(CLAIM, world_of(zero, random)) == verdict


def test_the_clause_that_parts_the_cells_is_named() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of((0.3, 0.3), (0.99, 0.85))))
    assert answer.factor is not None
    assert "smaller gap supports the claim; higher test accuracy refutes it" in answer.factor


def test_every_task_is_tried_with_and_without_weight_decay() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of((0.9, 0.9), (0.9, 0.9))))
    assert len(answer.evidence.cells) == 2 * 4 * len(OPTIMIZERS)
    assert sum("no weight decay" in cell.where for cell in answer.evidence.cells) == 8
