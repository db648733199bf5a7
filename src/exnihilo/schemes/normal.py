"""Independent normal entries."""

from dataclasses import dataclass

from torch import Tensor

from exnihilo.fills import Box, Key, Law, values
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite, require_not_negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """``w = mean + std * z`` with ``z ~ N(0, 1)``.

    Promise:
        The entries' standard deviation is ``std``, whatever the layout.

    Fails when:
        Depth or width vary: a fixed std makes the signal grow or shrink by a factor a layer; see ``VarianceScaling``.

    Args:
        std: Standard deviation, not negative. Default 0.02, that of GPT-2 and BERT.
        mean: Mean of the entries. Default 0.0.

    Raises:
        InvalidValueError: ``std`` is negative, or a number is not finite.

    Example:
        >>> a = Normal(std=0.5).sample(Layout.linear(4, 8), Key(0, "w"))
        >>> b = Normal(std=1.0).sample(Layout.linear(4, 8), Key(0, "w"))
        >>> bool((2 * a == b).all())
        True
    """

    std: float = 0.02
    mean: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("Normal", "std", self.std, 0.02)
        require_finite("Normal", "mean", self.mean, 0.0)

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.normal(self.mean, self.std)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``std``."""
        return self.std
