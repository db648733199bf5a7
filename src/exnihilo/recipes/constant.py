"""Every weight and every bias the same."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import constant, everywhere
from exnihilo.recipes.records import Assignment
from exnihilo.schemes.scheme import require_finite
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class AllConstant:
    """Every weight and every bias has the same value.

    Rule:
        ``w = value`` for each parameter that is not frozen, scales of norms included.

    Promise:
        Every written value is ``value``.

    Fails when:
        A layer has more than one unit: all of them compute the same and receive the same gradient, so that it stays
        one unit wide.

    Args:
        value: Any finite number. Default 0.01, small beside what other schemes draw.

    Raises:
        InvalidValueError: ``value`` is not finite.

    Example:
        >>> AllConstant(value=0.5).value
        0.5

    References:
        Goodfellow, Bengio, Courville (2016), Deep Learning, section 8.4.
    """

    name: ClassVar[str] = "constant"
    value: float = 0.01

    def __post_init__(self) -> None:
        require_finite("constant", "value", self.value, 0.01)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The constant for each parameter that is not frozen."""
        return everywhere(structure, constant(self.value), "every weight and bias has one value")
