"""How far a signal reaches into a wide random network: mean-field theory by quadrature (Poole et al., 2016)."""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

# Nodes of each of the two Gauss-Hermite rules: more change no printed digit for tanh and variances up to 4.
_NODES = 100
# Iterations of a map whose fixed point is wanted: near the critical variance it contracts slowly.
_ITERATIONS = 5000
_CLOSE = 1e-12

Floats = NDArray[np.float64]


def mean_square(weight_variance: float, bias_variance: float) -> float:
    """The mean square q* at which a deep tanh network's pre-activations settle.

    Args:
        weight_variance: Of each weight, times the fan-in.
        bias_variance: Of each bias.

    Example:
        >>> round(mean_square(1.0, 0.05), 3)
        0.194
    """
    return _fixed_point(lambda q: _next_mean_square(q, weight_variance, bias_variance), 1.0)


def correlation(weight_variance: float, bias_variance: float) -> float:
    """The correlation c* of two inputs deep inside: 1 in the ordered phase, less in the chaotic one.

    Example:
        >>> round(correlation(1.0, 0.05), 3), round(correlation(3.0, 0.05), 3)
        (1.0, 0.299)
    """
    q = mean_square(weight_variance, bias_variance)
    if weight_variance * _mean_slopes(q, 1.0) <= 1.0:
        return 1.0
    return _fixed_point(lambda c: next_correlation(c, q, weight_variance, bias_variance), 0.5)


@lru_cache
def correlation_length(weight_variance: float, bias_variance: float) -> float:
    """The depth ξ over which two inputs' correlation comes e times nearer to c*; infinite at the critical variance.

    Example:
        >>> round(correlation_length(1.0, 0.05), 2)
        3.63
    """
    q, c = mean_square(weight_variance, bias_variance), correlation(weight_variance, bias_variance)
    slope = weight_variance * _mean_slopes(q, c)
    return math.inf if slope >= 1.0 else -1.0 / math.log(slope)


def _next_mean_square(q: float, weight_variance: float, bias_variance: float) -> float:
    nodes, weights = _rule()
    return weight_variance * float(weights @ np.tanh(math.sqrt(q) * nodes) ** 2) + bias_variance


def next_correlation(c: float, q: float, weight_variance: float, bias_variance: float) -> float:
    """The correlation one layer further on, where both inputs have the mean square ``q``."""
    one, other, weights = _pairs(q, c)
    return (weight_variance * float(np.sum(weights * np.tanh(one) * np.tanh(other))) + bias_variance) / q


def _mean_slopes(q: float, c: float) -> float:
    """E[tanh'(u) tanh'(v)] for two normal numbers of variance q and correlation c."""
    one, other, weights = _pairs(q, c)
    return float(np.sum(weights / (np.cosh(one) * np.cosh(other)) ** 2))


def _pairs(q: float, c: float) -> tuple[Floats, Floats, Floats]:
    nodes, weights = _rule()
    first, second = nodes[:, None], nodes[None, :]
    one, other = np.broadcast_arrays(first, c * first + math.sqrt(max(1.0 - c * c, 0.0)) * second)
    return math.sqrt(q) * one, math.sqrt(q) * other, weights[:, None] * weights[None, :]


@lru_cache
def _rule() -> tuple[Floats, Floats]:
    """Nodes and weights of the expectation over a standard normal number."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


def _fixed_point(step: Callable[[float], float], start: float) -> float:
    value = start
    for _ in range(_ITERATIONS):
        following = step(value)
        if abs(following - value) < _CLOSE:
            break
        value = following
    return value
