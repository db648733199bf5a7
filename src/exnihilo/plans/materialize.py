"""The verb ``materialize``: a model on the meta device gets memory, and in it the values of a plan, written once."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase  # pyright: ignore[reportPrivateUsage]  # the one class of them all

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.fills.shards import as_dtensor, meshes_of, reshard
from exnihilo.gates.attach import attach, detach
from exnihilo.gates.records import Gate
from exnihilo.plans.apply import gated, require_current_but, require_unsharded
from exnihilo.plans.live import keep_identity, live_parameters
from exnihilo.plans.records import Plan, Row
from exnihilo.plans.scattering import together
from exnihilo.plans.writing import Draw, write_all_
from exnihilo.schemes.spec import from_text
from exnihilo.structure.folding import folded


def materialize(model: nn.Module, plan: Plan, seed: int, device: str | torch.device = "cpu") -> nn.Module:
    """Allocate a model's meta parameters on a device and fill them as ``apply`` would, each element written once.

    The values are those that ``apply(plan, model, seed)`` writes to the same model with memory, bit for bit. What the
    model already holds with memory, such as the buffers of a recorded model, is moved to the device as it is.
    Parameters are new objects, as ``to_empty`` makes them: build optimizers afterwards. Ties, ``requires_grad``,
    attributes of parameters and hooks stay.

    Of a sharded model, such as one that ``fully_shard`` has seen on the meta device, every rank calls materialize:
    each allocates and draws its own shards, whose values are those of the unsharded model bit for bit.

    Args:
        model: On the meta device, wholly or in part; it is changed and returned.
        plan: From ``plan`` or ``record``.
        seed: In [0, 2**63).
        device: Where parameters and buffers shall lie; sharded parameters lie on their mesh. Default ``"cpu"``.

    Raises:
        StalePlanError: The model's parameters are not those of the plan.
        InvalidValueError: A meta parameter is kept by the plan, a meta buffer has values that no plan knows, there is
            no such device, or the seed is out of range. The model is as it was.
        ShardError: A shard is not what its placements say, the ranks differ in plan or seed, or another rank failed.

    Example:
        >>> from exnihilo.plans.make import plan as make_plan
        >>> with torch.device("meta"):
        ...     model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> made = make_plan(model, "he", example=torch.zeros(1, 4, device="meta"))
        >>> materialize(model, made, seed=0)[0].weight.std().item() > 0.3
        True
    """
    reshard(model)
    meshes = meshes_of(live_parameters(model).values())
    attached: list[Gate] = []
    try:
        with together(meshes):
            there = _device(device)
            Key(seed, plan.model)  # refuses a seed out of range, also where the plan writes nothing
            present = gated(model)
            missing = [gate for gate in plan.gates if gate.name not in present]
            require_current_but(missing, plan, model)
            require_unsharded(missing, meshes, model)
            _require_buffers(model)
            attach(model, missing)
            attached = missing
            made, draws = _allocated(plan, model, seed, there)
            made |= _buffers(model, there, made)
        write_all_(draws)
    except BaseException:  # an interrupt or a lack of memory too must leave the model on meta
        detach(model, attached)
        raise
    _put(model, made)
    return model


def _device(device: str | torch.device) -> torch.device:
    """A device that takes tensors."""
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:  # as builds without CUDA have it
        reason = str(error).partition("\n")[0]
        raise InvalidValueError(
            f"There is no device '{device}' here: {reason}.".replace("..", "."),
            context=["nothing was changed"],
            fix='materialize(model, plan, seed=0, device="cpu")',
        ) from None


def _allocated(plan: Plan, model: nn.Module, seed: int, device: torch.device) -> tuple[dict[int, Tensor], list[Draw]]:
    """The tensor for each that is assigned or moved, by the id of the one that it stands for; and what to write."""
    live: dict[str, Tensor] = {**live_parameters(model)}
    live |= {gate.name: model.get_buffer(gate.name) for gate in plan.gates if not gate.trains}
    _require_assigned(plan.rows, live)
    made: dict[int, Tensor] = {}
    draws: list[Draw] = []
    for row in plan.rows:
        tensor = live[row.parameter]
        if row.action == "assign":
            made[id(tensor)] = memory = _empty_like(tensor, device)
            scheme, key = from_text(row.scheme or ""), Key(seed, row.parameter)
            draws.append(Draw(parameter=memory, scheme=scheme, layout=row.layout, key=key))
        elif row.action == "keep":
            made[id(tensor)] = _moved(tensor, device)
    return made, draws


def _empty_like(tensor: Tensor, device: torch.device) -> Tensor:
    # A sharded tensor lies on its mesh, whatever else is asked. Huge pages were tried for large ones: the first touch
    # then took four times as long on a virtual machine, whose host had to find memory in one piece.
    sharded = as_dtensor(tensor)
    if sharded is not None:
        return torch.empty_like(sharded.detach(), device=sharded.device_mesh.device_type)
    return torch.empty_like(tensor.detach(), device=device)


def _buffers(model: nn.Module, device: torch.device, made: Mapping[int, Tensor]) -> dict[int, Tensor]:
    """The tensor for each buffer, by the id of the one that it stands for: one for all modules that share it."""
    moved: dict[int, Tensor] = {}
    for module in model.modules():
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if id(buffer) not in made and id(buffer) not in moved:
                moved[id(buffer)] = _begun(name, buffer, device) if buffer.is_meta else _moved(buffer, device)
    return moved


def _put(model: nn.Module, made: Mapping[int, Tensor]) -> None:
    """Exchange the tensors of every module; nothing in here allocates what could be lacking."""
    parameters: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False, remove_duplicate=False):
            if id(parameter) not in parameters:
                parameters[id(parameter)] = _renewed(parameter, made[id(parameter)])
            setattr(module, name, parameters[id(parameter)])
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            setattr(module, name, made[id(buffer)])
    # Modules that keep their parameters in a second place, such as recurrent and sharded ones, renew it here.
    model._apply(_same)  # pyright: ignore[reportPrivateUsage]


def _renewed(parameter: nn.Parameter, values: Tensor) -> nn.Parameter:
    """A parameter of the same class, attributes and hooks with these values."""
    if parameter.data_ptr() == values.data_ptr() and not parameter.is_meta:
        return parameter
    new = nn.Parameter(values, requires_grad=parameter.requires_grad)
    keep_identity(parameter, new)
    return new


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor itself where it lies there."""
    return tensor if tensor.device == device or hasattr(tensor, "placements") else tensor.detach().to(device)


# What a norm counts while it trains, and what it begins with.
_STATISTICS = {"running_mean": 0, "running_var": 1, "num_batches_tracked": 0}


def _begun(name: str, buffer: Tensor, device: torch.device) -> Tensor:
    return torch.full_like(buffer, _STATISTICS[name], device=device)


def _require_buffers(model: nn.Module) -> None:
    """Raise InvalidValueError where a buffer has no values and no module that would know them."""
    unknown = [
        f"{path}.{name}".removeprefix(".")
        for path, module in model.named_modules()
        for name, buffer in module.named_buffers(recurse=False)
        if buffer.is_meta and not (isinstance(module, _NormBase) and name in _STATISTICS)
    ]
    if unknown:
        count = "1 buffer is" if len(unknown) == 1 else f"{len(unknown)} buffers are"
        raise InvalidValueError(
            f"{count} on the meta device, and no plan says the values of buffers. Nothing was changed.",
            context=[pattern for pattern, _, _ in folded(unknown, lambda name: name, lambda _: "")],
            fix="model, plan = exnihilo.record(factory), whose model has the buffers that its constructor computes",
        )


def _require_assigned(rows: Sequence[Row], live: dict[str, Tensor]) -> None:
    """Raise InvalidValueError where a parameter without values would be kept as it is."""
    kept = [row.parameter for row in rows if row.action == "keep" and live[row.parameter].is_meta]
    if kept:
        raise InvalidValueError(
            f"The plan keeps {len(kept)} of the parameters as they are, and on the meta device they have no values. "
            "Nothing was changed.",
            context=[pattern for pattern, _, _ in folded(kept, lambda name: name, lambda _: "")],
            fix="give them a scheme, such as overrides={'" + kept[0] + "': 'normal(std=0.02)'}",
        )
