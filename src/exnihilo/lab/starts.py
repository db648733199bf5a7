"""Starts: how the parameters of the lab's networks begin.

A start is a scheme on all weights, or a recipe that treats some roles differently. Biases and norm shifts begin at 0,
norm scales and branch scales at 1, unless the start says otherwise.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.fills import Key
from exnihilo.lab.networks import Parameter, Role, parameters
from exnihilo.lab.records import Network, Start
from exnihilo.schemes import (
    SCHEMES,
    Constant,
    Noisy,
    Normal,
    Ones,
    Scheme,
    TorchDefault,
    VarianceScaling,
    Zeros,
    scheme_named,
)

DEFAULT_BASE = "he_normal"
# Of the start that mean-field theory speaks of (Schoenholz et al., 2017).
BIAS_VARIANCE = 0.05
_WEIGHTS = (Role.STEM, Role.HIDDEN, Role.RESIDUAL_OUT, Role.HEAD)
_ONES = (Role.NORM_SCALE, Role.BRANCH_SCALE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What a start's name means.

    Args:
        summary: One line for listings.
        weight: The scheme of the weights that no role below claims, from the start's value and base.
        roles: Roles that begin at zero instead.
        default: The number that the start takes where none is given; None where it takes none.
    """

    summary: str
    weight: Callable[[float, str], Scheme]
    zeros: tuple[Role, ...] = ()
    default: float | None = None


def _base(_: float, base: str) -> Scheme:
    return scheme_named(base)


def _whole_scheme(name: str) -> Recipe:
    return Recipe(summary=f"{name} on all weights, biases zero", weight=lambda _value, _base: scheme_named(name))


_RECIPES: Mapping[str, Recipe] = {
    "zeros": Recipe(summary="every weight and bias zero (the article's)", weight=lambda _v, _b: Zeros()),
    "zeros_noise": Recipe(
        summary="zeros, then N(0, value²) added to every weight",
        weight=lambda value, _b: Noisy(base=Zeros(), std=value),
        default=1e-3,
    ),
    "constant": Recipe(summary="every weight equal", weight=lambda value, _b: Constant(value=value), default=0.01),
    "normal": Recipe(summary="N(0, value²) on all weights", weight=lambda value, _b: Normal(std=value), default=1.0),
    "small_normal": Recipe(
        summary="N(0, 0.01²) on all weights", weight=lambda value, _b: Normal(std=value), default=0.01
    ),
    "zero_head": Recipe(summary="the base scheme, the head zero", weight=_base, zeros=(Role.HEAD,)),
    "zero_residual": Recipe(
        summary="the base scheme, the last map of each residual branch zero", weight=_base, zeros=(Role.RESIDUAL_OUT,)
    ),
    "zero_gate": Recipe(
        summary="the base scheme, the scalar gate of each residual branch zero",
        weight=_base,
        zeros=(Role.BRANCH_SCALE,),
    ),
    "mean_field": Recipe(
        summary=f"N(0, value / fan_in) on all weights, N(0, {BIAS_VARIANCE:g}) on all biases: mean-field theory's",
        weight=lambda value, _b: VarianceScaling(scale=value),
        default=1.76,  # where tanh networks with these biases are critical
    ),
    "torch_default": Recipe(summary="PyTorch's own defaults, biases too", weight=lambda _v, _b: TorchDefault()),
}

# Schemes that stand for themselves, on all weights, but for those that need an argument or a kernel.
_WHOLE = tuple(
    name
    for name in SCHEMES
    if name not in _RECIPES and name not in ("noisy", "variance_scaling", "delta_orthogonal", "dirac")
)
STARTS: Mapping[str, Recipe] = {**_RECIPES, **{name: _whole_scheme(name) for name in _WHOLE}}


def recipe_of(start: Start) -> Recipe:
    """The recipe behind a start's name.

    Raises:
        UnknownNameError: No such start.
        InvalidValueError: A value for a start that takes none, or a base for one that has none.
    """
    if start.name not in STARTS:
        raise UnknownNameError.of("start", start.name, STARTS)
    recipe = STARTS[start.name]
    if start.value is not None and recipe.default is None:
        raise InvalidValueError(
            f"Start '{start.name}' takes no value, and got {start.value}.", fix=f'Start(name="{start.name}")'
        )
    if start.base is not None and recipe.weight is not _base:
        raise InvalidValueError(
            f"Start '{start.name}' takes no base, and got '{start.base}'.", fix=f'Start(name="{start.name}")'
        )
    return recipe


def scheme_for(start: Start, parameter: Parameter, fan_in: float) -> Scheme:
    """The scheme of one parameter under a start; ``fan_in`` is that of the map which owns it."""
    recipe = recipe_of(start)
    if parameter.role in recipe.zeros:
        return Zeros()
    if parameter.role in _WEIGHTS:
        value = start.value if start.value is not None else (recipe.default or 0.0)
        return recipe.weight(value, start.base or DEFAULT_BASE)
    if parameter.role in _ONES:
        return Ones()
    if parameter.role is Role.BIAS and start.name == "torch_default":
        return TorchDefault(fan_in=fan_in)
    if parameter.role is Role.BIAS and start.name == "mean_field":
        return Normal(std=BIAS_VARIANCE**0.5)
    return Zeros()


def check_start(start: Start, network: Network) -> None:
    """Refuse a start that would zero a role which the network lacks (it would silently be its base scheme).

    Raises:
        InvalidValueError: Such a start.
    """
    needed = recipe_of(start).zeros
    found = {parameter.role for parameter in parameters(network, 1, 1, (1, 8, 8))}
    for role in needed:
        if role not in found:
            raise InvalidValueError(
                f"Start '{start.name}' zeroes {role.value}, and the network has no such parameter.",
                context=[f"network: residual={network.residual}, gate={network.gate}"],
                fix="Network(residual=True, gate=True)" if role is Role.BRANCH_SCALE else "Network(residual=True)",
            )


def begin(start: Start, found: tuple[Parameter, ...], seed: int) -> dict[str, Tensor]:
    """The first values of every parameter of one run: a pure function of (start, parameters, seed)."""
    fans = {p.map: p.layout.fan_in for p in found if p.role in _WEIGHTS}
    values = {
        p.name: scheme_for(start, p, fans[p.map]).sample(p.layout, Key(seed, p.name))
        for p in found
        if p.role is not Role.MAGNITUDE
    }
    for p in found:
        if p.role is Role.MAGNITUDE:
            # As torch.nn.utils.parametrizations.weight_norm: the norm of each row of the weight it is attached to.
            values[p.name] = torch.linalg.vector_norm(values[f"{p.map}.weight"], dim=1)
    return values
