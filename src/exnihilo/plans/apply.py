"""The verb ``apply``: the only place of the package that writes parameters of a model."""

import contextlib
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Box, Key
from exnihilo.gates.attach import attach, detach
from exnihilo.gates.records import Gate
from exnihilo.plans.live import live_parameters, require_current, require_separate
from exnihilo.plans.make import plan as make_plan
from exnihilo.plans.records import Applied, Plan, Row, Written
from exnihilo.plans.values import described, digest
from exnihilo.recipes.records import Recipe
from exnihilo.schemes.boxes import fill_box_
from exnihilo.schemes.spec import from_text


def apply(plan: Plan, model: nn.Module, seed: int) -> Applied:
    """Write what a plan assigns, once, in place; all or nothing. Gates that the plan has and the model lacks are added.

    Values are made as float32 under the key (seed, canonical name) and stored in the parameter's dtype, where it lies:
    rounded to bfloat16 and float16, widened exactly to float64. So they do not depend on the order of the
    parameters, on wrappers, or on the device. Gradients, buffers, ``requires_grad`` and the global random state are
    not touched; a tied tensor is written once.

    Everything is checked before the first write. While it writes, apply holds a copy of the old values on the CPU, as
    large as what is written, and one parameter's draw; where a write fails, all old values are put back.

    Args:
        plan: From ``plan``, perhaps saved and loaded since.
        model: The model that it was made for, or one with the same parameters.
        seed: In [0, 2**63). One seed gives equal bits.

    Raises:
        StalePlanError: The model's parameters are not those of the plan; it says which. Nothing was written.
        InvalidValueError: A parameter cannot be written (on the meta device, sharded, sparse, expanded,
            made under inference_mode, in memory of another one), or the
            seed is out of range. Nothing was written.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> made = make_plan(model, "zero-head", example=torch.zeros(1, 4))
        >>> [written.parameter for written in apply(made, model, seed=0).written]
        ['2.weight', '2.bias']
        >>> bool(model[2].weight.any())
        False
    """
    Key(seed, plan.model)  # refuses a seed out of range, also where the plan writes nothing
    present = gated(model)
    missing = [gate for gate in plan.gates if gate.name not in present]
    require_current_but(missing, plan, model)
    added = attach(model, missing)
    try:
        return _applied(plan, model, seed, added)
    except BaseException:
        detach(model, missing)
        raise


def gated(model: nn.Module) -> set[str]:
    """The canonical names of parameters and buffers, gates that do not train among the latter."""
    return {*live_parameters(model), *(name for name, _ in model.named_buffers())}


def require_current_but(missing: Sequence[Gate], plan: Plan, model: nn.Module) -> None:
    """Raise StalePlanError where the model's parameters are not those of the plan, before any gate is added."""
    names = {gate.name for gate in plan.gates if not gate.trains} | {gate.name for gate in missing}
    require_current([row for row in plan.rows if row.parameter not in names], model, live_parameters(model))


def _applied(plan: Plan, model: nn.Module, seed: int, added: tuple[str, ...]) -> Applied:
    live = live_parameters(model)
    require_separate(live)
    constants = {gate.name: model.get_buffer(gate.name) for gate in plan.gates if not gate.trains}
    rows = [row for row in plan.rows if row.action == "assign"]
    _require_writable(rows, live | constants)
    counts = plan.counts
    return Applied(
        plan=plan.id,
        recipe=plan.recipe,
        model=type(model).__name__,
        seed=seed,
        written=_write_all(rows, live | constants, seed),
        num_kept=counts["keep"],
        num_tied=counts["tied"],
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
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> initialize(model, "he", torch.zeros(1, 4), seed=0).num_kept
        0
    """
    return apply(make_plan(model, recipe, example=example), model, seed)


def _require_writable(rows: Sequence[Row], live: Mapping[str, Tensor]) -> None:
    for row in rows:
        parameter = live[row.parameter]
        if parameter.is_meta:
            raise InvalidValueError(
                f"'{row.parameter}' is on the meta device, where there are no values to write. Nothing was written.",
                context=["a plan can be made there, and is applied once the model has memory"],
                fix='model.to_empty(device="cpu"), which also empties buffers, then apply',
            )
        if hasattr(parameter, "placements"):
            raise InvalidValueError(
                f"'{row.parameter}' is sharded over several devices, which apply cannot write. Nothing was written.",
                fix="apply the plan before the model is sharded",
            )
        unwritable = _why_unwritable(parameter)
        if unwritable is not None:
            why, fix = unwritable
            raise InvalidValueError(f"'{row.parameter}' {why}. Nothing was written.", fix=fix)


def _why_unwritable(parameter: Tensor) -> tuple[str, str] | None:
    """Why torch would refuse to write a tensor in place, in words that follow its name, and what to do about it."""
    if parameter.layout is not torch.strided:
        layout = str(parameter.layout).removeprefix("torch.")
        return f"has the layout {layout}, which apply cannot write", "parameter.to_dense(), or keep it"
    if parameter.is_inference() and not torch.is_inference_mode_enabled():
        return "was made under inference_mode, and cannot be written outside of it", (
            "build the model outside of torch.inference_mode(), or apply inside of it"
        )
    is_expanded = any(
        size > 1 and stride == 0 for size, stride in zip(parameter.shape, parameter.stride(), strict=True)
    )
    if is_expanded:
        return "is expanded: several of its entries are one place in memory", "nn.Parameter(parameter.detach().clone())"
    return None


def _write_all(rows: Sequence[Row], live: Mapping[str, Tensor], seed: int) -> tuple[Written, ...]:
    old: dict[str, Tensor] = {}
    written: list[Written] = []
    try:
        for row in rows:
            parameter = live[row.parameter]
            old[row.parameter] = parameter.detach().to("cpu", copy=True)
            draw(row, parameter, seed)
            written.append(_written(row, parameter.detach()))
    except BaseException:  # an interrupt too must not leave half a plan behind
        _restore(old, live)
        raise
    return tuple(written)


def _restore(old: Mapping[str, Tensor], live: Mapping[str, Tensor]) -> None:
    for name, values in old.items():
        # The parameter whose write was refused refuses this one too; the others must still be put back.
        with contextlib.suppress(RuntimeError):
            _write(live[name], values)


def draw(row: Row, parameter: Tensor, seed: int) -> None:
    """Write the values of a row, straight into the parameter's memory where its scheme allows it."""
    scheme, key = from_text(row.scheme or ""), Key(seed, row.parameter)
    if row.layout.shape == row.shape:
        fill_box_(parameter.detach(), scheme, row.layout, key, Box.whole(row.shape))
    else:
        _write(parameter, scheme.sample(row.layout, key).reshape(row.shape))


def _write(parameter: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        parameter.copy_(values)


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
