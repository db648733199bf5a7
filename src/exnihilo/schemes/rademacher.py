"""Independent signs."""

from dataclasses import dataclass

from torch import Tensor

from exnihilo.fills import Box, Key, Law, values
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_not_negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Rademacher:
    """``w = std`` or ``w = -std``, with equal probability.

    Promise:
        The entries' standard deviation is ``std``, whatever the layout; the mean square of every row is exactly
        ``std**2``.

    Fails when:
        Few inputs meet: the sums of a unit with ``n`` inputs take ``n + 1`` values, so that units often are twins.

    Args:
        std: Magnitude of each entry, not negative. Default 0.02, that of ``Normal``.

    Raises:
        InvalidValueError: ``std`` is negative or not finite.

    Example:
        >>> Rademacher(std=0.5).sample(Layout.linear(512, 512), Key(0, "w")).abs().unique()
        tensor([0.5000])
    """

    std: float = 0.02

    def __post_init__(self) -> None:
        require_not_negative("Rademacher", "std", self.std, 0.02)

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.rademacher(self.std)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``std``."""
        return self.std
