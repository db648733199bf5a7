"""What a scheme is."""

import math
from typing import Protocol, runtime_checkable

from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key, Law
from exnihilo.layouts import Layout


@runtime_checkable
class Scheme(Protocol):
    """A law for the values of one tensor: a frozen value, checked when it is built.

    Equal schemes, layouts and keys give equal bits. Schemes of one law share the draw: under one key, all normal
    schemes are the same standard normal numbers scaled, all uniform ones the same uniform numbers.
    """

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, contiguous, on the CPU, of shape ``layout.shape``."""
        ...

    def expected_std(self, layout: Layout) -> float:
        """The promise: root mean square distance of the delivered values from their mean, over entries and draws."""
        ...


@runtime_checkable
class Elementwise(Scheme, Protocol):
    """A scheme whose entries are independent and of one law: any part of the tensor can be drawn alone."""

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        ...


def require_not_negative(owner: str, option: str, value: float, example: float) -> None:
    """Raise InvalidValueError unless a number is finite and at least 0."""
    if not (math.isfinite(value) and value >= 0.0):
        raise InvalidValueError(
            f"{owner}.{option} is {value}; it must be finite and not negative.", fix=f"{owner}({option}={example:g})"
        )


def require_positive(owner: str, option: str, value: float, example: float) -> None:
    """Raise InvalidValueError unless a number is finite and above 0."""
    if not (math.isfinite(value) and value > 0.0):
        raise InvalidValueError(
            f"{owner}.{option} is {value}; it must be finite and positive.", fix=f"{owner}({option}={example:g})"
        )


def require_finite(owner: str, option: str, value: float, example: float) -> None:
    """Raise InvalidValueError unless a number is finite."""
    if not math.isfinite(value):
        raise InvalidValueError(
            f"{owner}.{option} is {value}; it must be finite.", fix=f"{owner}({option}={example:g})"
        )
