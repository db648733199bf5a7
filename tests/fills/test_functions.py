"""The laws' functions against scipy in float64, word by word: nothing of our formulas is used."""

import math

import numpy as np
import pytest
import torch
from fill_cases import BACKENDS, backend
from numpy.typing import NDArray
from scipy import special, stats

from exnihilo.fills import Box, Key, Law, bits, values
from exnihilo.fills import polynomials as p

KEY = Key(4, "functions")
N = 2**18

Floats = NDArray[np.float64]


def words(n: int = N) -> Floats:
    return bits(KEY, n).astype(np.float64)


def drawn(law: Law, n: int = N) -> Floats:
    return values(law, KEY, Box.whole((n,))).double().numpy()


# --- normal -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_normals_are_box_muller_of_their_words(name: str) -> None:
    """In float64, with the radius' word as a number of (0, 1] and the angle's as a share of a turn.

    A float32 just below 1 is known to 2**-25: it moves the radius by that over the radius. All else is relative.
    """
    tiles = words().reshape(-1, 2, 32)
    u = (np.floor(tiles[:, 0] / 2) + 0.5) / 2**31
    radius, turn = np.sqrt(-2 * np.log(u)), tiles[:, 1] / 2**32
    with backend(name):
        found = drawn(Law.normal()).reshape(-1, 2, 32)
    slack = 2**-24 / np.maximum(radius, 2**-13)
    for half, function in ((0, special.cosdg), (1, special.sindg)):
        expected = radius * function(360 * turn)
        assert np.all(np.abs(found[:, half] - expected) <= 4e-7 * np.abs(expected) + slack * np.abs(expected / radius))


def test_the_tail_of_normals_is_as_exact_as_their_middle() -> None:
    """Words that are small have logarithms as exact as all others: of 2**22, those below 2**14."""
    tiles = bits(KEY, 2**22).astype(np.float64).reshape(-1, 2, 32)
    found = drawn(Law.normal(), 2**22).reshape(-1, 2, 32)
    is_far = tiles[:, 0] < 2**14
    assert is_far.sum() >= 4
    radius = np.sqrt(-2 * np.log((np.floor(tiles[:, 0] / 2) + 0.5) / 2**31))[is_far]
    assert radius.min() > 4.9
    np.testing.assert_allclose(np.hypot(found[:, 0], found[:, 1])[is_far], radius, rtol=4e-7)


def test_mean_and_std_are_one_multiplication_and_one_addition() -> None:
    standard, mean, std = drawn(Law.normal()).astype(np.float32), np.float32(0.3), np.float32(0.02)
    assert np.array_equal(drawn(Law.normal(0.3, 0.02)).astype(np.float32), mean + std * standard)
    assert np.array_equal(drawn(Law.normal(std=0.25)), 0.25 * drawn(Law.normal()))


# --- truncated normal -------------------------------------------------------------------------------------------------

BOUNDS = [
    (-2.0, 2.0),
    (-3.25, 3.25),
    (-0.01, 0.02),
    (0.0, 1.0),
    (1.0, 3.0),
    (-3.2500001, 3.0),
    (-4.0, 4.0),
    (-6.0, 8.0),
    (-1e-6, 6.0),
    (-6.0, 1e-6),
    (-6.66, math.inf),
    (0.0, math.inf),
    (-0.5, 12.0),
    (3.0, 4.0),
    (5.0, 5.01),
    (10.0, 11.0),
    (-11.0, -10.0),
    (-math.inf, -4.0),
    (20.0, 37.0),
    (30.0, math.inf),
    (37.0, math.inf),
    (-math.inf, 6.0),
]


def share_of(word: Floats, lower: float, upper: float) -> Floats:
    """The share of the mass that a word stands for: of two's complement around the middle, or of two tails."""
    if max(abs(lower), abs(upper)) <= p.CENTER_REACH:
        return (np.where(word < 2**31, word, word - 2**32) / 2**31 + 1) / 2
    if lower >= 0.0 or upper <= 0.0:
        share = (np.floor((2**32 - 1 - word) / 2) + 0.5) / 2**31
        return 1 - share if lower >= 0.0 else share
    return (2 * np.floor(word / 2) + 1) / 2**32


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_truncated_normals_are_scipys_quantiles_of_their_words(name: str, lower: float, upper: float) -> None:
    """Up to 1e-6 of the value, and what the share is known to: 2**-23 of itself or of the tail, whichever rules."""
    n = 2**13
    share = share_of(words(n), lower, upper)
    with backend(name):
        found = drawn(Law.truncated_normal(lower=lower, upper=upper), n)
    expected = stats.truncnorm.ppf(share, lower, upper)
    # dz = dp / density: in the center the share itself has 24 digits; in a tail the tail's probability has them.
    is_central = max(abs(lower), abs(upper)) <= p.CENTER_REACH
    tail = special.log_ndtr(-np.abs(expected))
    known = math.log(2) if is_central else tail
    resolution = 2**-23 * np.exp(known - stats.norm.logpdf(expected))
    assert np.all(np.abs(found - expected) <= 1e-6 * np.abs(expected) + resolution)
    assert lower <= found.min() <= found.max() <= upper


# --- the polynomials --------------------------------------------------------------------------------------------------


def horner(coefficients: tuple[float, ...], t: Floats) -> Floats:
    return np.polynomial.polynomial.polyval(t, coefficients)


def largest_error(found: Floats, exact: Floats) -> float:
    return float(np.max(np.abs(found / exact - 1)))


def test_polynomials_are_as_exact_as_float32_can_show() -> None:
    """In float64, over the whole of each range: the fit alone, without rounding of operations."""
    f = np.linspace(math.sqrt(0.5) - 1, math.sqrt(2) - 1, 100_000)
    assert largest_error(f - f**2 / 2 + f**3 * horner(p.LOG, f), np.log1p(f)) < 1e-7
    a = np.linspace(-math.pi / 4, math.pi / 4, 100_000)
    assert largest_error(a + a**3 * horner(p.SIN, a**2), np.sin(a)) < 2e-8
    assert largest_error(1 - a**2 / 2 + a**4 * horner(p.COS, a**2), np.cos(a)) < 1e-8


def test_quantile_polynomials_are_exact_over_their_ranges_and_meet() -> None:
    z = np.linspace(1e-3, 3.24, 50_000)
    x = special.erf(z / math.sqrt(2))
    w = -np.log(special.erfc(z / math.sqrt(2))) - np.log1p(x)
    assert largest_error(x * horner(p.CENTER, w - 3), z) < 3e-7
    z = np.linspace(3.22, 37.2, 50_000)
    log_tail = special.log_ndtr(-z)
    w = -np.log(4) - log_tail - np.log1p(-np.exp(log_tail))
    assert w.min() < p.FAR
    s = np.sqrt(w[w >= p.FAR])
    assert largest_error(s * horner(p.TAIL, 1 / s), z[w >= p.FAR]) < 3e-7


def test_coefficients_are_exact_in_float32() -> None:
    for name in ("LOG", "SIN", "COS", "CENTER", "TAIL"):
        coefficients = torch.tensor(getattr(p, name), dtype=torch.float64)
        assert torch.equal(coefficients.float().double(), coefficients)
