"""The verdict on D6 follows the units that were told apart."""

import pytest
import torch
from worlds import SMALL, found_in, verdict_in

from exnihilo.claims import d6
from exnihilo.claims.d6 import CLAIM, Twins

ALIKE = (Twins(activation="sigmoid", biases=False, forward=1, backward=1, moved=True),)
PARTED = (Twins(activation="sigmoid", biases=False, forward=2, backward=2, moved=True),)
RANDOM = Twins(activation="sigmoid", biases=True, forward=8, backward=8, moved=True)


def alike(run):
    """Units part where there is noise, and where dropout meets an activation that lets something pass."""
    broken = run.start.name == "zeros_noise" or (run.network.dropout and run.network.activation == "sigmoid")
    width = run.network.width if broken else 1
    return {"effective_width": width, "effective_width_relative": width}


def test_units_that_stay_alike_support_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, alike, measured=(*ALIKE, RANDOM)))
    assert answer.verdict == "supported"
    assert "In 6 of 6 places" in answer.finding
    broken, held = answer.finding.split("It holds under")
    assert "The tie is broken by" in broken
    assert "dropout 0.1 (sigmoid)" in broken
    assert "random biases (sigmoid)" in broken
    assert "dropout 0.1 (relu)" in held


def test_units_that_part_everywhere_refute_the_claim() -> None:
    assert verdict_in(CLAIM, lambda run: {}, measured=PARTED) == "refuted"


def test_units_that_part_with_one_activation_make_it_depend() -> None:
    def world(run):
        part = run.network.activation == "softplus"
        return alike(run) | ({"effective_width": 5, "effective_width_relative": 5} if part else {})

    answer = CLAIM.answer(found_in(CLAIM, world, measured=ALIKE))
    assert answer.verdict == "depends"
    assert answer.factor is not None
    assert "softplus" in answer.factor


@pytest.mark.parametrize("part", [{"forward": 2, "backward": 1}, {"forward": 1, "backward": 2}])
def test_one_direction_is_enough_to_part_the_units_of_plain_pytorch(part) -> None:
    twins = (Twins(activation="relu", biases=False, moved=True, **part),)
    assert verdict_in(CLAIM, alike, measured=twins) == "depends"


def test_rounding_and_tie_breakers_do_not_count() -> None:
    def world(run):
        wide = {"effective_width": 3, "effective_width_relative": 3} if run.network.width == d6.WIDE else {}
        return alike(run) | {"effective_width": 2} | wide

    assert verdict_in(CLAIM, world, measured=ALIKE) == "supported"


def test_networks_of_nan_decide_nothing() -> None:
    assert (
        verdict_in(CLAIM, lambda run: {"effective_width_relative": 0, "effective_width": 0}, measured=()) == "undecided"
    )


def test_plain_pytorch_keeps_twins_that_move_and_random_biases_part_them() -> None:
    state = torch.get_rng_state()
    measured = {(of.activation, of.biases): of for of in d6.measure(SMALL, 0)}
    assert torch.equal(state, torch.get_rng_state())
    assert measured["sigmoid", False].moved
    assert not measured["relu", False].moved
    assert all((of.forward, of.backward) == (1, 1) for of in measured.values() if not of.biases)
    assert measured["sigmoid", True].forward == d6.PLAIN_WIDTH
    assert measured["sigmoid", True].backward == d6.PLAIN_WIDTH
