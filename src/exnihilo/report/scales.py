"""Where numbers go on an axis: zero beside powers of ten, and ticks that a reader can name."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

# Vega's expression for a tick label: 10⁻³ for powers of ten that are not shorter as plain numbers.
_POWER_LABEL = (
    "datum.value == 0 ? '0' : abs(datum.value) >= 0.01 && abs(datum.value) < 10000"
    " ? replace(format(datum.value, ',~r'), '-', '−')"
    " : (datum.value < 0 ? '−' : '') + '10' + (abs(datum.value) < 1 ? '⁻' : '')"
    " + (abs(round(log(abs(datum.value)) / LN10)) >= 10"
    " ? split('⁰,¹,²,³,⁴,⁵,⁶,⁷,⁸,⁹', ',')[floor(abs(round(log(abs(datum.value)) / LN10)) / 10)] : '')"
    " + split('⁰,¹,²,³,⁴,⁵,⁶,⁷,⁸,⁹', ',')[abs(round(log(abs(datum.value)) / LN10)) % 10]"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How one quantitative axis places its numbers.

    Args:
        scale: Properties of a Vega-Lite scale.
        ticks: Values of the ticks, or None for Vega's own.
        label: Vega expression for tick labels, or None for Vega's own.
        floor: Where a log axis shows zero, one decade or more below the smallest number; None where none is needed.
    """

    scale: dict[str, Any]
    ticks: tuple[float, ...] | None = None
    label: str | None = None
    floor: float | None = None

    def place(self, value: float | None) -> float | None:
        """The value as plotted: zero goes to the floor of a log axis."""
        if value is None or self.floor is None:
            return value
        return max(value, self.floor)


def placement(numbers: Iterable[float], kind: Literal["linear", "log", "symlog"], *, zero: bool = False) -> Placement:
    """The placement of an axis that shows ``numbers`` (finite ones).

    A log axis with zeros shows them at a marked floor; with negative numbers it becomes symlog. Less than two decades
    are marked at 1, 2 and 5.

    Args:
        zero: Whether a linear axis must start at zero (bars).

    Example:
        >>> placement([0.0, 1e-3, 1.0], "log").floor
        0.0001
        >>> placement([0.0, 1e-3, 1.0], "log").ticks
        (0.0001, 0.001, 0.01, 0.1, 1.0)
        >>> placement([0.0, 1e-8, 1.0], "symlog").ticks
        (0.0, 1e-08, 1e-06, 0.0001, 0.01, 1.0)
    """
    values = sorted(numbers)
    positive = [value for value in values if value > 0]
    if kind == "linear" or not any(values):
        return Placement(scale={"type": "linear", "zero": zero, "nice": True})
    if kind == "log" and values[0] >= 0:
        return _log(positive, with_zero=values[0] == 0, room=zero)
    return _symlog(values)


def _log(positive: Sequence[float], *, with_zero: bool, room: bool) -> Placement:
    low, high = math.floor(math.log10(positive[0])), math.ceil(math.log10(positive[-1]))
    top = positive[-1] * 1.15
    if with_zero:
        floor = float(f"1e{low - _room(low, high)}")
        scale = {"type": "log", "domain": [floor, max(top, float(f"1e{low}"))], "nice": False}
        label = f"datum.value <= {floor * 1.001!r} ? '0' : {_POWER_LABEL}"
        return Placement(scale=scale, ticks=(floor, *_powers(low, high)), label=label, floor=floor)
    # Bars need room below the smallest of them.
    bottom = positive[0] / (3.0 if room else 1.15)
    scale = {"type": "log", "domain": [bottom, top], "nice": False}
    near = math.log10(top / bottom) < 2
    steps = tuple(float(f"{lead}e{power}") for power in range(low - 1, high + 1) for lead in (1, 2, 5))
    ticks = tuple(tick for tick in (steps if near else _powers(low, high)) if bottom <= tick <= top)
    return Placement(scale=scale, ticks=ticks, label=_POWER_LABEL)


def _symlog(values: Sequence[float]) -> Placement:
    sizes = [abs(value) for value in values if value != 0]
    low, high = math.floor(math.log10(min(sizes))), math.floor(math.log10(max(sizes)))
    powers = _powers(low, high)
    negative = tuple(-power for power in reversed(powers)) if values[0] < 0 else ()
    ticks = (*negative, 0.0, *(powers if values[-1] > 0 else ()))
    # Below the constant the axis is linear: zero stands about so many decades away from the smallest number.
    constant = min(sizes) / float(f"1e{_room(low, high)}")
    scale = {"type": "symlog", "constant": constant, "nice": False, "padding": 6}
    return Placement(scale=scale, ticks=ticks, label=_POWER_LABEL)


def _room(low: int, high: int) -> int:
    """Decades between zero and the smallest number: enough to see them apart, one at least."""
    return max(1, (high - low) // 7)


def _powers(low: int, high: int, most: int = 6) -> tuple[float, ...]:
    """Powers of ten from 10**low to 10**high, every so many decades that at most ``most`` or so remain."""
    stride = max(1, math.ceil((high - low + 1) / most))
    return tuple(float(f"1e{exponent}") for exponent in range(low, high + 1, stride))
