"""Every weight and every bias zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import everywhere
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Zeros
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class AllZeros:
    """Every weight and every bias is zero: the start that every textbook warns of.

    Rule:
        ``w = 0`` for each parameter that is not frozen, scales of norms included.

    Promise:
        Every written value is 0; the output of a network that ends in a linear map is 0 for every input.

    Fails when:
        There is more than one layer. With an activation of ``f(0) = 0`` only the last bias ever receives a gradient;
        with ``f(0) != 0`` all units of a layer stay equal. The claims of this package measure both.

    Example:
        >>> AllZeros().name
        'zeros'

    References:
        Goodfellow, Bengio, Courville (2016), Deep Learning, section 8.4: units must start different.
    """

    name: ClassVar[str] = "zeros"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Zeros for each parameter that is not frozen."""
        return everywhere(structure, Zeros(), "every weight and bias is zero")
