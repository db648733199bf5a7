"""Parts of one tensor, each times a factor of its own."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.constant import Constant, Ones
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme, require_finite
from exnihilo.schemes.truncated_normal import TruncatedNormal
from exnihilo.schemes.uniform import Uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighted:
    """What another scheme draws, times one factor for each part of the output units, over and over.

    Rule:
        The output units are dealt out in runs of ``lengths`` units, again from the first when they are used up; a run's
        values are multiplied by its factor.

    Promise:
        With ``s`` the standard deviation of ``base``, ``m`` its mean and ``f`` the factors over all units: the root of
        ``s**2 mean(f**2) + m**2 var(f)``; exact where ``base`` has one law for all units.

    Fails when:
        The lengths do not deal out the output units: ``sample`` refuses.

    Args:
        base: The law before the factors. Default ``Normal()``.
        factors: One for each run, finite. Default ``(1.0,)``.
        lengths: Units in each run. Default ``(1.0,)``, with which every unit has the one factor.

    Raises:
        InvalidValueError: There are not as many lengths as factors, a factor is not finite, or a length not a whole
            number of 1 or more.
        LayoutError: On ``sample``: the lengths do not deal out the output units.

    Example:
        >>> from exnihilo.schemes import Ones
        >>> scheme = Weighted(base=Ones(), factors=(1.0, 0.5), lengths=(2.0, 1.0))
        >>> scheme.sample(Layout.linear(3, 1), Key(0, "w")).flatten()
        tensor([1.0000, 1.0000, 0.5000])
    """

    base: Scheme = field(default_factory=Normal)
    factors: tuple[float, ...] = (1.0,)
    lengths: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        for factor in self.factors:
            require_finite("Weighted", "factors", factor, 1.0)
        if len(self.factors) != len(self.lengths) or not self.factors:
            raise InvalidValueError(
                f"Weighted has {len(self.factors)} factors and {len(self.lengths)} lengths; each factor needs one.",
                fix="Weighted(base=base, factors=(1.0, 0.5), lengths=(64.0, 32.0))",
            )
        for length in self.lengths:
            if not (math.isfinite(length) and length >= 1 and length == int(length)):
                raise InvalidValueError(
                    f"Weighted.lengths has {length}; each must be a whole number of 1 or more.", fix="lengths=(64.0,)"
                )

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self.base.sample(layout, key) * self.along(layout)

    def expected_std(self, layout: Layout) -> float:
        """The promise: the spread of ``base`` and of the factors together."""
        column, mean = self._column(layout), _mean_of(self.base)
        own = self.base.expected_std(layout) ** 2 * float(column.square().mean())
        return math.sqrt(own + mean**2 * float(column.var(correction=0)))

    def along(self, layout: Layout) -> Tensor:
        """The factor of each output unit, with one entry in all other dims."""
        shape = [size if dim in layout.out_dims else 1 for dim, size in enumerate(layout.shape)]
        return self._column(layout).to(torch.float32).reshape(shape)

    def _column(self, layout: Layout) -> Tensor:
        """The factor of each output unit, counted through all dims of them."""
        lengths = torch.tensor([int(length) for length in self.lengths], device="cpu")
        pattern = torch.tensor(self.factors, dtype=torch.float64, device="cpu").repeat_interleave(lengths)
        size = math.prod(layout.shape[dim] for dim in layout.out_dims)
        if size % len(pattern):
            raise LayoutError(
                f"Weighted deals out {len(pattern)} units at a time, and a {layout.kind} layout of shape"
                f" {layout.shape} has {size}.",
                fix=f"give lengths whose sum divides {size}",
            )
        return pattern.repeat(size // len(pattern))


def _mean_of(scheme: Scheme) -> float:
    """The mean of what a scheme draws, as far as it says one; 0 of all others."""
    if isinstance(scheme, Constant):
        return scheme.value
    if isinstance(scheme, Normal | Uniform | TruncatedNormal):
        return scheme.mean
    return float(isinstance(scheme, Ones))
