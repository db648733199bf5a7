"""What closes the paths that a training adds to a frozen trunk, found by structure or by name."""

from collections.abc import Callable

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import named, owners, roles_of
from exnihilo.recipes.zero import why_not_zero_behind
from exnihilo.structure.patterns import matched
from exnihilo.structure.records import Parameter, Role, Structure

_LOOKED_UP = frozenset({Role.EMBEDDING, Role.POSITION})


def joining(
    structure: Structure, recipe: str, pattern: str | None, fits: Callable[[Parameter], bool], noun: str
) -> tuple[Parameter, ...]:
    """The parameters to close: those of a kind that a pattern means, or that join a trunk of frozen parameters.

    Args:
        pattern: A name with wildcards, or a role, as in ``overrides``; None for what the structure shows.
        fits: Whether a parameter is of the kind that the recipe closes.
        noun: What that kind is called, for errors.

    Raises:
        UnknownNameError: The pattern means no parameter.
        RecipeError: There is none of that kind, or zeros in one would never open or would erase something else.
    """
    by_name = structure.by_name
    if pattern is None:
        found = [p for p in owners(structure) if p.joins and fits(p)]
    else:
        found = [by_name[name] for name in matched(pattern, structure) if fits(by_name[name])]
    if not found:
        _refuse(structure, recipe, pattern, [p for p in owners(structure) if fits(p) and not p.frozen], noun)
    for parameter in found:
        why = _why_not(structure, parameter)
        if why is not None:
            raise RecipeError(
                f"Recipe '{recipe}' cannot close '{parameter.name}': it {why}.",
                context=[f"shape {parameter.shape}, evidence: {parameter.evidence}"],
                fix=f'keep=["{parameter.name}"] with recipe="default", or name others by parameters="..."',
            )
    return tuple(found)


def _refuse(structure: Structure, recipe: str, pattern: str | None, candidates: list[Parameter], noun: str) -> None:
    num_frozen = sum(p.frozen for p in structure.parameters)
    if pattern is None:
        fact = f"no trained {noun} of {structure.model} joins a path that frozen parameters made"
    else:
        fact = f"'{pattern}' means no {noun} of {structure.model}"
    fix = 'recipe="zero-residual"'
    if candidates:
        by_name = f"recipe=\"{recipe}(parameters='{candidates[0].name}')\""
        fix = f"freeze the trunk before the plan is made, or name them: {by_name}"
    raise RecipeError(
        f"Recipe '{recipe}' has nothing to close: {fact}.",
        context=[
            f"frozen parameters: {num_frozen} of {len(structure.parameters)}",
            f"each trained {noun}: {named(p.name for p in candidates) or 'none'}",
        ],
        fix=fix,
    )


def _why_not(structure: Structure, parameter: Parameter) -> str | None:
    """Why zeros in a parameter would never open, or close more than its path; None where they do just that."""
    if parameter.frozen or parameter.detached:
        return "receives no gradient, so that it would stay closed"
    if parameter.computed:
        return "is normalized or computed with before it maps: zeros would be divided by their own length"
    others = {part.role for part in parameter.slices} - {parameter.role}
    others |= roles_of(structure)[parameter.name] & _LOOKED_UP
    if others:
        return f"is {', '.join(sorted(others))} too, which zeros would erase"
    return why_not_zero_behind(parameter.activation)
