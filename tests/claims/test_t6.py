"""The verdict on T6 follows the accuracy of ReLU and of sigmoid networks from zero."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.t6 import ACTIVATIONS, CLAIM, STARTS


def world_of(relu: float, sigmoid: float, *, wine: float | None = None):
    def world(run):
        score = relu if run.network.activation == "relu" else sigmoid
        if wine is not None and run.task == "wine" and run.network.activation == "relu":
            score = wine
        return {"test_score": score - (run.seed % 7) / 1e4}

    return world


@pytest.mark.parametrize(
    ("relu", "sigmoid", "verdict"), [(0.92, 0.82, "supported"), (0.33, 0.60, "refuted"), (0.5, 0.5, "refuted")]
)
def test_the_verdict_follows_the_accuracies(relu: float, sigmoid: float, verdict: str) -> None:
    assert verdict_in(CLAIM, world_of(relu, sigmoid)) == verdict


def test_tasks_that_disagree_make_it_depend_on_the_task() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(0.33, 0.6, wine=0.95)))
    assert answer.verdict == "depends"
    assert answer.factor is not None and "wine supports" in answer.factor


def test_accuracies_that_scatter_leave_it_undecided() -> None:
    def world(run):
        sign = 1 if run.network.activation == "relu" else -1
        return {"test_score": 0.5 + sign * (0.1 if run.seed % 2 else -0.1)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_the_map_has_a_cell_for_every_activation_task_and_start() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(0.33, 0.6)))
    rows = next(figure for figure in answer.evidence.figures if figure.mark == "heatmap").rows
    assert len({(row["activation"], row["task"], row["start"]) for row in rows}) == len(ACTIVATIONS) * 4 * len(STARTS)


def test_the_finding_names_the_best_activation_from_zero() -> None:
    def world(run):
        best = run.network.activation == "softplus" and run.start.name == "zeros"
        return {"test_score": 0.8 if best else 0.4}

    assert "the best from zero is softplus with 80 %" in CLAIM.answer(found_in(CLAIM, world)).finding
