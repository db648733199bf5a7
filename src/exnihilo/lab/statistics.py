"""Exact small-sample statistics for paired runs: numpy and scipy, no torch, no hidden random state.

One idea carries most of the module. Let ``d`` be the paired differences. Flipping the signs of the seeds in a set M and
keeping those in its complement P leaves a mean at least as far from a center ``t`` as the observed one exactly where

    (sum over P of d - t) * (sum over M of d - t) <= 0,

which says that ``t`` lies between the mean over P and the mean over M. So every split of the seeds into two groups is
an interval around the mean, the p-value of a center is the share of intervals that contain it, and the confidence
interval ends at order statistics of their ends: test and interval cannot disagree.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from exnihilo.errors import InvalidValueError

Floats = NDArray[np.float64]

# Every split is enumerated up to here (2**19 of them); above, as many are drawn, so that power never drops with n.
EXACT_SEEDS = 20
MAX_SPLITS = 2 ** (EXACT_SEEDS - 1)

# Statistics that differ by less than this share of the largest difference are equal: scores such as 341/360 carry
# rounding errors near 1e-16, and counting a tie as "at least as extreme" can only make a p-value larger.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SignFlip:
    """The paired sign-flip test of every center at once; made by `sign_flip`.

    Args:
        differences: ``(n,)`` paired differences.
        num_trivial: Splits of all seeds against none, which contain every center: the observed one, and where splits
            are drawn about one in a million more.
        lows, highs: Lower and upper ends of the other splits' intervals.
    """

    differences: Floats
    num_trivial: int
    lows: Floats
    highs: Floats

    @property
    def num_seeds(self) -> int:
        """Paired seeds n."""
        return len(self.differences)

    @property
    def mean(self) -> float:
        """Mean difference: the estimate."""
        return float(self.differences.mean())

    @property
    def spread(self) -> float:
        """Standard deviation of the differences; 0.0 for one seed, which shows none."""
        return float(self.differences.std(ddof=1)) if self.num_seeds > 1 else 0.0

    @property
    def is_exact(self) -> bool:
        """Whether all splits were enumerated (n up to 20) and not a fixed sample of them."""
        return self.num_seeds <= EXACT_SEEDS

    @property
    def num_splits(self) -> int:
        """Splits behind every p-value."""
        return self.num_trivial + len(self.lows)

    def p_value(self, center: float = 0.0) -> float:
        """Two-sided p-value of the hypothesis that the differences are symmetric about ``center``.

        Example:
            >>> sign_flip([1.0, 2.0, 3.0]).p_value()  # the smallest that 3 seeds can give
            0.25
        """
        tolerance = self._tolerance(center)
        around = (self.lows <= center + tolerance) & (self.highs >= center - tolerance)
        return (self.num_trivial + int(np.count_nonzero(around))) / self.num_splits

    def interval(self, alpha: float) -> tuple[float, float]:
        """All centers with a p-value above ``alpha``: a confidence interval of level 1 - alpha, exact under symmetry.

        It is the whole line where n is too small for ``alpha``, that is where 2**(1 - n) > alpha.

        Example:
            >>> sign_flip([1.0, 2.0, 3.0]).interval(0.25)
            (1.0, 3.0)
            >>> sign_flip([1.0, 2.0, 3.0]).interval(0.05)
            (-inf, inf)
        """
        return self.lower(alpha), self.upper(alpha)

    def lower(self, alpha: float) -> float:
        """The lower end of `interval`: what a one-sided claim at half of ``alpha`` needs."""
        rank = self._rank(alpha)
        return self._snapped(np.partition(self.lows, rank - 1)[rank - 1]) if rank > 0 else -math.inf

    def upper(self, alpha: float) -> float:
        """The upper end of `interval`."""
        rank = self._rank(alpha)
        return self._snapped(np.partition(self.highs, -rank)[-rank]) if rank > 0 else math.inf

    def _rank(self, alpha: float) -> int:
        """Which of the ordered ends bounds the interval; none where it is not positive."""
        check_alpha(alpha)
        return math.floor(alpha * self.num_splits) - self.num_trivial + 1

    def _snapped(self, end: np.float64) -> float:
        # An end that is zero but for rounding must not let the interval "exclude" zero.
        return 0.0 if abs(end) <= self._tolerance() else float(end)

    def _tolerance(self, center: float = 0.0) -> float:
        return ROUNDING * max(float(np.abs(self.differences).max()), abs(center))


def sign_flip(differences: ArrayLike) -> SignFlip:
    """The sign-flip test of paired differences (Fisher, 1935, section 21), ready for any center and any level.

    Exact by enumeration of all ``2**(n - 1)`` splits up to n = 20. Above, it uses ``2**19`` splits, the observed one
    and a fixed sample keyed by n alone: still a valid test, p = (1 + hits) / 2**19 (Phipson and Smyth, 2010), and the
    same splits serve every center, so that test and interval agree there too.

    Args:
        differences: ``(n,)`` finite numbers, start minus baseline, one per seed.

    Raises:
        InvalidValueError: No difference, or one that is not finite: a failed run needs a declared worst value first.

    Example:
        >>> sign_flip([0.0, 0.0, 0.0, 0.0]).p_value()
        1.0
    """
    values = _finite(differences)
    masks, kept, flipped, num_trivial = _splits(len(values))
    mean = float(values.mean())
    # Sums of centered values: the mean over P deviates by excess / |P|, the mean over M by the opposite over |M|.
    excess = _subset_sums(values - mean, masks)
    above, below = excess * kept, -excess * flipped
    return SignFlip(
        differences=values,
        num_trivial=num_trivial,
        lows=mean + np.minimum(above, below),
        highs=mean + np.maximum(above, below),
    )


def sign_flip_p(differences: ArrayLike) -> float:
    """Two-sided p-value of the paired sign-flip test for the mean; see `sign_flip`.

    Example:
        >>> sign_flip_p([0.3, 0.1, 0.2, 0.4, 0.1, 0.2])
        0.03125
    """
    return sign_flip(differences).p_value()


def sign_flip_interval(differences: ArrayLike, alpha: float = 0.05) -> tuple[float, float]:
    """Interval of level ``1 - alpha`` for the center of the differences; see `SignFlip.interval`."""
    return sign_flip(differences).interval(alpha)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order given (Holm, 1979).

    Example:
        >>> holm([0.01, 0.04, 0.03])
        (0.03, 0.06, 0.06)
    """
    values = _probabilities(p_values)
    order = np.argsort(values, kind="stable")
    steps = len(values) - np.arange(len(values))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(values[order] * steps), 1.0)
    return tuple(adjusted.tolist())


def holm_levels(p_values: Sequence[float], alpha: float = 0.05) -> tuple[float, ...]:
    """The share of ``alpha`` that Holm's step-down leaves for each comparison, in the order given.

    The j-th smallest of m p-values is tested at ``alpha / (m - j + 1)`` while all before it were rejected; from the
    first that is not, every comparison stays at that one's share. So ``p <= level`` exactly where Holm rejects, and the
    interval at that level excludes zero exactly there.

    Example:
        >>> holm_levels([0.5, 0.001, 0.01], 0.06)  # both small ones are rejected: the last has all of alpha
        (0.06, 0.02, 0.03)
    """
    check_alpha(alpha)
    values = _probabilities(p_values)
    order = np.argsort(values, kind="stable")
    shares = alpha / (len(values) - np.arange(len(values)))
    rejected = np.logical_and.accumulate(values[order] <= shares)
    stop = min(int(rejected.sum()), len(values) - 1)
    levels = np.empty_like(values)
    levels[order] = np.where(np.arange(len(values)) < stop, shares, shares[stop])
    return tuple(levels.tolist())


@functools.lru_cache(maxsize=8)
def _splits(n: int) -> tuple[NDArray[np.uint8], Floats, Floats, int]:
    """Splits of n seeds into P and M as bit masks of P, with 1 / len(P), 1 / len(M) and the number of trivial splits.

    Enumerated, the last seed is always in M: a split and its mirror image are one.
    """
    width = -(-n // 8)
    if n <= EXACT_SEEDS:
        codes = np.arange(1, 2 ** (n - 1), dtype="<u4")
        masks = np.ascontiguousarray(codes.view(np.uint8).reshape(-1, 4)[:, :width])
    else:
        generator = np.random.Generator(np.random.Philox(key=n))
        masks = generator.integers(0, 256, size=(MAX_SPLITS - 1, width), dtype=np.uint8)
        masks[:, -1] &= 255 >> (8 * width - n)
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int64)
    sizes = bits[masks].sum(axis=1).astype(np.float64)
    proper = (sizes > 0) & (sizes < n)
    kept, flipped = 1.0 / sizes[proper], 1.0 / (n - sizes[proper])
    return masks[proper], kept, flipped, 1 + int((~proper).sum())


def _subset_sums(values: Floats, masks: NDArray[np.uint8]) -> Floats:
    """Sum of the values that each mask selects, by one table of 256 sums for every 8 seeds."""
    total = np.zeros(len(masks))
    for byte in range(masks.shape[1]):
        table = np.zeros(1)
        for value in values[8 * byte : 8 * byte + 8]:
            table = np.concatenate([table, table + value])
        total += table[masks[:, byte]]
    return total


def _finite(differences: ArrayLike) -> Floats:
    values = np.asarray(differences, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0:
        raise InvalidValueError(
            f"Paired differences have shape {values.shape}; one number per seed is needed, at least one.",
            fix="sign_flip_p([0.01, 0.02, -0.01, 0.03, 0.02, 0.01])",
        )
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InvalidValueError(
            f"Paired difference {bad[0]} is {values[bad[0]]}; {len(bad)} of {len(values)} are not finite.",
            context=["a failed run is an outcome: it takes the worst value that the metric was declared to have"],
            fix="compare(pairs, worst=0.0, ...), or replace the failed runs' metric before taking differences",
        )
    return values


def _probabilities(p_values: Sequence[float]) -> Floats:
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or len(values) == 0 or not bool(((values >= 0.0) & (values <= 1.0)).all()):
        raise InvalidValueError(
            f"p-values are {list(p_values)}; a family needs at least one, each in [0, 1].", fix="holm([0.01, 0.04])"
        )
    return values


def check_alpha(alpha: float) -> None:
    """Raises InvalidValueError unless ``alpha`` is strictly between 0 and 1."""
    if not 0.0 < alpha < 1.0:
        raise InvalidValueError(f"alpha is {alpha}; it must be between 0 and 1.", fix="alpha=0.05")
