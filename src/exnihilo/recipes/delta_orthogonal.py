"""Isometric convolutions, for thousands of layers without shortcuts."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import by_role, gain_after, map_words
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import DeltaOrthogonal, Orthogonal
from exnihilo.schemes.scheme import require_positive
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOrthogonalMaps:
    """Convolutions orthogonal at the center of the kernel and zero elsewhere, other maps orthogonal.

    Rule:
        The center of each kernel is a Haar-uniform semi-orthogonal matrix times the gain of the activation that
        follows, all else of the kernel zero; maps without a kernel are orthogonal with that gain. All else as for
        ``he``.

    Promise:
        A convolution of stride 1 multiplies every norm by the gain, exactly, whatever its kernel, where its padding
        keeps the size.

    Fails when:
        A convolution has more input than output channels: no isometry exists, and it is refused.

    Args:
        gain: Multiplies the activation's own gain, positive. Default 1.0.

    Raises:
        InvalidValueError: ``gain`` is not positive and finite.
        RecipeError: On ``assign``: there is no convolution, or one narrows.

    Example:
        >>> DeltaOrthogonalMaps().gain
        1.0

    References:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington (2018), Dynamical Isometry and a Mean Field Theory of CNNs,
        section 3.
    """

    name: ClassVar[str] = "delta-orthogonal"
    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("delta-orthogonal", "gain", self.gain, 1.0)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        if not any(parameter.layout.kernel_dims for parameter in structure.parameters):
            raise RecipeError(
                f"Recipe 'delta-orthogonal' is for convolutions, and {structure.model} has none.",
                fix='recipe="orthogonal"',
            )
        return by_role(structure, lambda parameter: self._map(parameter, structure.model))

    def _map(self, parameter: Parameter, model: str) -> Assignment:
        own, why = gain_after(parameter)
        reason = f"{map_words(parameter)}; {why}"
        if not parameter.layout.kernel_dims:
            return Assignment(scheme=Orthogonal(gain=own * self.gain), reason=reason)
        if parameter.layout.in_units > parameter.layout.out_units:
            raise RecipeError(
                f"Recipe 'delta-orthogonal' has no isometry for '{parameter.name}' of {model}: it takes"
                f" {parameter.layout.in_units} channels to {parameter.layout.out_units}.",
                context=[f"shape {parameter.shape}"],
                fix=f'recipe="orthogonal", or overrides={{"{parameter.name}": "orthogonal"}} on another recipe',
            )
        return Assignment(scheme=DeltaOrthogonal(gain=own * self.gain), reason=reason)
