"""Where a residual branch takes a gate: the modules whose output is the branch's own, up to a factor."""

import re
from collections.abc import Callable, Mapping

from exnihilo.errors import RecipeError
from exnihilo.gates.records import Gate
from exnihilo.recipes.laws import FROZEN, constant, keep, named, owners, require_branches
from exnihilo.recipes.records import Assignment
from exnihilo.structure.records import Branch, Structure

_LEAF = re.compile(r"(\.[^.]+\.original\d+|\.[^.]+)$")
# One sees all of what stands in the way, and not the same thing a hundred times.
_SHOWN = 3


def branch_scales(
    structure: Structure, recipe: str, value: Callable[[Branch], Assignment]
) -> tuple[dict[str, Assignment], list[Branch]]:
    """What becomes of the scales that branches have already, and the branches that need a gate.

    Args:
        structure: Of the model.
        recipe: Its name, for errors.
        value: The law of a branch's scale.

    Raises:
        RecipeError: There is no residual branch.
    """
    require_branches(structure, recipe)
    by_name = structure.by_name
    own: dict[str, Assignment] = {}
    bare: list[Branch] = []
    for branch in structure.branches:
        scales = [by_name[name].tied_to or name for name in branch.scales]
        trained = [name for name in scales if not by_name[name].frozen]
        if trained:
            own |= dict.fromkeys(trained, value(branch))
        else:
            bare.append(branch)
    return own, bare


def rest_kept(structure: Structure, assigned: Mapping[str, Assignment]) -> dict[str, Assignment]:
    """The assignments, and keep for all other parameters."""
    kept = {p.name: keep(FROZEN if p.frozen else "as the model made it") for p in owners(structure)}
    return {**kept, **assigned}


def gates_on(
    structure: Structure,
    recipe: str,
    branches: list[Branch],
    value: Callable[[Branch], Assignment],
    *,
    channels: bool = False,
    trains: bool = True,
) -> dict[Gate, Assignment]:
    """A gate for each branch without a scale of its own: one for each path that ends it.

    Args:
        structure: Of the model.
        recipe: Its name, for errors.
        branches: Those that need one.
        value: The law of a branch's gate.
        channels: One factor for each channel, instead of one number. Default False.
        trains: The gates are trained. Default True; else they are constants.

    Raises:
        RecipeError: A branch has no place for a gate; it says why.
    """
    made: dict[Gate, Assignment] = {}
    refused: dict[str, str] = {}
    for branch in branches:
        why = _why_not(structure, branch)
        if why is not None:
            refused[branch.name] = why
            continue
        for name in branch.outputs:
            size = _channels(structure, name) if channels else 1
            gate = Gate(module=module_of(name), parameter=name, channels=size, trains=trains)
            made[gate] = value(branch)
    if refused:
        reasons: dict[str, list[str]] = {}
        for name, why in refused.items():
            reasons.setdefault(why, []).append(name)
        raise RecipeError(
            f"Recipe '{recipe}' has no place for a gate on {len(refused)} of the {len(structure.branches)} residual"
            f" branches of {structure.model}.",
            context=[f"{named(names, _SHOWN)}: {why}" for why, names in reasons.items()],
            fix='recipe="zero-residual", or put a map, a norm or a scale at the end of each branch',
        )
    return made


def module_of(parameter: str) -> str:
    """The path of the module that a parameter belongs to, also where its weight is computed from it.

    Example:
        >>> module_of("blocks.0.last.weight"), module_of("blocks.0.last.weight.original0")
        ('blocks.0.last', 'blocks.0.last')
    """
    return _LEAF.sub("", f".{parameter}").removeprefix(".")


def _channels(structure: Structure, name: str) -> int:
    """Of what the module gives out: all groups' outputs, which only a transposed weight keeps apart."""
    layout = structure.by_name[name].layout
    if not layout.in_dims:
        return layout.numel
    return layout.out_units * (layout.groups if layout.kind == "conv_transpose" else 1)


def _why_not(structure: Structure, branch: Branch) -> str | None:
    """Why a factor on the branch's last affine operation is none on the branch; None where it is."""
    if branch.ends_in is not None:
        return f"it ends in {branch.ends_in}, of which a factor before it is none behind it"
    if not branch.outputs:
        return "nothing with parameters ends it"
    by_name = structure.by_name
    shared = {by_name[n].tied_to or n for other in structure.branches if other is not branch for n in other.members}
    for name in branch.outputs:
        parameter = by_name[name]
        if parameter.tied_to is not None or name in shared:
            return "its last map is tied, or used by another branch too"
        if parameter.computed and parameter.role.value != "NORM_SCALE":
            return "its last weight is computed from others outside its module"
    return None


def value_of(number: float, reason: str, *, rate: float = 1.0) -> Assignment:
    """The assignment of a gate: a constant that weight decay leaves alone."""
    return Assignment(scheme=constant(number), reason=reason, rate=rate, decay=False)
