"""The verdict on D3 follows the gradients on their way down."""

import math

import pytest
from worlds import found_in, record, verdict_in

from exnihilo.claims.d3 import CLAIM, MEASUREMENTS
from exnihilo.claims.gradients import UNDERFLOW, fall, vanishes
from exnihilo.lab.records import Network, Optimizer, Run, Start


def norms_of(run, ratio, first=1.0):
    """At every measured step the head's gradient is 1, and each map's ``ratio`` times that of the one above."""
    depth = run.network.depth
    jitter = 1 + run.seed % 7 / 1e3
    return ((*(first * jitter * ratio ** (depth - i) for i in range(depth)), first),) * (MEASUREMENTS + 1)


def fading(run):
    """What happens: nothing where f(0) is 0, and gradients that fade elsewhere."""
    dead = run.start.name == "zeros" and run.network.activation in ("relu", "tanh")
    ratio = 1e-3 if run.start.name == "zeros" else 0.5
    return {"gradient_norm": 0.0 if dead else norms_of(run, ratio)}


def test_what_a_unit_hands_on_at_zero_decides() -> None:
    answer = CLAIM.answer(found_in(CLAIM, fading))
    assert answer.verdict == "depends"
    assert (answer.factor or "").startswith("f(0)")
    assert "With relu (f(0) = 0), tanh (f(0) = 0) the gradient of every weight" in answer.finding
    assert "1, 2, 8 hidden layers: depth is not the reason" in answer.finding
    assert "falls by 12 to 12 decades" in answer.finding


@pytest.mark.parametrize(("ratio", "verdict"), [(1e-3, "supported"), (0.5, "refuted"), (2.0, "refuted")])
def test_the_fall_from_the_head_to_the_input_decides(ratio, verdict) -> None:
    assert verdict_in(CLAIM, lambda run: {"gradient_norm": norms_of(run, ratio)}) == verdict


def test_no_gradient_at_all_is_not_a_vanishing_one() -> None:
    answer = CLAIM.answer(found_in(CLAIM, lambda run: {"gradient_norm": 0.0}))
    assert answer.verdict == "refuted"
    assert "Nowhere does it fade" in answer.finding


def test_dead_networks_that_are_deep_alone_do_not_take_the_blame_off_depth() -> None:
    def world(run):
        return fading(run) if run.network.depth >= 4 else {"gradient_norm": norms_of(run, 0.5)}

    assert "depth is not the reason" not in CLAIM.answer(found_in(CLAIM, world)).finding


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_gradients_that_are_not_finite_decide_nothing(norm) -> None:
    assert verdict_in(CLAIM, lambda run: {"gradient_norm": norm}) == "undecided"


def test_seeds_that_disagree_decide_nothing() -> None:
    def world(run):
        return {"gradient_norm": norms_of(run, 1e-3 if run.seed % 2 else 0.5)}

    assert verdict_in(CLAIM, world) == "undecided"


def test_a_gradient_that_underflows_counts_as_the_smallest_number() -> None:
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
    assert fall(record(run, gradient_norm=((0.0, 1.0),))) == pytest.approx(-math.log10(UNDERFLOW))
    assert math.isnan(fall(record(run, gradient_norm=((0.0, 0.0),))))


@pytest.mark.parametrize(
    ("norms", "says"),
    [
        ((1e-5, 1.0), True),
        ((0.0, 1.0), True),
        ((1e-2, 1.0), False),
        ((0.0, 0.0), False),
        ((0.1, 0.0), None),
        ((math.nan, 1.0), None),
    ],
)
def test_a_run_with_no_gradient_at_all_has_none_that_vanishes(norms, says) -> None:
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
    assert vanishes(record(run, gradient_norm=(norms,))) is says
