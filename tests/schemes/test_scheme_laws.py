"""The laws of the entries, by Kolmogorov distance (its power is stated in scheme_checks.py), and common numbers."""

import math

import numpy as np
import pytest
import torch
from scheme_checks import DISTANCE, N_LAW, draws, kolmogorov_distance
from scipy import stats

from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    Noisy,
    Normal,
    Scheme,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    Zeros,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.truncated_normal import truncated_std

SQUARE = Layout.linear(1024, 1024)

NORMAL: list[Scheme] = [Normal(std=1.0), lecun_normal(), xavier_normal(), he_normal()]
UNIFORM: list[Scheme] = [Uniform(bound=1.0), lecun_uniform(), xavier_uniform(), he_uniform(), TorchDefault()]

BOUNDS = [
    (-2.0, 2.0),
    (-1.0, 3.0),
    (-0.001, 0.001),
    (-8.0, 8.0),
    (0.0, 1.0),
    (2.0, math.inf),
    (-math.inf, -10.0),
    (5.0, 8.0),
    (-8.0, -5.0),
    (20.0, 20.5),
    (30.0, math.inf),
    (-36.0, -35.0),
]


@pytest.mark.parametrize("scheme", NORMAL)
def test_normal_schemes_are_normal(scheme: Scheme) -> None:
    values = draws(scheme, SQUARE, N_LAW) / scheme.expected_std(SQUARE)
    assert kolmogorov_distance(values, stats.norm.cdf) < DISTANCE


@pytest.mark.parametrize("scheme", UNIFORM)
def test_uniform_schemes_are_uniform_and_symmetric(scheme: Scheme) -> None:
    bound = math.sqrt(3) * scheme.expected_std(SQUARE)
    values = draws(scheme, SQUARE, N_LAW) / bound
    assert kolmogorov_distance(values, stats.uniform(-1, 2).cdf) < DISTANCE


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_truncated_normals_have_their_law_to_the_tails(lower: float, upper: float) -> None:
    """Against scipy's law, over the whole interval and in its last 1 % on each side."""
    scheme = TruncatedNormal(std=0.02, lower=lower, upper=upper)
    law = stats.truncnorm(lower, upper)
    values = draws(scheme, SQUARE, N_LAW) * truncated_std(lower, upper) / 0.02
    # float32 resolves a value to 6e-8 of itself, which can exceed what the narrowest of these laws resolves.
    assert kolmogorov_distance(values, law.cdf) < DISTANCE
    low, high = law.ppf(0.01), law.isf(0.01)
    within = 5 * math.sqrt(0.01 * 0.99 / N_LAW)
    assert (values < low).double().mean().item() == pytest.approx(0.01, abs=within)
    assert (values > high).double().mean().item() == pytest.approx(0.01, abs=within)
    slack = 1e-6 * max(abs(x) for x in (lower, upper) if math.isfinite(x))
    assert lower - slack <= values.min().item() < values.max().item() <= upper + slack


@pytest.mark.parametrize(("lower", "upper"), BOUNDS)
def test_the_std_of_a_truncated_normal_is_that_of_a_fine_sum(lower: float, upper: float) -> None:
    """Against a midpoint sum of a million cells."""
    low, high = max(lower, -45.0), min(upper, 45.0)
    mode = min(max(0.0, low), high)
    low, high = max(low, mode - 12.0), min(high, mode + 12.0)
    cells = np.linspace(low, high, 1_000_001)
    z = (cells[:-1] + cells[1:]) / 2
    mass = np.exp(-(z - mode) * (z + mode) / 2)
    mass /= mass.sum()
    expected = math.sqrt((mass * (z - (mass * z).sum()) ** 2).sum())
    assert truncated_std(lower, upper) == pytest.approx(expected, rel=1e-7)


def test_the_std_at_two_sigma_is_the_published_constant() -> None:
    """0.87962566103423978: what other libraries divide by."""
    assert truncated_std(-2.0, 2.0) == pytest.approx(0.87962566103423978, rel=1e-12)
    assert truncated_std(-math.inf, math.inf) == pytest.approx(1.0, rel=1e-12)
    assert truncated_std(0.0, math.inf) == pytest.approx(math.sqrt(1 - 2 / math.pi), rel=1e-12)


def test_truncated_variance_scaling_is_cut_at_two_sigma() -> None:
    scheme = VarianceScaling(distribution="truncated_normal")
    values = scheme.sample(SQUARE, Key(0, "w")) / scheme.expected_std(SQUARE)
    assert values.abs().max().item() == pytest.approx(2.0 / 0.87962566, rel=1e-3)


def test_normal_schemes_under_one_key_are_the_same_numbers_scaled() -> None:
    key = Key(3, "w")
    for layout in (Layout.linear(24, 40), Layout.conv_transpose(8, 6, (3, 3), groups=2), Layout.packed(8, 12)):
        standard = Normal(std=1.0).sample(layout, key)
        for scheme in (*NORMAL, Normal(std=0.013)):
            torch.testing.assert_close(
                scheme.sample(layout, key) / scheme.expected_std(layout), standard, rtol=3e-7, atol=0.0
            )


def test_uniform_schemes_under_one_key_are_the_same_numbers_scaled() -> None:
    key = Key(3, "w")
    for layout in (Layout.linear(24, 40), Layout.conv_transpose(8, 6, (3, 3), groups=2), Layout.packed(8, 12)):
        standard = Uniform(bound=1.0).sample(layout, key)
        for scheme in (*UNIFORM, Uniform(bound=0.013)):
            bound = math.sqrt(3) * scheme.expected_std(layout)
            torch.testing.assert_close(scheme.sample(layout, key) / bound, standard, rtol=3e-7, atol=1e-7)


def test_noise_is_independent_of_its_base_and_the_same_under_any_base() -> None:
    key, layout = Key(3, "w"), Layout.linear(512, 512)
    noise = Noisy(base=Zeros(), std=1.0).sample(layout, key)
    base = Normal(std=1.0).sample(layout, key)
    torch.testing.assert_close(
        Noisy(base=Normal(std=1.0), std=1.0).sample(layout, key) - base, noise, rtol=0, atol=1e-6
    )
    correlation = torch.corrcoef(torch.stack([noise.flatten(), base.flatten()]))[0, 1].item()
    assert abs(correlation) < 5 / 512
