"""Independent normal entries, cut off on both sides."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Box, Key, Law, values
from exnihilo.fills.laws import FARTHEST
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite, require_not_negative

# Where the density is this many nats below its highest, it adds nothing to a moment in float64.
_NEGLIGIBLE_NATS = 50.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TruncatedNormal:
    """``w = mean + std * z / s``: ``z ~ N(0, 1)`` cut to ``[lower, upper]``, whose standard deviation is ``s``.

    Promise:
        The *delivered* entries have standard deviation ``std``: cutting narrows the law, and ``s`` makes up for it
        (``s = 0.8796`` at two sigma). Entries lie in
        ``mean + [lower * std / s, upper * std / s]``.

    Fails when:
        The bounds are not symmetric and a zero mean is needed: the mean of ``z`` is kept, not removed, and
        ``mean`` is that before the cut.

    Args:
        std: Standard deviation of the delivered entries, not negative. Default 0.02, that of ViT.
        lower: Lower cut in units of the sigma before the cut, below ``upper``. Default -2.0; may be ``-inf``.
        upper: Upper cut in the same units. Default 2.0; may be ``inf``.
        mean: What is added to every entry: their mean where the bounds are symmetric. Default 0.0.

    Raises:
        InvalidValueError: ``std`` is negative, it or ``mean`` is not finite, the bounds are not in order, or they
            enclose nothing but the tail beyond 37 sigma, which float64 cannot hold.

    Example:
        >>> w = TruncatedNormal(std=1.0).sample(Layout.linear(512, 512), Key(0, "w"))
        >>> f"{w.std().item():.2f} {w.abs().max().item():.3f}"
        '1.00 2.274'

    References:
        Johnson, Kotz, Balakrishnan (1994), Continuous Univariate Distributions 1, chapter 13.

    Differs:
        ``torch.nn.init.trunc_normal_`` takes absolute bounds and does not restore the std; JAX's restores it in
        ``variance_scaling`` only.
    """

    std: float = 0.02
    lower: float = -2.0
    upper: float = 2.0
    mean: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("TruncatedNormal", "std", self.std, 0.02)
        require_finite("TruncatedNormal", "mean", self.mean, 0.0)
        if not self.lower < self.upper:
            raise InvalidValueError(
                f"TruncatedNormal has lower={self.lower} and upper={self.upper}; lower must be below upper.",
                context=["both are in units of sigma"],
                fix="TruncatedNormal(lower=-2.0, upper=2.0)",
            )
        if self.lower > FARTHEST or self.upper < -FARTHEST:
            raise InvalidValueError(
                f"TruncatedNormal has lower={self.lower} and upper={self.upper}; beyond {FARTHEST:g} sigma there is "
                "no normal mass left in float64.",
                context=["both are in units of sigma, not of the weights"],
                fix="TruncatedNormal(lower=-2.0, upper=2.0)",
            )

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        std = self.std / truncated_std(self.lower, self.upper)
        return Law.truncated_normal(self.mean, std, self.lower, self.upper)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``std``."""
        return self.std


@lru_cache(maxsize=256)
def truncated_std(lower: float, upper: float) -> float:
    """Standard deviation of a standard normal number that is cut to ``[lower, upper]``.

    By Gauss-Legendre quadrature of the centered second moment: the closed form cancels in the tails and for narrow
    intervals.

    Example:
        >>> f"{truncated_std(-2.0, 2.0):.4f}"
        '0.8796'
    """
    mode = min(max(0.0, lower), upper)
    reach = math.sqrt(mode * mode + 2.0 * _NEGLIGIBLE_NATS) - abs(mode)
    low, high = max(lower, mode - reach), min(upper, mode + reach)
    nodes, weights = leggauss(200)
    z = low + (high - low) * (nodes + 1.0) / 2.0
    mass = weights * np.exp((mode * mode - z * z) / 2.0)
    mass /= mass.sum()
    return float(np.sqrt((mass * (z - (mass * z).sum()) ** 2).sum()))
