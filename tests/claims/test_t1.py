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
    assert found.factor == "which of these is asked: sigmoid supports the claim; relu refutes it"


def test_a_difference_in_the_last_bit_counts():
    nearly = ((0.5, 0.5, 0.5000000596046448),) * 3
    assert answer(sigmoid=(ALIKE, nearly)).verdict == "supported"


def test_answers_that_follow_the_input_alone_are_not_different_neurons():
    by_input = ((0.5,) * 3, (0.6,) * 3, (0.7,) * 3)
    assert answer(sigmoid=(ALIKE, by_input)).verdict == "refuted"


def test_the_measured_sigmoid_neurons_learn_and_stay_alike():
    outcome = measure()
    assert outcome.zero["sigmoid"].has_learned
    assert outcome.zero["sigmoid"].most_distinct == 1
    assert outcome.random.most_distinct == 3
    assert outcome.zero["relu"].outputs[0] == ((0.0,) * 3,) * 3
