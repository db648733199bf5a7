"""Laws of drawn values, and what operations make of them: plain values, in the terms of the operations."""

import math
from collections.abc import Hashable
from dataclasses import dataclass, field, replace
from statistics import NormalDist
from typing import TYPE_CHECKING

from exnihilo.construction.regions import Region

if TYPE_CHECKING:  # laws are plain values
    import torch

_STANDARD = NormalDist()
# A cut that takes away less than this of a law changes nothing that float64 could show.
_NO_MASS = 1e-13
# Bounds are computed in float64 there and back, and mean the same where they differ by less, in units of sigma.
_SAME_BOUND = 1e-6

# Of a formula, in characters: a loop that changes values again and again is no law to write down.
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Gauss:
    """``mean + std * z`` with ``z ~ N(0, 1)`` cut to ``[lower, upper]``; the std is that before the cut."""

    mean: float
    std: float
    lower: float = -math.inf
    upper: float = math.inf


@dataclass(frozen=True, slots=True)
class Flat:
    """Uniform in ``[low, high)``."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Haar:
    """A semi-orthogonal matrix of so many rows and columns as they lie in memory, Haar-uniform, times a gain."""

    gain: float
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Thinned:
    """Entries of a column, of which so many of ``size``, drawn without repetition, are zero.

    Args:
        base: The law of all others.
        zeros: How many.
        size: Of how many.
        places: The draw that says which.
    """

    base: Gauss
    zeros: int
    size: int
    places: "Draw" = field(compare=False)


@dataclass(frozen=True, slots=True)
class Factor:
    """What a QR decomposition of a standard normal matrix gave, or what was made of its triangle."""

    part: str  # q, r, diagonal or signs
    of: Hashable  # the draw and the region that were factored
    rows: int
    columns: int


@dataclass(frozen=True, slots=True)
class Shuffled:
    """The numbers below ``size`` in random order, or some of them."""

    size: int


@dataclass(frozen=True, slots=True)
class Mapped:
    """A formula of ``x``, as ``schemes.Formula`` spells it, for each ``x`` of a law.

    Args:
        root: The law of ``x``.
        text: The formula; what is in brackets can be compared, and is none.
        of: What ``x`` itself is of the draw; None where that is not known.
    """

    root: "Gauss | Flat | Shuffled"
    text: str
    of: "Mapped | None" = field(default=None, compare=False)


Law = Gauss | Flat | Haar | Thinned | Factor | Shuffled | Mapped


@dataclass(frozen=True, slots=True)
class Unwritten:
    """Memory that holds whatever it held before."""


@dataclass(frozen=True, slots=True)
class Known:
    """Memory that holds its values."""


@dataclass(frozen=True, slots=True)
class Filled:
    """Memory that is to hold one number, which is not written there yet."""

    value: complex | float
    dtype: "torch.dtype"


@dataclass(frozen=True, slots=True)
class Draw:
    """Which entries of which draw, in which order.

    Args:
        number: Every draw has its own.
        place: Of a part: which bytes of the draw's own memory; None of the whole.
        is_reordered: The entries are no longer in the order of that place.
        made: What became of each of them since, step by step; None where that is not known.
    """

    number: int
    place: Region | None = None
    is_reordered: bool = False
    made: Mapped | None = None

    def part(self, place: Region) -> "Draw":
        """Some of the entries."""
        is_whole = self.place is None and not self.is_reordered
        return replace(self, place=place) if is_whole else replace(self, is_reordered=True)

    def is_same(self, other: "Draw") -> bool:
        """Has the same entries at the same places, whatever was made of them."""
        is_ordered = not (self.is_reordered or other.is_reordered)
        return is_ordered and (self.number, self.place) == (other.number, other.place)

    def is_apart(self, other: "Draw") -> bool:
        """Has no entry in common with another draw, or part of one."""
        if self.number != other.number:
            return True
        if self.place is None or other.place is None or self.is_reordered or other.is_reordered:
            return False
        return self.place.is_apart(other.place)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Memory that would hold drawn values.

    Args:
        law: Their law; None where none of this module holds.
        draw: Whose entries they are, or are made of.
        history: The operations that wrote it, oldest first.
    """

    law: Law | None
    draw: Draw
    history: tuple[str, ...]

    @property
    def start(self) -> Mapped | None:
        """What the ``x`` of the law is of the draw: a formula's own, or the values themselves."""
        return self.law.of if isinstance(self.law, Mapped) else self.draw.made

    def then(self, operation: str, law: Law | None, made: Mapped | None = None) -> "Drawn":
        """What an operation makes of it.

        Args:
            operation: Its name.
            law: The law of its values.
            made: What they are of the draw. Default None: not known, so that they are like no others.
        """
        if isinstance(law, Mapped) and not isinstance(self.law, Mapped):
            law = replace(law, of=self.draw.made)
        return Drawn(law, replace(self.draw, made=made), (*self.history, operation))


Content = Unwritten | Known | Filled | Drawn


def part_of(law: Law | None) -> Law | None:
    """The law of some of the entries."""
    if isinstance(law, Haar | Thinned) or (isinstance(law, Factor) and law.part == "q"):
        return None
    return law


def one_number(law: Law | None) -> float | None:
    """The number that all values of a law are; None where it has some spread.

    Example:
        >>> one_number(multiplied(Flat(-1.0, 1.0), 0.0)), one_number(Flat(-1.0, 1.0))
        (0.0, None)
    """
    if isinstance(law, Gauss):
        return None if law.std else law.mean
    if isinstance(law, Flat):
        return law.high if law.low == law.high else None
    if isinstance(law, Thinned):
        return 0.0 if one_number(law.base) == 0 else None
    return 0.0 if isinstance(law, Haar) and not law.gain else None


def multiplied(law: Law | None, factor: float) -> Law | None:
    """The law of ``factor`` times such values.

    Example:
        >>> multiplied(Gauss(0.5, 1.0, lower=-2.0), -2.0)
        Gauss(mean=-1.0, std=2.0, lower=-inf, upper=2.0)
    """
    match law:
        case Gauss(mean=mean, std=std, lower=lower, upper=upper):
            bounds = (lower, upper) if factor >= 0 else (-upper, -lower)
            return Gauss(mean * factor, std * abs(factor), *bounds)
        case Flat(low=low, high=high):
            return Flat(*sorted((low * factor, high * factor)))
        case Haar(gain=gain):
            return replace(law, gain=gain * abs(factor))
        case Thinned(base=base):
            return replace(law, base=multiplied(base, factor))
        case _:
            return None


def shifted(law: Law | None, shift: float) -> Law | None:
    """The law of such values plus a number."""
    match law:
        case Gauss(mean=mean):
            return replace(law, mean=mean + shift)
        case Flat(low=low, high=high):
            return Flat(low + shift, high + shift)
        case _:
            return law if shift == 0 else None


def inverse_error(law: Law | None) -> Law | None:
    """The law of ``erfinv`` of such values: of uniform ones, normal ones cut off.

    Example:
        >>> inverse_error(Flat(-1.0, 1.0))
        Gauss(mean=0.0, std=0.7071067811865476, lower=-inf, upper=inf)
    """
    if not isinstance(law, Flat) or law.low < -1.0 or law.high > 1.0:
        return None
    return Gauss(0.0, math.sqrt(0.5), _quantile((1.0 + law.low) / 2.0), _quantile((1.0 + law.high) / 2.0))


def clamped(law: Law | None, low: float, high: float) -> Law | None:
    """The law of such values cut back to ``[low, high]``, where next to none lie beyond."""
    match law:
        case Gauss(mean=mean, std=std, lower=lower, upper=upper) if std > 0:
            new_lower = _clamped_bound(lower, (low - mean) / std)
            new_upper = _clamped_bound(-upper, (mean - high) / std)
            return None if new_lower is None or new_upper is None else replace(law, lower=new_lower, upper=-new_upper)
        case Flat(low=own_low, high=own_high):
            slack = _SAME_BOUND * (own_high - own_low)
            return law if low <= own_low + slack and high >= own_high - slack else None
        case _:
            return None


def cut(mean: float, std: float, low: float, high: float) -> Gauss:
    """A normal law cut to ``[low, high]`` by drawing again what lies beyond."""
    return without_idle_cuts(Gauss(mean, std, (low - mean) / std, (high - mean) / std)) if std else Gauss(mean, std)


def without_idle_cuts(law: Gauss) -> Gauss:
    """The law without bounds where these take next to nothing away.

    Example:
        >>> without_idle_cuts(Gauss(0.0, 0.02, lower=-100.0, upper=100.0))
        Gauss(mean=0.0, std=0.02, lower=-inf, upper=inf)
    """
    if mass_below(law.lower) + mass_below(-law.upper) < _NO_MASS:
        return Gauss(law.mean, law.std)
    return law


def mass_below(z: float) -> float:
    """P(Z < z) for a standard normal Z."""
    return math.erfc(-z / math.sqrt(2.0)) / 2.0


def mapped(law: Law | None, template: str) -> Mapped | None:
    """The law of a formula of such values.

    Example:
        >>> mapped(mapped(Flat(1.0, 2.0), "log({})"), "({} * 2.0)").text
        '(log(x) * 2.0)'
    """
    match law:
        case Gauss() | Flat():
            return Mapped(law, template.format("x"))
        case Mapped(text=text) if len(text) < _LONGEST:
            return replace(law, text=template.format(text))
        case _:
            return None


def untouched(law: Law | None) -> Mapped | None:
    """Each value of a draw, as nothing was made of it yet."""
    return Mapped(law, "x") if isinstance(law, Gauss | Flat | Shuffled) else None


def step(made: Mapped | None, what: str) -> Mapped | None:
    """What a step makes of values that no formula spells.

    Example:
        >>> step(untouched(Flat(0.0, 1.0)), "erfinv").text
        '[erfinv x]'
    """
    return mapped(made, f"[{what} {{}}]")


def combined(first: Law | None, second: Law | None, sign: str) -> Mapped | None:
    """The law of a sum, difference, product or quotient of two formulas of the same ``x``."""
    left, right = mapped(first, "{}"), mapped(second, "{}")
    if not (isinstance(left, Mapped) and isinstance(right, Mapped) and left.root == right.root):
        return None
    return mapped(left, f"({{}} {sign} {right.text})")


def of_one_draw(first: Drawn, second: Drawn, sign: str) -> tuple[Law | None, Mapped | None]:
    """The law of a sum, difference, product or quotient of what was made of the same entries, and how it is made.

    Laws say nothing of signs and orders: ``1 - u`` has the law of ``u``. Where the formulas do not begin with the same
    values, both are spelled as formulas of the draw.
    """
    made = combined(first.draw.made, second.draw.made, sign)
    if first.start is not None and first.start == second.start:
        law = combined(first.law, second.law, sign)
        return law and replace(law, of=first.start), made
    is_formula = made is not None and "[" not in made.text
    return (replace(made, of=untouched(made.root)) if made and is_formula else None), made


def _clamped_bound(lower: float, clamp: float) -> float | None:
    """The lower bound of a law that is clamped there; None where the clamp moves values of it."""
    if abs(clamp - lower) <= _SAME_BOUND * max(1.0, abs(clamp)):
        return clamp
    return lower if clamp < lower or mass_below(clamp) < _NO_MASS else None


def _quantile(probability: float) -> float:
    if 0.0 < probability < 1.0:
        return _STANDARD.inv_cdf(probability)
    return -math.inf if probability <= 0.0 else math.inf
