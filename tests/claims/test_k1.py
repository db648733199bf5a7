"""The verdict on K1 follows where the zeros stand against He's weights."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.k1 import CLAIM, DEPTHS, ZEROS


def world_of(zeros: dict[str, float], he: float):
    def world(run):
        score = zeros.get(run.start.name, 0.9) if run.start.name != "he_normal" else he
        return {"test_score": score - (run.seed % 7) / 1e4}

    return world


@pytest.mark.parametrize(
    ("zeros", "he", "verdict"),
    [
        ({"zeros": 0.3}, 0.9, "depends"),
        ({}, 0.9, "supported"),
        ({start.name: 0.3 for start in ZEROS}, 0.9, "refuted"),
    ],
)
def test_the_verdict_follows_the_accuracies(zeros: dict[str, float], he: float, verdict: str) -> None:
    assert verdict_in(CLAIM, world_of(zeros, he)) == verdict


def test_the_places_of_the_zeros_are_named_where_they_disagree() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of({"zeros": 0.3}, 0.9)))
    assert answer.factor is not None
    assert "zero_residual" in answer.factor and "zeros refutes it" in answer.factor


def test_depth_alone_can_part_the_cells() -> None:
    def world(run):
        is_deep = run.network.depth == max(DEPTHS)
        return {
            "test_score": (0.9 if run.start.name != "he_normal" else (0.4 if is_deep else 0.99)) - run.seed % 7 / 1e4
        }

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "depends"
    assert answer.factor is not None and f"{max(DEPTHS)} branches supports the claim" in answer.factor


def test_accuracies_that_scatter_leave_it_undecided() -> None:
    def world(run):
        sign = 1 if run.start.name == "he_normal" else -1
        return {"test_score": 0.5 + sign * (0.2 if run.seed % 2 else -0.2)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_a_run_that_diverged_counts_as_zero() -> None:
    def world(run):
        gone = run.start.name == "he_normal"
        return {"test_score": float("nan") if gone else 0.4, "diverged": gone}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "supported"
    assert "he_normal 0 and 0 %" in answer.finding
