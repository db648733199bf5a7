"""Networks of sines."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import FROZEN, keep, owners
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Uniform
from exnihilo.schemes.scheme import require_positive
from exnihilo.structure.records import Parameter, Role, Structure

_SINE = "sin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Siren:
    """Uniform maps of sine networks: the first by its number of inputs, the others by their fan and the frequency.

    Rule:
        For activations ``sin(ω W x)``: first maps ``U(-1/n, 1/n)`` with ``n`` inputs; all other maps
        ``U(-b, b)`` with ``b = sqrt(6 / fan_in) / ω``. Biases and all else are kept.

    Promise:
        Those bounds: in front of each sine the signal is about standard normal behind the first layer, and behind it
        it has a mean square of about 1/2, at every depth.

    Fails when:
        No sine follows any map: refused. The model's own frequency is not ``omega``.

    Args:
        omega: The frequency ``ω`` that the model multiplies by, positive. Default 30.0, that of the paper.

    Raises:
        InvalidValueError: ``omega`` is not positive and finite.
        RecipeError: On ``assign``: no sine follows any map.

    Example:
        >>> Siren().omega
        30.0

    References:
        Sitzmann, Martel, Bergman, Lindell, Wetzstein (2020), Implicit Neural Representations with Periodic Activation
        Functions, section 3.2 and the authors' code, which leaves biases as PyTorch draws them.
    """

    name: ClassVar[str] = "siren"
    omega: float = 30.0

    def __post_init__(self) -> None:
        require_positive("siren", "omega", self.omega, 30.0)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The bounds for maps, keep for the rest."""
        if not any(parameter.activation == _SINE for parameter in structure.parameters):
            raise RecipeError(
                f"Recipe 'siren' is for networks of sines: none follows a map of {structure.model}.",
                fix='recipe="he"',
            )
        return {parameter.name: self._law(parameter) for parameter in owners(structure)}

    def _law(self, parameter: Parameter) -> Assignment:
        if parameter.frozen:
            return keep(FROZEN)
        if not parameter.layout.in_dims or parameter.role in {Role.EMBEDDING, Role.POSITION} or parameter.computed:
            return keep("no map of a sine network")
        fan = parameter.layout.fan_in
        if parameter.role is Role.STEM:
            return Assignment(scheme=Uniform(bound=1.0 / fan), reason=f"the first map, of {fan} inputs")
        bound = math.sqrt(6.0 / fan) / self.omega
        return Assignment(scheme=Uniform(bound=bound), reason=f"a map of fan {fan} at frequency {self.omega:g}")
