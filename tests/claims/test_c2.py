"""The verdict on C2 follows widths, gradients and saturation before training, and losses and accuracies after it."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.c2 import CLAIM
from exnihilo.claims.clauses import of_clause

ALIKE = ("zeros", "constant")


def world_of(*, width: int = 16, loss: float, saturated: float, gradient: float, tuned: float):
    """Random weights end with this loss (equal units with 1), wide ones begin so, the middle one is ahead by tuned."""

    def world(run):
        jitter, is_wide = run.seed % 7 / 1e4, run.start.value in (1.0, 3.0, 10.0)
        begun = {"effective_width": width} if run.steps == 1 else {}
        wide = {"saturated_units": saturated, "gradient_norm": gradient} if is_wide and run.steps == 1 else {}
        middle = tuned if run.start.value == 0.3 else 0.0
        end = {"train_loss": 1.0 if run.start.name in ALIKE else loss, "test_score": 0.5 + middle - jitter}
        return begun | wide | end

    return world


@pytest.mark.parametrize(
    ("world", "verdict"),
    [
        (world_of(loss=0.1, saturated=0.9, gradient=1e4, tuned=0.3), "supported"),
        (world_of(width=1, loss=1.0, saturated=0.0, gradient=1.0, tuned=0.0), "refuted"),
        (world_of(loss=1.0, saturated=0.9, gradient=1e4, tuned=0.3), "depends"),
        (world_of(loss=0.1, saturated=0.0, gradient=1.0, tuned=0.0), "depends"),
    ],
)
def test_the_verdict_follows_the_runs(world, verdict) -> None:
    assert verdict_in(CLAIM, world) == verdict


def holds(world, clause: str) -> list[bool | None]:
    return [cell.supports for cell in of_clause(CLAIM.answer(found_in(CLAIM, world)).evidence.cells, clause)]


def test_each_clause_has_its_own_facts() -> None:
    assert holds(world_of(loss=0.1, saturated=0.49, gradient=1e4, tuned=0.3), "saturation") == [False]
    assert holds(world_of(loss=0.1, saturated=0.5, gradient=1e4, tuned=0.3), "saturation") == [True]
    assert holds(world_of(loss=0.1, saturated=0.9, gradient=99.0, tuned=0.3), "exploding gradients") == [False]
    assert holds(world_of(loss=0.1, saturated=0.9, gradient=101.0, tuned=0.3), "exploding gradients") == [True]


def test_a_unit_that_repeats_another_refutes_its_std() -> None:
    def world(run):
        alike = run.steps == 1 and run.start.value == 0.03 and run.task == "wine" and run.seed == 1
        return {"effective_width": 15} if alike else {}

    assert holds(world, "breaks symmetry") == [True, False, True, True, True, True, True]


def test_noise_leaves_the_trained_clauses_open() -> None:
    def world(run):
        sign = 1 if run.seed % 2 else -1
        spread = {"small_normal": 0.1, "normal": 0.2 + (run.start.value or 0.0) / 10}.get(run.start.name, 0.0) * sign
        return {"train_loss": 1.0 + spread, "test_score": 0.5 + spread}

    assert set(holds(world, "helps to avoid local optima")) == {None}
    assert set(holds(world, "range must be tuned")) == {None}


@pytest.mark.parametrize("name", ["saturated_units", "gradient_norm"])
def test_a_task_that_differs_leaves_saturation_and_explosion_open(name) -> None:
    def world(run):
        wide = world_of(loss=0.1, saturated=0.9, gradient=1e4, tuned=0.3)(run)
        return wide | ({name: 0.1} if run.steps == 1 and run.task == "wine" else {})

    # A run's gradient is in units of that on its own task and seed: where all are 0.1, nothing grows.
    assert holds(world, "saturation" if name == "saturated_units" else "exploding gradients") == [None]
