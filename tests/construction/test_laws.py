"""What operations make of laws, against the operations themselves on many numbers."""

import math

import pytest
import torch
from scipy import stats

from exnihilo.construction.laws import (
    Flat,
    Gauss,
    Mapped,
    clamped,
    combined,
    cut,
    inverse_error,
    mapped,
    multiplied,
    shifted,
    without_idle_cuts,
)

STANDARD, UNIT = Gauss(0.0, 1.0), Flat(0.0, 1.0)


def frozen(law):
    """The law as scipy has it."""
    if isinstance(law, Flat):
        return stats.uniform(law.low, law.high - law.low)
    return stats.truncnorm(law.lower, law.upper, law.mean, law.std)


@pytest.mark.parametrize("law", [Gauss(0.5, 2.0, lower=-1.0, upper=3.0), Flat(-1.0, 3.0)])
@pytest.mark.parametrize("factor", [2.0, -0.5])
def test_a_scaled_and_shifted_law_has_the_quantiles_of_scaled_and_shifted_values(law, factor):
    moved = shifted(multiplied(law, factor), 0.25)
    for share in (0.01, 0.3, 0.5, 0.9):
        given = frozen(law).ppf(share if factor > 0 else 1 - share)
        assert frozen(moved).ppf(share) == pytest.approx(factor * given + 0.25)


@pytest.mark.parametrize(("low", "high"), [(-0.9545, 0.9545), (-0.3, 0.9), (-1.0, 1.0)])
def test_the_inverse_error_function_makes_cut_normal_values_of_uniform_ones(low, high):
    law = inverse_error(Flat(low, high))
    for share in (0.001, 0.25, 0.5, 0.99):
        value = torch.special.erfinv(torch.tensor(low + share * (high - low), dtype=torch.float64)).item()
        assert frozen(law).ppf(share) == pytest.approx(value, rel=1e-6, abs=1e-9)


def test_a_clamp_at_the_bounds_says_them_anew_and_one_beyond_changes_nothing():
    law = inverse_error(Flat(2 * stats.norm.cdf(-2.0) - 1, 2 * stats.norm.cdf(2.0) - 1))
    scaled = multiplied(law, 0.02 * math.sqrt(2.0))
    assert clamped(scaled, -0.04, 0.04) == Gauss(scaled.mean, scaled.std, -0.04 / scaled.std, 0.04 / scaled.std)
    assert clamped(scaled, -1.0, 1.0) == scaled
    assert clamped(STANDARD, -9.0, math.inf) == STANDARD
    assert clamped(UNIT, 0.0, 1.0) == UNIT


def test_a_clamp_that_moves_values_leaves_no_law_of_the_family():
    assert clamped(STANDARD, -2.0, 2.0) is None
    assert clamped(UNIT, 0.1, 1.0) is None


def test_cuts_that_take_nothing_away_are_left_out():
    assert without_idle_cuts(cut(0.0, 0.02, -2.0, 2.0)) == Gauss(0.0, 0.02)
    assert cut(0.0, 1.0, -2.0, 2.0) == Gauss(0.0, 1.0, -2.0, 2.0)
    assert cut(1.0, 0.0, -2.0, 2.0) == Gauss(1.0, 0.0)


def test_formulas_of_one_law_are_combined_and_those_of_two_are_not():
    log = mapped(UNIT, "log({})")
    assert combined(UNIT, log, "+") == Mapped(UNIT, "(x + log(x))")
    assert combined(STANDARD, log, "+") is None


def test_a_formula_does_not_grow_without_end():
    law = UNIT
    for _ in range(1000):
        law = mapped(law, "exp({})")
    assert law is None
