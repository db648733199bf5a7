"""The verdict on D2 follows the units that were told apart."""

import pytest
from worlds import found_in, record, verdict_in

from exnihilo.claims.d2 import CLAIM, DEPTH, STEPS, WIDTH, openings
from exnihilo.lab.records import Network, Optimizer, Run, Start


def alike(run):
    """What happens: no two units differ, and only sigmoid's maps open, one a step from the top."""
    measured = STEPS if run.steps == STEPS else 6
    opens = run.network.activation == "sigmoid"
    norms = tuple(tuple(float(opens and step >= DEPTH - i) for i in range(DEPTH + 1)) for step in range(measured + 1))
    return {"effective_width": 1, "effective_width_relative": 1, "gradient_norm": norms, "moved": opens}


def with_width(width, *activations):
    def world(run):
        part = run.start.name == "zeros" and run.network.activation in activations
        return alike(run) | ({"effective_width": width, "effective_width_relative": width} if part else {})

    return world


def test_units_that_never_part_refute_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, alike))
    assert answer.verdict == "refuted"
    assert "With none of 17 activations" in answer.finding
    assert "no weight of any map gets a gradient in any of 8 runs" in answer.finding
    assert "with sigmoid (f(0) = 0.5), the head at step 1, the map next to the input at step 4" in answer.finding


def test_one_activation_whose_units_part_makes_it_depend_on_the_activation() -> None:
    answer = CLAIM.answer(found_in(CLAIM, with_width(2, "relu")))
    assert answer.verdict == "depends"
    assert answer.factor == "the activation: units part with relu"
    assert "With 1 of 17 activations (relu) do" in answer.finding


def test_units_that_part_everywhere_support_the_claim() -> None:
    def world(run):
        return alike(run) | {"effective_width": WIDTH, "effective_width_relative": WIDTH, "gradient_norm": 1.0}

    answer = CLAIM.answer(found_in(CLAIM, world))
    assert answer.verdict == "supported"
    assert f"4 of 4 maps get a gradient, with at most {WIDTH} distinct units" in answer.finding


def test_rounding_alone_does_not_break_the_symmetry() -> None:
    assert verdict_in(CLAIM, lambda run: alike(run) | {"effective_width": 2}) == "refuted"


def test_networks_of_nan_decide_nothing() -> None:
    assert (
        verdict_in(CLAIM, lambda run: alike(run) | {"effective_width": 0, "effective_width_relative": 0}) == "undecided"
    )


@pytest.mark.parametrize(("norms", "expected"), [((0.0, 0.0, 1e-30), 3), ((1.0, 0.0, 0.0), 1), ((0.0, 0.0, 0.0), None)])
def test_a_map_opens_at_its_first_step_with_a_gradient(norms, expected) -> None:
    run = Run(
        task="wine",
        network=Network(depth=1),
        start=Start(name="zeros"),
        optimizer=Optimizer(),
        lr=0.1,
        seed=0,
        steps=2,
        batch_size=32,
        measurements=2,
    )
    found = openings([record(run, gradient_norm=tuple((norm, 1.0) for norm in norms))])
    assert found == (expected, 1)
