"""The verdict on M4 follows the all-zero networks, activation by activation."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.clauses import of_clause
from exnihilo.claims.m4 import CLAIM


def world_of(relu: float, sigmoid: float):
    def world(run):
        score = {"relu": relu, "sigmoid": sigmoid}.get(run.network.activation, relu) - run.seed % 7 / 1e4
        return {"test_score": score, "train_loss": 1.0 - score}

    return world


@pytest.mark.parametrize(
    ("relu", "sigmoid", "verdict"),
    [(0.92, 0.82, "supported"), (0.9, 0.9, "refuted"), (0.1, 0.9, "depends")],
)
def test_the_verdict_follows_the_difference_and_its_order(relu, sigmoid, verdict) -> None:
    assert verdict_in(CLAIM, world_of(relu, sigmoid)) == verdict


def test_the_reverse_order_supports_one_clause_and_refutes_the_other() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(0.1, 0.9)))
    cells = answer.evidence.cells
    assert {cell.supports for cell in of_clause(cells, "not equal")} == {True}
    assert {cell.supports for cell in of_clause(cells, "relu above sigmoid")} == {False}
    assert "ReLU is above sigmoid in 0 of 4 tasks, and sigmoid above ReLU in 4." in answer.finding
    assert answer.factor is not None and "'not equal' holds; 'relu above sigmoid' fails" in answer.factor


def test_noise_leaves_it_undecided() -> None:
    def world(run):
        sign = 1 if run.seed % 2 else -1
        spread = {"relu": 0.4, "sigmoid": -0.4, "softplus": -0.3, "tanh": -0.2}[run.network.activation] * sign
        return {"test_score": 0.5 + spread, "train_loss": 1.0 + spread}

    assert verdict_in(CLAIM, world) == "undecided"
