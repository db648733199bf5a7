"""The verdict on C1 follows the records, clause by clause."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.c1 import CLAIM
from exnihilo.claims.clauses import of_clause
from exnihilo.claims.d3 import CLAIM as D3


def world_of(*, score: float, width: int, gradient: float):
    def world(run):
        if run.start.name != "zeros":
            return {"test_score": 0.9 - run.seed % 7 / 1e4}
        head = 1.0
        norms = (gradient, *(0.5,) * (run.network.depth - 1), head)
        return {
            "test_score": score - run.seed % 7 / 1e4,
            "effective_width_relative": width,
            "gradient_norm": (norms,) * (run.measurements + 1),
        }

    return world


@pytest.mark.parametrize(
    ("score", "width", "gradient", "verdict"),
    [
        (0.9, 1, 0.0, "supported"),
        (0.95, 1, 1e-4, "supported"),
        (0.3, 32, 0.5, "refuted"),
        (0.3, 1, 0.0, "depends"),
        (0.9, 2, 0.0, "depends"),
    ],
)
def test_the_verdict_follows_accuracy_width_and_gradients(score, width, gradient, verdict) -> None:
    assert verdict_in(CLAIM, world_of(score=score, width=width, gradient=gradient)) == verdict


def test_one_unit_that_differs_refutes_the_symmetry_of_its_activation() -> None:
    def world(run):
        alike = world_of(score=0.9, width=1, gradient=0.0)(run)
        odd = run.network.activation == "softplus" and run.task == "wine" and run.seed == 3
        return alike | ({"effective_width_relative": 2} if odd else {})

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert [cell.supports for cell in of_clause(answer.evidence.cells, "symmetry")] == [True, False]


@pytest.mark.parametrize("width", [0, 1])
def test_units_behind_nan_leave_the_symmetry_open(width) -> None:
    def world(run):
        is_lost = run.seed == 3 and run.start.name == "zeros"
        return world_of(score=0.9, width=width if is_lost else 1, gradient=0.0)(run)

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert {cell.supports for cell in of_clause(answer.evidence.cells, "symmetry")} == {True if width else None}


def holds(norms_of) -> set[bool | None]:
    def world(run):
        lowest, head = norms_of(run)
        return {"gradient_norm": ((lowest, *(head,) * run.network.depth),) * (run.measurements + 1)}

    answer = CLAIM.answer(found_in(CLAIM, world))
    return {cell.supports for cell in of_clause(answer.evidence.cells, "vanishing gradients")}


def test_runs_that_differ_leave_a_gradient_open() -> None:
    assert holds(lambda run: (0.5 if run.seed % 2 else 0.0, 1.0)) == {None}


def test_no_gradient_at_all_is_none_that_vanishes() -> None:
    assert holds(lambda run: (0.0, 0.0)) == {False}
    assert holds(lambda run: (0.0, 1.0)) == {True}


def test_the_finding_names_the_places_where_zero_keeps_up_and_one_is_enough() -> None:
    def world(run):
        keeps = run.task == "wine" and run.network.activation == "sigmoid"
        return world_of(score=0.9 if keeps else 0.5, width=2, gradient=0.0)(run)

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert "in 1 of 8 places (wine sigmoid); elsewhere it is up to 40 points" in answer.finding
    assert answer.factor is not None and "'can work' holds; 'symmetry' fails" in answer.factor


def test_both_claims_about_vanishing_gradients_say_the_same_of_a_network_without_any() -> None:
    def world(run):
        return {"gradient_norm": 0.0}

    [says] = {cell.supports for cell in D3.answer(found_in(D3, world)).evidence.cells}
    assert holds(lambda run: (0.0, 0.0)) == {says}
