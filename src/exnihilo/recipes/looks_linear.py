"""Deep networks of rectifiers that start as linear ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import by_role, owners, roles_of
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import DeltaOrthogonal, Mirrored, Orthogonal, Scheme, activation_from_text
from exnihilo.structure.records import Parameter, Role, Structure

# A chain of these and biases is all that the rule speaks of.
_CHAIN = frozenset({Role.STEM, Role.HIDDEN, Role.HEAD})


@dataclass(frozen=True, slots=True, kw_only=True)
class LooksLinear:
    """Units in pairs of opposite sign, so that a network of rectifiers starts as a product of orthogonal maps.

    Rule:
        The first maps are ``[W; -W]``, those between ``[W, -W; -W, W]``, the last ``[W, -W]``, with ``W``
        semi-orthogonal: at the center of a kernel that does not narrow, over a whole kernel that does. ``W`` is
        divided by the ``c`` of the activation behind the map, ``f(x) - f(-x) = c x``: 1 for ReLU, GELU, SiLU, Softplus
        and Hardswish, ``1 + slope`` for LeakyReLU, 2 for none. Biases are zero.

    Promise:
        The network is linear, up to rounding: the product of its ``W``, and of what averages between them. Where no
        ``W`` narrows and no place is dropped (stride, pooling, borders), every norm is kept, at any depth.

    Fails when:
        What the structure does not tell stands between maps: a maximum over places, a norm without parameters, or
        outputs of several maps side by side that fit the next by chance. The pairs then do not cancel.

    Raises:
        RecipeError: On ``assign``: the model is no chain of maps and activations that cancel in pairs (residual
            branches, attention, norms, embeddings, gates, groups), a map between is odd in width, or its weight is
            frozen or computed.

    Example:
        >>> LooksLinear().name
        'looks-linear'

    References:
        Balduzzi, Frean, Leary, Lewis, Ma, McWilliams (2017), The Shattered Gradients Problem: If resnets are the
        answer, then what is the question?

    Differs:
        The paper pairs units by the concatenated rectifier or by ReLU; here by any activation that cancels in pairs.
        That kernels hold ``W`` at their center is our reading.
    """

    name: ClassVar[str] = "looks-linear"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        _require_chain(structure)
        return by_role(structure, _map)


def _map(parameter: Parameter) -> Assignment:
    rows, columns = parameter.role is not Role.HEAD, parameter.role is not Role.STEM
    slope = (_paired_slope(parameter.activation or "linear") if rows else None) or 1.0
    half = _half(parameter, 1.0 / slope, rows=rows, columns=columns)
    pairs = "units" if rows and columns else "outputs" if rows else "inputs"
    behind = f"; {parameter.activation} makes {slope:g} of a pair" if slope != 1.0 else ""
    return Assignment(scheme=Mirrored(base=half, rows=rows, columns=columns), reason=f"{pairs} in pairs{behind}")


def _half(parameter: Parameter, gain: float, *, rows: bool, columns: bool) -> Scheme:
    """The law of ``W``: an isometry where there is one."""
    layout = parameter.layout
    out, in_ = layout.out_units // (1 + rows), layout.in_units // (1 + columns)
    isometric = layout.kernel_dims and in_ <= out
    return DeltaOrthogonal(gain=gain) if isometric else Orthogonal(gain=gain)


@lru_cache(maxsize=64)
def _paired_slope(activation: str) -> float | None:
    """The ``c`` of ``f(x) - f(-x) = c x``; None where the activation has none."""
    known = activation_from_text(activation)
    if known is None:
        return None
    x = torch.linspace(0.125, 8.0, 64, dtype=torch.float64, device="cpu")
    with torch.no_grad():
        slopes = (known.function(x) - known.function(-x)) / x
    slope = slopes[0].item()
    return slope if slope > 0 and bool((slopes - slope).abs().max() < 1e-9) else None


def _require_chain(structure: Structure) -> None:
    """Raise RecipeError unless a structure is a chain of maps whose activations cancel in pairs."""
    if structure.branches or structure.attentions:
        what = "residual branches" if structure.branches else "attention"
        raise _refused(f"{structure.model} has {what}", 'recipe="zero-residual", which is for those')
    roles = roles_of(structure)
    maps = [p for p in owners(structure) if p.role in _CHAIN]
    for parameter in owners(structure):
        why = _why_not(parameter, roles[parameter.name])
        if why is not None and (parameter.used or parameter.role is not Role.UNKNOWN):
            raise _refused(f"'{parameter.name}' {why}")
    for role in (Role.STEM, Role.HEAD):
        if not any(parameter.role is role for parameter in maps):
            raise _refused(f"{structure.model} has no map of role {role}, so that pairs have no end")
    _require_pairs_meet(maps)


def _why_not(parameter: Parameter, roles: frozenset[Role]) -> str | None:
    """Why a parameter has no place in such a chain, in words that follow its name."""
    if len(roles) > 1 or not roles <= _CHAIN | {Role.BIAS}:
        return f"has the role {' and '.join(sorted(roles))}"
    if parameter.frozen or parameter.computed:
        return "is frozen" if parameter.frozen else "is no weight by itself: the model computes one from it"
    if parameter.role is Role.BIAS:
        return None
    layout = parameter.layout
    if layout.num_matrices > 1 or len(layout.out_dims) > 1 or len(layout.in_dims) > 1:
        return f"is no single map: {layout.kind} layout of shape {layout.shape}"
    if parameter.role is Role.HEAD:
        return None
    if layout.out_units % 2:
        return f"has {layout.out_units} output units, which is odd"
    if _paired_slope(parameter.activation or "linear") is None:
        return f"is followed by {parameter.activation}, which does not cancel in pairs"
    return None


def _require_pairs_meet(maps: list[Parameter]) -> None:
    """Raise RecipeError where a map's inputs are the outputs of no one map: halves of several lie in another order."""
    made = [p.layout for p in maps if p.role is not Role.HEAD]
    for parameter in maps:
        layout = parameter.layout
        if parameter.role is Role.STEM:
            continue
        flattened = {m.out_units for m in made if m.kernel_dims and not layout.kernel_dims}
        fits = layout.in_units in {m.out_units for m in made} or any(
            layout.in_units % units == 0 for units in flattened
        )
        if not fits:
            fact = f"'{parameter.name}' takes {layout.in_units} inputs, which no one map gives out"
            raise _refused(fact)


def _refused(fact: str, fix: str = 'recipe="orthogonal"') -> RecipeError:
    return RecipeError(
        f"Recipe 'looks-linear' is for chains of maps and rectifiers: {fact}.",
        context=["between two maps stands an activation of which f(x) - f(-x) is c x, and nothing else that bends"],
        fix=fix,
    )
