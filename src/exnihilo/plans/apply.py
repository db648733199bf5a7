"""The verb ``apply``: a plan written into a model, all of it or nothing."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.fills.shards import meshes_of, reshard
from exnihilo.gates.attach import attach, detach
from exnihilo.gates.records import Gate
from exnihilo.plans.live import live_parameters, require_current, require_separate
from exnihilo.plans.make import plan as make_plan
from exnihilo.plans.records import Applied, Plan, Row, Written
from exnihilo.plans.scattering import gathered, together
from exnihilo.plans.values import described, digest
from exnihilo.plans.writing import Draw, copies, put_back_, require_writable, write_all_
from exnihilo.recipes.records import Recipe
from exnihilo.schemes.spec import from_text

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh


def apply(plan: Plan, model: nn.Module, seed: int) -> Applied:
    """Write what a plan assigns, once, in place; all or nothing. Gates that the plan has and the model lacks are added.

    Values are made as float32 under the key (seed, canonical name) and stored in the parameter's dtype, where it lies:
    rounded to bfloat16 and float16, widened exactly to float64. So they do not depend on the order of the
    parameters, on wrappers, or on the device. Gradients, buffers, ``requires_grad`` and the global random state are
    not touched; a tied tensor is written once.

    Everything is checked before the first write. While it writes, apply holds a copy of the old values on the CPU, as
    large as what is written, and one parameter's draw; where a write fails, all old values are put back.

    Of a sharded model every rank calls apply: it is collective, and where one rank fails, all raise and keep their old
    values. Each rank draws its own shards; what is returned tells of full tensors, which are gathered one at a time
    for it. The values equal those of the unsharded model bit for bit. A rank outside of a parameter's mesh does not
    list it in ``written``.

    Args:
        plan: From ``plan``, perhaps saved and loaded since.
        model: The model that it was made for, or one with the same parameters.
        seed: In [0, 2**63). One seed gives equal bits.

    Raises:
        StalePlanError: The model's parameters are not those of the plan; it says which. Nothing was written.
        InvalidValueError: A parameter cannot be written (on the meta device, sparse, expanded, made under
            inference_mode, in memory of another one), the seed is out of range, or gates would be added to a sharded
            model. Nothing was written.
        ShardError: A shard is not what its placements say, the ranks differ in plan or seed, or another rank failed.
            Nothing was written.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> made = make_plan(model, "zero-head", example=torch.zeros(1, 4))
        >>> [written.parameter for written in apply(made, model, seed=0).written]
        ['2.weight', '2.bias']
        >>> bool(model[2].weight.any())
        False
    """
    reshard(model)
    meshes = meshes_of(live_parameters(model).values())
    attached: list[Gate] = []
    try:
        with together(meshes):
            Key(seed, plan.model)  # refuses a seed out of range, also where the plan writes nothing
            present = gated(model)
            missing = [gate for gate in plan.gates if gate.name not in present]
            require_current_but(missing, plan, model)
            require_unsharded(missing, meshes, model)
            added, attached = attach(model, missing), missing
            draws = _draws(plan, model, seed)
        return _applied(plan, model, seed, added, _write_all(plan, draws, meshes))
    except BaseException:
        detach(model, attached)
        raise


def gated(model: nn.Module) -> set[str]:
    """The canonical names of parameters and buffers, gates that do not train among the latter."""
    return {*live_parameters(model), *(name for name, _ in model.named_buffers())}


def require_current_but(missing: Sequence[Gate], plan: Plan, model: nn.Module) -> None:
    """Raise StalePlanError where the model's parameters are not those of the plan, before any gate is added."""
    names = {gate.name for gate in plan.gates if not gate.trains} | {gate.name for gate in missing}
    require_current([row for row in plan.rows if row.parameter not in names], model, live_parameters(model))


def require_unsharded(missing: Sequence[Gate], meshes: Sequence[object], model: nn.Module) -> None:
    """Raise InvalidValueError where gates would be added to a sharded model."""
    if missing and meshes:
        raise InvalidValueError(
            f"The plan adds '{missing[0].name}' to {type(model).__name__}, which is sharded: the gate would be no part "
            "of its mesh. Nothing was written.",
            fix="exnihilo.attach(model, plan.gates) before the model is sharded, then apply",
        )


def _draws(plan: Plan, model: nn.Module, seed: int) -> list[Draw]:
    """What is to be written, each checked."""
    live = live_parameters(model)
    require_separate(live)
    tensors: dict[str, Tensor] = {
        **live,
        **{gate.name: model.get_buffer(gate.name) for gate in plan.gates if not gate.trains},
    }
    draws = [
        Draw(
            parameter=tensors[row.parameter],
            scheme=from_text(row.scheme or ""),
            layout=row.layout,
            key=Key(seed, row.parameter),
        )
        for row in plan.rows
        if row.action == "assign"
    ]
    for draw in draws:
        require_writable(draw)
    return draws


def _write_all(plan: Plan, draws: Sequence[Draw], meshes: "Sequence[DeviceMesh]") -> tuple[Written, ...]:
    rows, parameters = plan.by_name, {draw.key.name: draw.parameter for draw in draws}
    with together(meshes):
        old = copies(parameters)
    try:
        write_all_(draws)
        full = ((name, gathered(parameter)) for name, parameter in parameters.items())
        return tuple(_written(rows[name], values) for name, values in full if values is not None)
    except BaseException:  # an interrupt too must not leave half a plan behind
        put_back_(old, parameters)
        raise


def _applied(plan: Plan, model: nn.Module, seed: int, added: tuple[str, ...], written: tuple[Written, ...]) -> Applied:
    return Applied(
        plan=plan.id,
        recipe=plan.recipe,
        model=type(model).__name__,
        seed=seed,
        written=written,
        num_kept=plan.counts["keep"],
        num_tied=plan.counts["tied"],
        added=added,
    )


def initialize(model: nn.Module, recipe: str | Recipe, example: Any, seed: int) -> Applied:
    """Read, plan and apply in one call.

    Args:
        model: Any module with values.
        recipe: A name, with any options in parentheses, or a recipe.
        example: What the model is called with, for ``read``.
        seed: In [0, 2**63).

    Raises:
        ExnihiloError: As ``plan`` and ``apply`` do; nothing was written.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> initialize(model, "he", torch.zeros(1, 4), seed=0).num_kept
        0
    """
    return apply(make_plan(model, recipe, example=example), model, seed)


def _written(row: Row, values: Tensor) -> Written:
    facts = described(values)
    return Written(
        parameter=row.parameter,
        scheme=row.scheme or "",
        dtype=row.dtype,
        layout=row.layout,
        digest=digest(values),
        expected_std=math.nan if row.expected_std is None else row.expected_std,
        std=facts.std,
        mean=facts.mean,
        max_abs=facts.max_abs,
    )
