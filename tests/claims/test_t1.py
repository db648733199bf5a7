"""The verdict on T1 follows the neurons' outputs."""

import pytest
from worlds import SMALL

from exnihilo.claims.claim import Found
from exnihilo.claims.t1 import CLAIM, Neurons, Outcome, measure

ALIKE = ((0.5,) * 3,) * 3
APART = ((0.98, 0.95, 0.99),) * 3


def answer(**zero):
    neurons = {name: Neurons(value_at_zero=0.5, outputs=outputs) for name, outputs in zero.items()}
    outcome = Outcome(zero=neurons, random=Neurons(value_at_zero=0.5, outputs=(APART, APART)))
    return CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=outcome))


def says(found):
    return {cell.where: cell.supports for cell in found.evidence.cells}


@pytest.mark.parametrize(
    ("sigmoid", "relu", "verdict"),
    [
        ((ALIKE, ALIKE), (ALIKE, ALIKE), "refuted"),
        ((APART, APART), (APART, APART), "supported"),
        ((ALIKE, APART), (ALIKE, ALIKE), "depends"),
    ],
)
def test_the_verdict_follows_the_outputs(sigmoid, relu, verdict):
    assert answer(sigmoid=sigmoid, relu=relu).verdict == verdict


def test_the_activation_that_parts_the_neurons_is_named():
    found = answer(sigmoid=(ALIKE, APART), relu=(ALIKE, ALIKE))
    assert found.factor == (
        "which of these is asked: one input (1 of 2) supports the claim; at the start, one input (1 of 2) refute it"
    )


def test_a_difference_in_the_last_bit_counts():
    nearly = ((0.5, 0.5, 0.5000000596046448),) * 3
    assert says(answer(sigmoid=(ALIKE, nearly))) == {"at the start · sigmoid": False, "one input · sigmoid": True}


def test_answers_that_follow_the_input_alone_are_not_different_neurons():
    by_input = ((0.5,) * 3, (0.6,) * 3, (0.7,) * 3)
    found = answer(sigmoid=(ALIKE, by_input))
    assert found.verdict == "refuted"
    assert "Different inputs get different answers after training with 1 of 1" in found.finding
    assert "1 of 1 give 3 different numbers, from weights that are no longer zero" in found.finding


def test_numbers_that_follow_the_input_at_the_start_count_as_different():
    by_input = ((0.5,) * 3, (0.6,) * 3, (0.7,) * 3)
    found = answer(sigmoid=(by_input, by_input))
    assert says(found) == {"at the start · sigmoid": True, "one input · sigmoid": False}
    assert "zero neurons give one and the same number with 0 of 1 activations" in found.finding


def test_the_finding_does_not_call_equal_neurons_blind_to_the_input():
    found = CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=measure(SMALL, 0)))
    assert "three different answers to one input, such as 0.98, 0.95, 0.99, need neurons that differ" in found.finding
    assert "(0.5 for sigmoid, 0 for relu)" in found.finding


def test_another_seed_draws_other_random_neurons_and_the_same_zeros():
    first, other = measure(SMALL, 0), measure(SMALL, 1)
    assert first.zero == other.zero
    assert first.random != other.random


def test_the_measured_sigmoid_neurons_learn_and_stay_alike():
    outcome = measure(SMALL, 0)
    assert outcome.zero["sigmoid"].has_learned
    assert outcome.zero["sigmoid"].most_distinct == 1
    assert outcome.random.most_distinct == 3
    assert outcome.zero["relu"].outputs[0] == ((0.0,) * 3,) * 3
