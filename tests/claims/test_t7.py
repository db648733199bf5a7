"""The verdict on T7 follows the final training losses of all-zero networks by rate."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.t7 import CLAIM, HIGH_RATE, LOW_RATE


def world_of(low: float, high: float, best: float):
    """Final losses from zero at the claim's two rates, and at every other rate."""

    def world(run):
        return {"train_loss": {LOW_RATE: low, HIGH_RATE: high}.get(run.lr, best)}

    return world


@pytest.mark.parametrize(
    ("low", "high", "best", "verdict"),
    [
        (0.023, 0.010, 0.001, "supported"),
        (2.303, 2.303, 2.303, "refuted"),
        (2.303, 2.900, 2.303, "refuted"),
        (2.303, 2.000, 1.500, "depends"),
    ],
)
def test_the_verdict_follows_the_losses(low: float, high: float, best: float, verdict: str) -> None:
    assert verdict_in(CLAIM, world_of(low, high, best)) == verdict


def test_the_activation_that_parts_the_cells_is_named() -> None:
    def world(run):
        alive = run.network.activation == "sigmoid"
        return {"train_loss": (0.001 if run.lr == HIGH_RATE else 0.02) if alive else 2.3}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "depends"
    assert answer.factor is not None and "sigmoid supports the claim; relu refutes it" in answer.factor


def test_runs_that_diverge_count_as_the_worst_loss() -> None:
    def world(run):
        gone = run.lr != LOW_RATE
        return {"train_loss": float("nan") if gone else 2.3, "diverged": gone}

    assert verdict_in(CLAIM, world) == "refuted"


def test_the_finding_counts_the_places_of_each_clause() -> None:
    finding = CLAIM.answer(found_in(CLAIM, world_of(2.303, 2.0, 1.5))).finding
    assert "ends clearly lower in 8 of 8 places" in finding and "reached in 0 of 8" in finding
