"""The verdict on D1 follows the counts."""

from dataclasses import replace

import pytest
import torch
from worlds import SMALL

from exnihilo.claims import d1
from exnihilo.claims.claim import Found
from exnihilo.claims.d1 import CLAIM, Begun, Cost, Outcome


def outcome_of(**changes: int) -> Outcome:
    """A world where zero is zero, but for the changes to the plain MLP."""
    zeros = Begun(
        network="", start="zeros", num_weights=9, num_biases=3, nonzero_weights=0, nonzero_biases=0, num_variants=1
    )
    plain, residual = replace(zeros, network="plain MLP", **changes), replace(zeros, network="residual MLP")
    control = replace(zeros, network="plain MLP", start="he_normal", nonzero_weights=9, num_variants=5)
    costs = (
        Cost(scheme="zeros", seconds=1e-4, torch_seconds=1e-4),
        Cost(scheme="normal", seconds=0.02, torch_seconds=0.01),
    )
    return Outcome(begun=(plain, residual, control), costs=costs)


def answer_to(outcome: Outcome):
    return CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=outcome))


def test_zeros_support_the_claim() -> None:
    answer = answer_to(outcome_of())
    assert answer.verdict == "supported"
    assert "all 24 are exactly zero" in answer.finding
    assert "he_normal have them too" in answer.finding


@pytest.mark.parametrize("change", [{"nonzero_weights": 1}, {"nonzero_biases": 1}, {"num_variants": 2}])
def test_a_single_other_value_or_variant_turns_its_network_against_the_claim(change: dict[str, int]) -> None:
    answer = answer_to(outcome_of(**change))
    assert answer.verdict == "depends"
    assert answer.factor is not None


def test_values_everywhere_refute_the_claim() -> None:
    outcome = outcome_of()
    begun = tuple(replace(b, nonzero_weights=2, num_variants=5) for b in outcome.begun)
    answer = answer_to(replace(outcome, begun=begun))
    assert answer.verdict == "refuted"
    assert "4 of 24 are not zero" in answer.finding


def test_a_count_that_finds_no_weight_anywhere_decides_nothing() -> None:
    outcome = outcome_of()
    begun = tuple(replace(b, nonzero_weights=0) for b in outcome.begun)
    assert answer_to(replace(outcome, begun=begun)).verdict == "undecided"


def test_the_count_sees_a_single_negative_zero() -> None:
    values = {"weight": torch.zeros(3), "bias": torch.tensor([0.0, -0.0])}
    assert d1._num_nonzero(values, ["weight"]) == 0
    assert d1._num_nonzero(values, ["weight", "bias"]) == 1


def test_the_lab_s_networks_begin_at_zero_and_the_controls_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(d1, "FILLS", {name: d1.FILLS[name] for name in ("zeros", "normal")})
    outcome = d1.measure(SMALL, 0)
    zero = [begun for begun in outcome.begun if begun.start == "zeros"]
    # Weights and biases of a 64-32-32-32-10 network, by hand.
    assert (zero[0].num_weights, zero[0].num_biases) == (64 * 32 + 2 * 32 * 32 + 32 * 10, 3 * 32 + 10)
    assert {(b.nonzero_weights, b.nonzero_biases, b.num_variants) for b in zero} == {(0, 0, 1)}
    assert all(
        b.nonzero_weights == b.num_weights and b.num_variants == d1.SEEDS for b in outcome.begun if b not in zero
    )
    assert all(cost.seconds > 0.0 < cost.torch_seconds for cost in outcome.costs)
