"""Where a residual branch takes a gate: the modules whose output is the branch's own, up to a factor."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from exnihilo.errors import RecipeError
from exnihilo.gates.records import Gate
from exnihilo.recipes.laws import FROZEN, constant, keep, named, owners, require_branches
from exnihilo.recipes.records import Assignment
from exnihilo.structure.names import module_of
from exnihilo.structure.records import Branch, End, Structure

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

    It stands at the branch's last weight, so that it can be folded in, or else at the module that gives out what the
    branch adds.

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
        places = _at_ends(structure, branch) if why is not None else _at_weights(structure, branch)
        if not places:
            refused[branch.name] = f"{why}, and no module of its own gives out what it adds"
        made |= {replace(g, channels=g.channels if channels else 1, trains=trains): value(branch) for g in places}
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


def _at_weights(structure: Structure, branch: Branch) -> list[Gate]:
    """A gate for each of the branch's last weights, a factor for each channel."""
    return [Gate(module=module_of(n), parameter=n, channels=_channels(structure, n)) for n in branch.outputs]


def _at_ends(structure: Structure, branch: Branch) -> list[Gate]:
    """A gate for each module that gives out what the branch adds."""
    last = (*branch.members, *branch.outputs, *branch.maps)[-1]
    made: list[Gate] = []
    for end in branch.ends:
        second = _comes_second(structure, last, end)
        kind, dim = ("scale_second", 1) if second else ("scale_last", -1)
        made.append(Gate(module=end.module, parameter=last, kind=kind, channels=end.shape[dim]))
    return made


def _comes_second(structure: Structure, last: str, end: End) -> bool:
    """Whether a module's channels are its second dim: as a convolution, or a norm of images, leaves them."""
    layout = structure.by_name[last].layout
    is_norm_of_images = not layout.in_dims and end.shape[1:2] == layout.shape and end.shape[-1:] != layout.shape
    return len(end.shape) > 2 and (layout.kind in ("conv", "conv_transpose") or is_norm_of_images)


def _channels(structure: Structure, name: str) -> int:
    """Of what the module gives out: all groups' outputs, which only a transposed weight keeps apart."""
    layout = structure.by_name[name].layout
    if not layout.in_dims:
        return layout.numel
    return layout.out_units * (layout.groups if layout.kind == "conv_transpose" else 1)


def _why_not(structure: Structure, branch: Branch) -> str | None:
    """Why a factor on the branch's last affine operation is none on the branch; None where it is."""
    if branch.bends is not None:
        return branch.bends
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
