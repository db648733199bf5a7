"""Exact statistics of counts: failure rates, paired failures, wins and losses."""

import functools

import numpy as np
from scipy import stats

from exnihilo.errors import InvalidValueError
from exnihilo.lab.statistics import check_alpha


def clopper_pearson(successes: int, trials: int, alpha: float = 0.05) -> tuple[float, float]:
    """Exact interval of level ``1 - alpha`` for a rate (Clopper and Pearson, 1934); (0, 1) for no trials.

    Example:
        >>> low, high = clopper_pearson(0, 10)
        >>> low, round(high, 4)
        (0.0, 0.3085)
    """
    check_alpha(alpha)
    if not 0 <= successes <= trials:
        raise InvalidValueError(
            f"{successes} successes of {trials} trials; the successes must lie between 0 and the trials.",
            fix="clopper_pearson(successes=3, trials=10)",
        )
    low = stats.beta.ppf(alpha / 2, successes, trials - successes + 1) if successes else 0.0
    high = stats.beta.isf(alpha / 2, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


def mcnemar_p(only_start: int, only_baseline: int) -> float:
    """Exact two-sided p-value that start and baseline fail equally often (McNemar, 1947; exact binomial form).

    Args:
        only_start: Seeds at which the start failed and the baseline did not.
        only_baseline: Seeds at which the baseline failed and the start did not; pairs that agree carry no evidence.

    Example:
        >>> mcnemar_p(6, 0), mcnemar_p(0, 0)
        (0.03125, 1.0)
    """
    if min(only_start, only_baseline) < 0:
        raise InvalidValueError(
            f"Discordant pairs are {only_start} and {only_baseline}; counts cannot be negative.", fix="mcnemar_p(6, 0)"
        )
    tail = stats.binom.cdf(min(only_start, only_baseline), only_start + only_baseline, 0.5)
    return min(1.0, 2.0 * float(tail))


@functools.lru_cache(maxsize=4096)
def superiority(wins: int, ties: int, losses: int, alpha: float = 0.05) -> tuple[float, float, float]:
    """P(start > baseline) + P(tie) / 2, with an exact interval of level ``1 - alpha``.

    The interval is of the Clopper-Pearson kind for three outcomes: a value is left out where the score
    ``wins + ties / 2`` would be this high (or this low) with a probability of at most alpha / 2 at *every* rate of
    ties. It is never shorter than the Clopper-Pearson interval of the same score.

    Args:
        wins, ties, losses: Seeds at which the start was better, equal, worse; at least one in all.

    Returns:
        Estimate, low, high.

    Example:
        >>> [round(value, 3) for value in superiority(9, 0, 1)]
        [0.9, 0.555, 0.997]
    """
    check_alpha(alpha)
    n = wins + ties + losses
    if min(wins, ties, losses) < 0 or n == 0:
        raise InvalidValueError(
            f"Superiority of {wins} wins, {ties} ties and {losses} losses; it needs counts that are not negative, and "
            "at least one seed.",
            fix="superiority(wins=7, ties=1, losses=2)",
        )
    estimate = (wins + ties / 2) / n
    low = _superiority_bound(2 * wins + ties, n, alpha / 2)
    high = 1.0 - _superiority_bound(2 * losses + ties, n, alpha / 2)
    return estimate, low, high


def _superiority_bound(half_points: int, n: int, tail: float) -> float:
    """Smallest superiority at which a score of ``half_points`` or more has more than ``tail`` probability."""
    if half_points == 0:
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(40):  # to 1e-12
        middle = (low + high) / 2
        if _worst_tail(half_points, n, middle) > tail:
            high = middle
        else:
            low = middle
    return low


def _worst_tail(half_points: int, n: int, rate: float) -> float:
    """Largest P(2 wins + ties >= half_points) of n seeds over all rates of ties, at superiority ``rate``."""
    tie_T = np.linspace(0.0, 2 * min(rate, 1.0 - rate), 65)  # T: tried rates of ties
    win_T, loss_T = rate - tie_T / 2, 1.0 - rate - tie_T / 2
    mass = np.zeros((len(tie_T), 2 * n + 1))
    mass[:, 0] = 1.0
    for _ in range(n):
        grown = mass * loss_T[:, None]
        grown[:, 1:] += mass[:, :-1] * tie_T[:, None]
        grown[:, 2:] += mass[:, :-2] * win_T[:, None]
        mass = grown
    return float(mass[:, half_points:].sum(axis=1).max())
