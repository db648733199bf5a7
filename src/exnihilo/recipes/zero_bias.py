"""Biases zero, the rest as it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import FROZEN, keep, owners
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Zeros
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroBias:
    """Every bias, and the shift of every norm, is zero; the rest is kept.

    Rule:
        ``b = 0``.

    Promise:
        Every bias and shift that is not frozen is 0; no other parameter is written.

    Fails when:
        A bias is meant to be something else: the forget gate of an LSTM that was set to 1, a head's prior.

    Raises:
        RecipeError: On ``assign``: the model has no bias and no shift.

    Example:
        >>> ZeroBias().name
        'zero-bias'

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2: b = 0.
    """

    name: ClassVar[str] = "zero-bias"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Zeros for biases and shifts, keep for the rest."""
        if not structure.with_role(Role.BIAS, Role.NORM_SHIFT):
            raise RecipeError(
                f"Recipe 'zero-bias' has nothing to do: {structure.model} has no bias and no shift.",
                fix='recipe="default", which keeps everything',
            )
        return {parameter.name: _assignment(parameter) for parameter in owners(structure)}


def _assignment(parameter: Parameter) -> Assignment:
    if parameter.role not in (Role.BIAS, Role.NORM_SHIFT):
        return keep("not a bias")
    return keep(FROZEN) if parameter.frozen else Assignment(scheme=Zeros(), reason="adds nothing at the start")
