"""Mean-field theory agrees with wide random networks that are drawn and run."""

import math

import pytest
import torch

from exnihilo.claims.published.mean_field import correlation, correlation_length, mean_square, next_correlation

BIASES = 0.05
WIDTH = 3000


def layers(variance, depth, *, correlated):
    """Mean square and correlation of two inputs' pre-activations in each layer of a random tanh network."""
    draw = torch.Generator().manual_seed(0)
    q = mean_square(variance, BIASES)
    one, other = torch.randn(2, WIDTH, generator=draw) * q**0.5
    pre = torch.stack([one, correlated * one + (1 - correlated**2) ** 0.5 * other])
    for _ in range(depth):
        weight = torch.randn(WIDTH, WIDTH, generator=draw) * (variance / WIDTH) ** 0.5
        pre = torch.tanh(pre) @ weight.T + torch.randn(WIDTH, generator=draw) * BIASES**0.5
        squares = pre.square().mean(1)
        yield float(squares.mean()), float((pre[0] * pre[1]).mean() / squares.prod().sqrt())


@pytest.mark.parametrize("variance", [1.0, 1.4, 2.5, 3.5])
def test_signals_settle_where_the_theory_says(variance) -> None:
    *_, (square, cosine) = layers(variance, 12, correlated=0.5)
    assert square == pytest.approx(mean_square(variance, BIASES), rel=0.08)
    if variance > 1.76:
        assert cosine == pytest.approx(correlation(variance, BIASES), abs=0.12)


@pytest.mark.parametrize("variance", [1.0, 1.76, 3.5])
def test_correlations_take_the_way_that_the_map_says(variance) -> None:
    q, c = mean_square(variance, BIASES), 0.7
    for _, cosine in layers(variance, 6, correlated=c):
        c = next_correlation(c, q, variance, BIASES)
        assert cosine == pytest.approx(c, abs=0.06)


def test_the_published_critical_variance_lies_between_the_phases() -> None:
    assert correlation(1.75, BIASES) == 1.0 > correlation(1.78, BIASES)
    assert correlation_length(1.76, BIASES) > 1000
    assert correlation_length(1.6, BIASES) < correlation_length(1.7, BIASES) < correlation_length(1.76, BIASES)
    assert correlation_length(2.5, BIASES) > correlation_length(3.5, BIASES)


def test_lengths_are_the_rate_at_which_the_exact_map_converges() -> None:
    for variance in (1.2, 3.0):
        q, goal = mean_square(variance, BIASES), correlation(variance, BIASES)
        c = goal - 1e-5
        after = next_correlation(c, q, variance, BIASES)
        slope = (goal - after) / (goal - c)
        assert -1 / math.log(slope) == pytest.approx(correlation_length(variance, BIASES), rel=1e-3)
