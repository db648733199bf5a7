"""Laws of independent elements: what an element is, as a function of its word of the cipher.

A law is a kind and a few numbers that float32 holds exactly. The numbers are worked out here, once, in float64; the
backends (the compiled kernel, the Triton kernel, the reference) only evaluate, so that all of them give the same bits.
"""

import ctypes
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from exnihilo.errors import InvalidValueError
from exnihilo.fills.polynomials import CENTER_REACH

# The standard normal tail beyond this is 4e-300: float64 still holds the mass of an interval that reaches it.
FARTHEST = 37.0
# No normal number of ours is farther out; the mass beyond is a tenth of one word's share.
NORMAL_REACH = 6.67


class Kind(IntEnum):
    """What a word becomes; the number is the compiled kernel's."""

    WORDS = 0
    UNIFORM = 1
    NORMAL = 2
    TRUNCATED_CENTER = 3
    TRUNCATED_TAILS = 4
    RADEMACHER = 5
    CONSTANT = 6


@dataclass(frozen=True, slots=True)
class Law:
    """The law of one element; made by ``uniform``, ``normal``, ``truncated_normal``, ``rademacher`` or ``constant``.

    Args:
        kind: What a word becomes.
        parameters: The numbers of that kind, each exact in float32.

    Example:
        >>> Law.normal(std=0.5).parameters
        (0.0, 0.5)
    """

    kind: Kind
    parameters: tuple[float, ...] = ()

    @classmethod
    def constant(cls, value: float) -> "Law":
        """Every element is ``value``, rounded to float32.

        Raises:
            InvalidValueError: ``value`` is a NaN.
        """
        if math.isnan(value):
            raise InvalidValueError("Law.constant: value is nan.", fix="Law.constant(0.0)")
        return cls(Kind.CONSTANT, (_single(value),))

    @classmethod
    def uniform(cls, low: float = 0.0, high: float = 1.0) -> "Law":
        """``low + step * k``, with ``k`` the upper 24 bits of the word and ``step = (high - low) / 2**24``.

        ``step`` is rounded down where the largest value would otherwise be rounded up to ``high``, so that all values
        lie in ``[low, high)``; where the bounds are one number, all are that number.

        Raises:
            InvalidValueError: The bounds are not finite, not in order, or too far apart for float32.

        Example:
            >>> Law.uniform(-1.0, 1.0).parameters == (-1.0, 2.0**-23)
            True
        """
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise InvalidValueError(
                f"Law.uniform has low={low} and high={high}; both must be finite, and low not above high.",
                fix="Law.uniform(low=-0.1, high=0.1)",
            )
        first, last = _single(low), _single(high)
        step = _single((last - first) * 2.0**-24)
        if not (math.isfinite(first) and math.isfinite(last) and math.isfinite(_single(last - first))):
            raise InvalidValueError(
                f"Law.uniform has low={low} and high={high}; float32 cannot hold them or their distance.",
                fix="Law.uniform(low=-0.1, high=0.1)",
            )
        step = _largest(step, lambda step: _single(first + _single(step * (2**24 - 1))) < last)
        return cls(Kind.UNIFORM, (first, step))

    @classmethod
    def normal(cls, mean: float = 0.0, std: float = 1.0) -> "Law":
        """``mean + std * z`` with ``z`` by Box-Muller from the two words of the element's block; ``|z| < 6.67``.

        Raises:
            InvalidValueError: ``std`` is negative, or a number is not finite in float32.

        References:
            Box, Muller (1958), A Note on the Generation of Random Normal Deviates.
        """
        _require_location_and_scale("Law.normal", mean, std)
        return cls(Kind.NORMAL, (_single(mean), _single(std)))

    @classmethod
    def truncated_normal(cls, mean: float = 0.0, std: float = 1.0, lower: float = -2.0, upper: float = 2.0) -> "Law":
        """``mean + std * z``, with ``z`` the quantile of a uniform share of the mass between ``lower`` and ``upper``.

        Both bounds are in units of ``std`` from ``mean`` and may be infinite. Where both are beyond 6.67, which no
        normal number reaches, it is the normal law. Where both lie within 3.25, the share is measured from the center;
        else each side of the mode has its own tail probability, so that no digit is lost far out: ``lower=10,
        upper=11`` is as exact as ``lower=0, upper=1``.

        Raises:
            InvalidValueError: ``std`` is negative, a number is not finite in float32, the bounds are not in order, or
                both lie beyond 37 on one side, where float64 has no mass left.

        References:
            Giles (2010), Approximating the erfinv function (the variable ``-log(1 - x**2)``).
        """
        _require_location_and_scale("Law.truncated_normal", mean, std)
        _require_bounds(lower, upper)
        ends = _inside(mean + std * lower, mean + std * upper)
        if std == 0.0:
            return cls.constant(mean)
        if lower <= -NORMAL_REACH and upper >= NORMAL_REACH:
            return cls.normal(mean, std)
        if max(abs(lower), abs(upper)) <= CENTER_REACH:
            return cls(Kind.TRUNCATED_CENTER, (_single(mean), _single(std), *ends, *_center(lower, upper)))
        return cls(Kind.TRUNCATED_TAILS, (_single(mean), _single(std), *ends, *_tails(lower, upper, std)))

    @classmethod
    def rademacher(cls, scale: float = 1.0) -> "Law":
        """``scale`` or ``-scale``, by the word's highest bit.

        Raises:
            InvalidValueError: ``scale`` is negative or not finite.

        Example:
            >>> Law.rademacher(0.5).parameters
            (0.5,)
        """
        _require_location_and_scale("Law.rademacher", 0.0, scale, "scale")
        return cls(Kind.RADEMACHER, (_single(scale),))


def _center(lower: float, upper: float) -> tuple[float, float]:
    """Middle and half width of the interval of ``x = erf(z / sqrt(2))``."""
    low, high = math.erf(lower / math.sqrt(2.0)), math.erf(upper / math.sqrt(2.0))
    return _single((low + high) / 2.0), _single((high - low) / 2.0)


def _tails(lower: float, upper: float, std: float) -> tuple[float, ...]:
    """What the kernel takes for the tails: see ``docs/fills.md``, "Truncated normal"."""
    if lower >= 0.0:
        return _one_tail(lower, upper, std)
    if upper <= 0.0:
        return _one_tail(-upper, -lower, -std)
    below, above = tail(-lower), tail(upper)
    mass = (0.5 - below) + (0.5 - above)
    split = min(max(_single(2.0**32 * (0.5 - below) / mass), 1.0), 2.0**32 - 256.0)
    sides = (below, (0.5 - below) / (split / 2.0), above, (0.5 - above) / ((2.0**32 - split) / 2.0))
    return (*map(_single, (*sides, -std, std, 1.0, -math.log(4.0))), split)


def _one_tail(near: float, far: float, scale: float) -> tuple[float, ...]:
    """The tail from ``near`` to ``far`` as multiples of its own mass beyond ``near``, which may be tiny."""
    beyond = tail(near)
    share = tail(far) / beyond
    sides = (share, (1.0 - share) * 2.0**-31) * 2
    # Of a descending quantile the first words are the farthest: all words are on the upper side of the split.
    return (*map(_single, (*sides, scale, scale, beyond, -math.log(4.0 * beyond))), 0.0)


def tail(z: float) -> float:
    """P(Z > z) for a standard normal Z, to the last digits of float64.

    Example:
        >>> tail(0.0)
        0.5
    """
    return math.erfc(z / math.sqrt(2.0)) / 2.0


def _inside(low: float, high: float) -> tuple[float, float]:
    """The first and the last float32 of an interval, so that no value lies outside; where it has none, the nearest."""
    first, last = _single(low), _single(high)
    if first < low:
        first = float(np.nextafter(np.float32(first), np.float32(math.inf)))
    if last > high:
        last = float(np.nextafter(np.float32(last), np.float32(-math.inf)))
    return (first, last) if first <= last else (_single(low), _single(high))


def _single(value: float) -> float:
    """The nearest number that float32 holds; infinite where it is too large for it."""
    return ctypes.c_float(value).value


def _largest(value: float, holds: Callable[[float], bool]) -> float:
    """The largest float32 from 0 to ``value`` for which something holds that holds of all smaller ones; else 0."""
    low, high = 0, ctypes.c_uint32.from_buffer(ctypes.c_float(value)).value  # bits are ordered as their numbers are
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if holds(_of_bits(middle)) else (low, middle - 1)
    return _of_bits(low)


def _of_bits(bits: int) -> float:
    return ctypes.c_float.from_buffer(ctypes.c_uint32(bits)).value


def _require_location_and_scale(owner: str, mean: float, std: float, name: str = "std") -> None:
    if not (math.isfinite(_single(std)) and std >= 0.0):
        raise InvalidValueError(
            f"{owner}: {name} is {std}; it must be finite in float32 and not negative.", fix=f"{owner}({name}=0.02)"
        )
    if not math.isfinite(_single(mean)):
        raise InvalidValueError(
            f"{owner}: mean is {mean}; it must be finite in float32.", fix=f"{owner}(mean=0.0, std=0.02)"
        )


def _require_bounds(lower: float, upper: float) -> None:
    if not lower < upper:
        raise InvalidValueError(
            f"Law.truncated_normal has lower={lower} and upper={upper}; lower must be below upper.",
            context=["both are in units of std from the mean"],
            fix="Law.truncated_normal(lower=-2.0, upper=2.0)",
        )
    if lower > FARTHEST or upper < -FARTHEST:
        raise InvalidValueError(
            f"Law.truncated_normal has lower={lower} and upper={upper}; beyond {FARTHEST:g} std there is no normal "
            "mass left in float64.",
            context=["both are in units of std from the mean, not of the weights"],
            fix="Law.truncated_normal(lower=-2.0, upper=2.0)",
        )
