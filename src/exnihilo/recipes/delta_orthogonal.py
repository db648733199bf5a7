"""Isometric convolutions, for thousands of layers without shortcuts."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import by_role, gain_after, map_words
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import DeltaOrthogonal, Orthogonal
from exnihilo.schemes.activations import activation_from_text
from exnihilo.schemes.scheme import require_positive
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOrthogonalMaps:
    """Convolutions orthogonal at the center of the kernel and zero elsewhere, other maps orthogonal.

    Rule:
        The center of each kernel is a Haar-uniform semi-orthogonal matrix times the critical gain of the activation
        that follows, all else of the kernel zero; maps without a kernel are orthogonal with that gain. All else as for
        ``he``. The critical gain of an odd activation that flattens, such as tanh, is one over its slope at zero; of
        others it is the gain that keeps the mean square, such as ReLU's.

    Promise:
        A convolution of stride 1 multiplies every norm by the gain, exactly, whatever its kernel, where its padding
        keeps the size.

    Fails when:
        A convolution has more input than output channels: no isometry exists, and it is refused. A gain above the
        critical one lets gradients explode: tanh at the gain that keeps its mean square, 1.59, overflows float32 within
        a thousand layers.

    Args:
        gain: Multiplies the critical gain, positive. Default 1.0.

    Raises:
        InvalidValueError: ``gain`` is not positive and finite.
        RecipeError: On ``assign``: there is no convolution, or one narrows.

    Example:
        >>> DeltaOrthogonalMaps().gain
        1.0

    References:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington (2018), Dynamical Isometry and a Mean Field Theory of CNNs,
        section 3, and 2 for the critical line.
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
        own, why = _critical_gain(parameter)
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


def _critical_gain(parameter: Parameter) -> tuple[float, str]:
    """The gain at which small signals neither grow nor die over many layers, and why in words."""
    own, why = gain_after(parameter)
    slope = _slope_of_odd(parameter.activation or "linear")
    if own == 1.0 or slope is None:
        return own, why
    return (
        1.0 / slope,
        f"{parameter.activation} follows, of slope {slope:.4g} at zero, so critical gain {1 / slope:.4g}",
    )


@lru_cache(maxsize=64)
def _slope_of_odd(name: str) -> float | None:
    """The slope at zero of an odd activation that is nowhere steeper; None of any other."""
    activation = activation_from_text(name)
    if activation is None:
        return None
    with torch.inference_mode(mode=False), torch.no_grad():
        x = torch.linspace(0.0, 6.0, 601, dtype=torch.float64, device="cpu")[1:]
        positive, negative = activation.function(x.clone()), activation.function(-x)
        slope = round(float(activation.function(x.new_full((1,), 1e-8)) / 1e-8), 6)
    is_odd = bool(torch.allclose(positive, -negative, rtol=1e-9, atol=0.0))
    flattens = slope > 0.0 and bool((positive.abs() <= slope * x * (1 + 1e-6)).all())
    return slope if is_odd and flattens else None
