"""The verb ``plan``: from a model and a recipe to a complete table."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from exnihilo.errors import InvalidValueError, LayoutError, RecipeError, UnassignedError
from exnihilo.gates.attach import gates_of
from exnihilo.gates.records import Gate
from exnihilo.layouts import Layout
from exnihilo.plans.closed_twice import require_openable
from exnihilo.plans.live import fingerprint, live_parameters, require_current, require_separate
from exnihilo.plans.records import Plan, Row
from exnihilo.recipes.named import recipe_named, recipe_text
from exnihilo.recipes.records import Assignment, GatingRecipe, Recipe
from exnihilo.schemes import Ones, Scheme, ZeroRow, Zeros
from exnihilo.schemes.spec import from_text, to_text
from exnihilo.structure.folding import folded
from exnihilo.structure.patterns import resolved
from exnihilo.structure.records import Parameter, Role, Structure

Overrides = Mapping[str, Scheme | str]

# Where no law for real numbers can be written.
_UNREAL = ("int", "uint", "bool", "complex", "quint", "qint", "bits")


def plan(
    model: nn.Module,
    recipe: str | Recipe,
    *,
    example: Any = None,
    structure: Structure | None = None,
    overrides: Overrides | None = None,
    keep: str | Iterable[str] = (),
) -> Plan:
    """What a recipe does to each parameter of a model, as a table to review; nothing is written.

    Args:
        model: Any module, also on the meta device.
        recipe: A name, with any options in parentheses such as ``"he(mode=fan_out)"``, or a recipe.
        example: What the model is called with, for ``read``. Not needed where the structure is given.
        structure: What ``read`` returned for this model. Default None: it is read.
        overrides: Schemes, or their texts, by pattern: a name with wildcards, or ``"role:RESIDUAL_OUT"``. They beat
            the recipe; where several patterns mean one parameter, the last of them holds.
        keep: Patterns of parameters to leave as they are, whatever recipe and overrides say.

    Returns:
        One row for each parameter: assign, keep, or tied to another name of the same tensor.

    Raises:
        UnassignedError: The recipe has no rule for a parameter.
        RecipeError: The recipe makes no sense for the model.
        UnknownNameError: There is no such recipe, scheme or role, or a pattern means no parameter.
        InvalidValueError: An override can never hold, or its scheme cannot be drawn for that dtype; or two parameters
            share memory without being one.
        LayoutError: A scheme does not fit a parameter's layout.
        ReadError: The model cannot be read on the example.
        StalePlanError: The structure given is another model's.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> made = plan(model, "he", example=torch.zeros(1, 4), overrides={"2.*": "zeros"})
        >>> [(row.parameter, row.scheme) for row in made.rows]
        [('0.weight', 'he_normal'), ('0.bias', 'zeros'), ('2.weight', 'zeros'), ('2.bias', 'zeros')]
    """
    chosen = _recipe(recipe)
    if structure is None:
        from exnihilo.structure.reader import read  # only who reads a model pays for the import

        structure = read(model, example)
    live = live_parameters(model)
    require_separate(live)
    overriding = _overriding(overrides or {}, structure)
    keeping = resolved((keep,) if isinstance(keep, str) else tuple(keep), structure)
    _require_effect(overrides or {}, overriding, keeping)
    assigned = {
        **_padded(_writable(chosen.assign(structure), structure), model, structure),
        **overriding,
        **{name: Assignment(scheme=None, reason=f"keep '{pattern}'") for name, pattern in keeping.items()},
    }
    _require_complete(chosen, structure, assigned)
    _require_undivided(structure, assigned)
    rows = tuple(_row(parameter, assigned) for parameter in structure.parameters)
    require_current(rows, model, live)
    gates = _gates(chosen, structure, model)
    require_openable(structure, rows, live, gates)
    added = tuple(_gate_row(gate, structure.by_name[gate.parameter], made) for gate, made in gates.items())
    return Plan(recipe=recipe_text(chosen), model=structure.model, rows=(*rows, *added), gates=tuple(gates))


def _gates(recipe: Recipe, structure: Structure, model: nn.Module) -> Mapping[Gate, Assignment]:
    """What a recipe adds to a model.

    Raises:
        RecipeError: The model has gates already.
    """
    if not isinstance(recipe, GatingRecipe):
        return {}
    already = gates_of(model)
    if already:
        raise RecipeError(
            f"{structure.model} is gated already: it has '{next(iter(already))}'"
            + (f" and {len(already) - 1} more." if len(already) > 1 else "."),
            context=[f"recipe '{recipe.name}' adds gates of its own"],
            fix="exnihilo.fuse(model), which folds gates in; then plan anew",
        )
    return recipe.gates(structure)


def _gate_row(gate: Gate, beside: Parameter, made: Assignment) -> Row:
    shape, frozen = (gate.channels,), not gate.trains
    layout = Layout.vector(*shape)
    scheme = made.scheme if made.scheme is not None else Ones()
    return Row(
        parameter=gate.name,
        role=Role.BIAS if gate.kind in ("shift_in", "shift_out") else Role.BRANCH_SCALE,
        action="assign",
        scheme=to_text(scheme),
        expected_std=scheme.expected_std(layout),
        reason=made.reason,
        shape=shape,
        dtype=beside.dtype,
        frozen=frozen,
        layout=layout,
        fingerprint=fingerprint(gate.name, shape, beside.dtype, None, frozen=frozen),
        rate=made.rate,
        decay=made.decay,
    )


def _recipe(recipe: str | Recipe) -> Recipe:
    if isinstance(recipe, str):
        return recipe_named(recipe)
    _require(recipe, Recipe, "recipe", 'recipe="zero-residual"')
    return recipe


def _require(given: object, kind: type, what: str, fix: str) -> None:
    if isinstance(given, type) or not isinstance(given, kind):
        noun = kind.__name__.lower()
        raise InvalidValueError(f"The {what} is {given!r}; it must be a {noun}, or the text of one.", fix=fix)


def _overriding(overrides: Overrides, structure: Structure) -> dict[str, Assignment]:
    by_name = structure.by_name
    assigned: dict[str, Assignment] = {}
    for name, pattern in resolved(overrides, structure).items():
        given = overrides[pattern]
        scheme = from_text(given) if isinstance(given, str) else given
        _require(scheme, Scheme, f"override of '{pattern}'", f'overrides={{"{pattern}": "normal(std=0.02)"}}')
        if by_name[name].dtype.startswith(_UNREAL):
            raise InvalidValueError(
                f"'{name}' cannot be overridden by '{pattern}': {by_name[name].dtype} holds no real numbers.",
                fix=f'keep=["{name}"]',
            )
        assigned[name] = Assignment(scheme=scheme, reason=f"override '{pattern}'")
    return assigned


def _require_effect(overrides: Overrides, overriding: Mapping[str, Assignment], keeping: Mapping[str, str]) -> None:
    holding = {assignment.reason for name, assignment in overriding.items() if name not in keeping}
    for pattern in overrides:
        if f"override '{pattern}'" not in holding:
            raise InvalidValueError(
                f"The override of '{pattern}' has no effect: all that it means is kept, or overridden again.",
                context=["of several patterns that mean one parameter the last holds, and keep beats them all"],
                fix="put the narrower pattern last, or leave the other one out",
            )


def _writable(assigned: Mapping[str, Assignment], structure: Structure) -> dict[str, Assignment]:
    """The assignments, with keep for dtypes that hold no real numbers."""
    unreal = {p.name: p.dtype for p in structure.parameters if p.dtype.startswith(_UNREAL)}
    return {
        name: Assignment(scheme=None, reason=f"{unreal[name]} holds no real numbers") if name in unreal else assignment
        for name, assignment in assigned.items()
    }


def _padded(assigned: Mapping[str, Assignment], model: nn.Module, structure: Structure) -> dict[str, Assignment]:
    """The assignments, with zeros in the row of an embedding's padding: it never receives a gradient."""
    # By tensor, since the table may be tied, and its owner elsewhere.
    padding = {
        id(module._parameters["weight"]): module.padding_idx  # pyright: ignore[reportPrivateUsage]  # no parametrization
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag) and module.padding_idx is not None
        if module._parameters.get("weight") is not None  # pyright: ignore[reportPrivateUsage]
    }
    tensors = dict(model.named_parameters(remove_duplicate=False))
    found = dict(assigned)
    for parameter in structure.parameters:
        assignment = found.get(parameter.name)
        row = padding.get(id(tensors.get(parameter.path)))
        if assignment is None or assignment.scheme is None or row is None or isinstance(assignment.scheme, Zeros):
            continue
        reason = f"{assignment.reason}; row {row} is padding"
        found[parameter.name] = Assignment(scheme=ZeroRow(base=assignment.scheme, row=row), reason=reason)
    return found


def _require_complete(recipe: Recipe, structure: Structure, assigned: Mapping[str, Assignment]) -> None:
    missing = [p for p in structure.parameters if p.tied_to is None and p.name not in assigned]
    if not missing:
        return
    count = "1 parameter" if len(missing) == 1 else f"{len(missing)} parameters"
    lines = folded(missing, lambda parameter: parameter.name, _known)
    all_unknown = all(parameter.role is Role.UNKNOWN for parameter in missing)
    patterns = ["role:UNKNOWN"] if all_unknown else [parameter.name for parameter in missing]
    raise UnassignedError(
        f"Recipe '{recipe.name}' has no rule for {count} of {structure.model}.",
        context=[f"{pattern}: {_known(parameter)}" for pattern, parameter, _ in lines],
        fix=f"keep={patterns!r}, or overrides={{{patterns[0]!r}: 'normal(std=0.02)'}}",
    )


def _require_undivided(structure: Structure, assigned: Mapping[str, Assignment]) -> None:
    """Raise RecipeError where zeros would be divided by their own length."""
    divided = [p for p in structure.parameters if p.divided and p.tied_to is None]
    for parameter in divided:
        scheme = assigned[parameter.name].scheme
        if isinstance(scheme, Zeros):
            beside = f', overrides={{"{parameter.length}": "zeros"}}' if parameter.length else ""
            raise RecipeError(
                f"'{parameter.name}' of {structure.model} would be zero, and the model divides it by its own length.",
                context=[assigned[parameter.name].reason, f"evidence: {parameter.evidence}"],
                fix=f'keep=["{parameter.name}"]{beside}',
            )


def _known(parameter: Parameter) -> str:
    return f"shape {parameter.shape}, role {parameter.role}: {parameter.evidence}"


def _row(parameter: Parameter, assigned: Mapping[str, Assignment]) -> Row:
    facts: dict[str, Any] = {
        "parameter": parameter.name,
        "role": parameter.role,
        "shape": parameter.shape,
        "dtype": parameter.dtype,
        "tied_to": parameter.tied_to,
        "layout": parameter.layout,
        "frozen": parameter.frozen,
        "fingerprint": fingerprint(
            parameter.name, parameter.shape, parameter.dtype, parameter.tied_to, frozen=parameter.frozen
        ),
    }
    if parameter.tied_to is not None:
        return Row(action="tied", reason=f"the same tensor as {parameter.tied_to}", **facts)
    assignment = assigned[parameter.name]
    if assignment.scheme is None:
        return Row(action="keep", reason=assignment.reason, rate=assignment.rate, decay=assignment.decay, **facts)
    try:
        expected_std = assignment.scheme.expected_std(parameter.layout)
    except LayoutError as error:
        raise LayoutError(
            f"'{parameter.name}' cannot be {to_text(assignment.scheme)} ({assignment.reason}). {error.fact}",
            context=[_known(parameter), *error.context],
            fix=error.fix,
        ) from None
    scheme = to_text(assignment.scheme)
    facts |= {"rate": assignment.rate, "decay": assignment.decay}
    return Row(action="assign", scheme=scheme, expected_std=expected_std, reason=assignment.reason, **facts)
