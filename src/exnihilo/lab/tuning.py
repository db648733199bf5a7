"""The choice of a learning rate from tuning runs alone."""

import math
from collections.abc import Iterable, Mapping, Sequence

from exnihilo.errors import InvalidValueError

# The chosen rate and one neighbor on each side.
JUDGED_RATES = 3


def choose_rate(scores: Mapping[float, Sequence[float]], *, higher_is_better: bool = True) -> tuple[float, bool]:
    """The best learning rate, and whether it lies at an edge of the grid, which then needs to grow.

    Rule:
        Fewest failed seeds first (a score that is NaN or infinite failed), then the best mean over the tuning seeds.
        Rates that tie take the middle one (of two middle ones the smaller, which is the gentler); rates tie that
        differ by rounding only. A grid on which every rate ties is flat: no edge. Where every run of every rate
        failed, the smallest rate is returned, at an edge: the grid needs smaller ones.

    Args:
        scores: Validation scores of the tuning seeds, by learning rate; every rate with the same number of seeds.
        higher_is_better: False for a loss.

    Example:
        >>> choose_rate({0.01: [0.7, 0.8], 0.1: [0.9, 0.9], 1.0: [0.9, float("nan")]})
        (0.1, False)
        >>> choose_rate({0.01: [0.1], 0.1: [0.1], 1.0: [0.1]})
        (0.1, False)
    """
    _check(scores)
    rates = sorted(scores)
    failed = {rate: sum(not math.isfinite(score) for score in scores[rate]) for rate in rates}
    fewest = min(failed.values())
    if fewest == len(scores[rates[0]]):
        return rates[0], True
    means = {rate: _mean(scores[rate]) for rate in rates if failed[rate] == fewest}
    best = max(means.values()) if higher_is_better else min(means.values())
    tied = [rate for rate, mean in means.items() if math.isclose(mean, best, rel_tol=1e-9)]
    rate = tied[(len(tied) - 1) // 2]
    return rate, len(tied) < len(rates) and rate in (rates[0], rates[-1])


def judged_rates(rate: float, grid: Iterable[float]) -> tuple[float, ...]:
    """The chosen rate and its neighbors on the grid, ascending: those that judging seeds run at.

    One of them is the best rate of the grid unless the tuning seeds missed it by two steps, which they do where the
    rates hardly differ; `exnihilo.lab.bracket` says why the chosen rate alone is not enough.

    Example:
        >>> judged_rates(0.1, [0.01, 0.03, 0.1, 0.3, 1.0]), judged_rates(1.0, [0.01, 0.1, 1.0])
        ((0.03, 0.1, 0.3), (0.1, 1.0))
    """
    rates = sorted(set(grid))
    if rate not in rates:
        raise InvalidValueError(f"Rate {rate} is not on the grid {rates}.", fix=f"judged_rates({rates[0]}, grid)")
    place = rates.index(rate)
    return tuple(rates[max(0, place - 1) : place + 2])


def _mean(scores: Sequence[float]) -> float:
    finite = [score for score in scores if math.isfinite(score)]
    return math.fsum(finite) / len(finite)


def _check(scores: Mapping[float, Sequence[float]]) -> None:
    example = "choose_rate({0.1: [0.91, 0.93], 1.0: [0.88, 0.90]})"
    if not scores:
        raise InvalidValueError("No learning rate has a score; there is nothing to choose from.", fix=example)
    for rate in scores:
        if not (math.isfinite(rate) and rate > 0.0):
            raise InvalidValueError(f"Learning rate {rate} is not positive and finite.", fix=example)
    counts = {rate: len(values) for rate, values in scores.items()}
    if len(set(counts.values())) > 1 or 0 in counts.values():
        raise InvalidValueError(
            "The learning rates have different numbers of tuning seeds, or none; budgets must be equal.",
            context=[f"seeds by rate: {counts}"],
            fix=example,
        )
