"""Zeros, and noise that tells units apart."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import everywhere
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Noisy, Zeros
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ZerosNoise:
    """Every weight and every bias is zero but for a little noise, which tells the units apart.

    Rule:
        ``w = std * z`` with ``z ~ N(0, 1)`` for each parameter that is not frozen, scales of norms included.

    Promise:
        The standard deviation of each written parameter is ``std``.

    Fails when:
        The network is deep: the signal shrinks by about ``std * sqrt(fan_in)`` a layer, and the gradient with it.

    Args:
        std: Standard deviation of the noise, not negative. Default 0.001, small beside what other schemes draw.

    Raises:
        InvalidValueError: ``std`` is negative or not finite.

    Example:
        >>> ZerosNoise(std=0.01).name
        'zeros+noise'

    References:
        Goodfellow, Bengio, Courville (2016), Deep Learning, section 8.4: noise breaks the symmetry.
    """

    name: ClassVar[str] = "zeros+noise"
    std: float = 0.001

    def __post_init__(self) -> None:
        require_not_negative("zeros+noise", "std", self.std, 0.001)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Noise around zero for each parameter that is not frozen."""
        return everywhere(structure, Noisy(base=Zeros(), std=self.std), "zero, but for noise that tells units apart")
