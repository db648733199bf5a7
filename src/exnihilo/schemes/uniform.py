"""Independent uniform entries."""

import math
from dataclasses import dataclass

from torch import Tensor

from exnihilo.fills import Box, Key, Law, values
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite, require_not_negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """``w = mean + bound * (2u - 1)`` with ``u ~ U[0, 1)``.

    Promise:
        Entries lie in ``[mean - bound, mean + bound)``; their standard deviation is ``bound / sqrt(3)``.

    Fails when:
        Depth or width vary: a fixed bound makes the signal grow or shrink by a factor a layer; see
        ``VarianceScaling``.

    Args:
        bound: Half of the width, not negative. Default 0.05, that of Keras.
        mean: Middle of the interval. Default 0.0.

    Raises:
        InvalidValueError: ``bound`` is negative, or a number is not finite.

    Example:
        >>> w = Uniform(bound=0.1).sample(Layout.linear(64, 32), Key(0, "w"))
        >>> bool((w.abs() <= 0.1).all())
        True
    """

    bound: float = 0.05
    mean: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("Uniform", "bound", self.bound, 0.05)
        require_finite("Uniform", "mean", self.mean, 0.0)

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.uniform(self.mean - self.bound, self.mean + self.bound)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``bound / sqrt(3)``."""
        return self.bound / math.sqrt(3.0)
