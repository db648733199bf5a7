"""Noise on top of another scheme."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.constant import Zeros
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme, require_not_negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Noisy:
    """``w = base + std * z`` with ``z ~ N(0, 1)``, independent of what ``base`` draws.

    Promise:
        The entries' standard deviation is ``sqrt(base_std**2 + std**2)``.

    Fails when:
        ``std`` is far below what the training resolves: units that ``base`` makes equal part only slowly.

    Args:
        base: The scheme that the noise is added to. Default ``Zeros()``.
        std: Standard deviation of the noise, not negative. Default 0.001, small beside other schemes' entries.

    Raises:
        InvalidValueError: ``std`` is negative or not finite, or ``base`` is no scheme.

    Example:
        >>> w = Noisy(base=Zeros(), std=0.01).sample(Layout.linear(512, 512), Key(0, "w"))
        >>> f"{w.std().item():.3f}"
        '0.010'
    """

    base: Scheme = field(default_factory=Zeros)
    std: float = 0.001

    def __post_init__(self) -> None:
        _require_scheme(self.base)
        require_not_negative("Noisy", "std", self.std, 0.001)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self.base.sample(layout, key).add_(Normal(std=self.std).sample(layout, key.derive("noise")))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``sqrt(base_std**2 + std**2)``."""
        return math.hypot(self.base.expected_std(layout), self.std)


def _require_scheme(base: object) -> None:
    if isinstance(base, type) or not isinstance(base, Scheme):
        raise InvalidValueError(
            f"Noisy.base is {base!r}; it must be a scheme.",
            context=["a scheme has sample(layout, key) and expected_std(layout)"],
            fix="Noisy(base=Zeros(), std=0.01)",
        )
