"""Writing a scheme into a parameter, plain or sharded: the one place that writes what a model holds."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, ShardError
from exnihilo.fills import FILLS_VERSION, Key
from exnihilo.fills.shards import as_dtensor, flat_boxes, local_part, meshes_of, pieces
from exnihilo.layouts import Layout
from exnihilo.plans.scattering import is_owner, received, require_agreement, together
from exnihilo.schemes.boxes import fill_box_, is_local
from exnihilo.schemes.scheme import Elementwise, Scheme

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What one parameter is to hold.

    Args:
        parameter: Plain, or a DTensor.
        scheme: The law of its values.
        layout: Of the full logical tensor, from whose shape the fans come.
        key: What is drawn under; its name is the parameter's.
    """

    parameter: Tensor
    scheme: Scheme
    layout: Layout
    key: Key


def write_(parameter: Tensor, scheme: Scheme, layout: Layout, key: Key) -> None:
    """Write the values of a scheme into a parameter's memory; of a DTensor, each rank its own shard.

    The gathered tensor equals the unsharded one bit for bit. Where boxes of a scheme can be drawn alone, each rank
    draws its own, and nothing is communicated. Other schemes (orthogonal, sparse) are drawn whole by one rank of the
    mesh, which the key chooses, and scattered in the parameter's dtype: the bits are those of that rank's platform, on
    every replica. That is collective over the mesh.

    Args:
        parameter: With memory; any dtype that fills write.
        scheme: Any.
        layout: Of the full logical tensor.
        key: Seed and the parameter's full name.

    Raises:
        InvalidValueError: The parameter cannot be written, or has another number of elements than the layout. Nothing
            was written.
        ShardError: Its placements do not say what this rank holds; or another rank failed where one draws for all.

    Example:
        >>> from exnihilo.schemes import Normal
        >>> weight = torch.nn.Parameter(torch.empty(4, 6))
        >>> write_(weight, Normal(std=0.02), Layout.linear(4, 6), Key(0, "weight"))
        >>> bool(weight.abs().max() < 0.2)
        True
    """
    draw = Draw(parameter=parameter, scheme=scheme, layout=layout, key=key)
    require_writable(draw)
    sharded = _scattered(draw)
    if sharded is None:
        _write_here(draw)
    else:
        _write_scattered([(draw, sharded)], [sharded.device_mesh])


def write_all_(draws: Sequence[Draw]) -> None:
    """``write_`` for many parameters: where one rank fails, all ranks of the parameters' meshes raise. Collective.

    What one rank draws for all is drawn by many ranks at once, each what it owns, one parameter a rank on average.
    What was written before a failure is not put back here.

    Raises:
        InvalidValueError: As ``write_`` does.
        ShardError: As ``write_`` does; or the ranks differ in what they are to write; or another rank failed.
    """
    meshes = meshes_of(draw.parameter for draw in draws)
    scattered: list[tuple[Draw, DTensor]] = []
    with together(meshes):
        for draw in draws:
            require_writable(draw)
    with together(meshes):
        require_agreement(_words(draws, meshes), "what they are to write")
    with together(meshes):
        for draw in draws:
            sharded = _scattered(draw)
            if sharded is None:
                _write_here(draw)
            else:
                scattered.append((draw, sharded))
    num_owners = min((mesh.size() for mesh in meshes), default=1)
    for first in range(0, len(scattered), num_owners):
        _write_scattered(scattered[first : first + num_owners], meshes)


def fill_flat_(tensor: Tensor, scheme: Scheme, layout: Layout, key: Key, start: int) -> None:
    """Write elements ``start`` to ``start + len(tensor)`` of a parameter, counted row by row, into a flat tensor.

    So FSDP1, DeepSpeed and ZeRO hold parameters: as 1-D shards, cut anywhere. Laid end to end, shards of one parameter
    equal the unsharded one bit for bit. Nothing is communicated: a scheme whose boxes cannot be drawn alone is drawn
    whole by every rank, and equal bits then take equal platforms.

    Args:
        tensor: 1-D; padding cut off.
        scheme: Any.
        layout: Of the full logical tensor.
        key: Seed and the parameter's full name.
        start: The first element.

    Raises:
        InvalidValueError: ``tensor`` is not 1-D, or cannot be written. Nothing was written.
        ShardError: The elements are not all of the parameter. Nothing was written.

    Example:
        >>> from exnihilo.schemes import Normal
        >>> scheme, layout, key = Normal(), Layout.linear(4, 6), Key(0, "weight")
        >>> shard = torch.empty(10)
        >>> fill_flat_(shard, scheme, layout, key, start=7)
        >>> torch.equal(shard, scheme.sample(layout, key).flatten()[7:17])
        True
    """
    if tensor.ndim != 1:
        raise InvalidValueError(
            f"A flat shard of '{key.name}' has {tensor.ndim} dims; it must have one.", fix="shard.view(-1)"
        )
    _require_memory(tensor, key.name)
    flat, done = local_part(tensor), 0
    made = flat_boxes(layout.shape, start, len(flat))
    if not is_local(scheme):
        _copy(flat, scheme.sample(layout, key).reshape(-1)[start : start + len(flat)])
        return
    for box in made:
        fill_box_(flat[done : done + box.numel].view(box.sizes), scheme, layout, key, box)
        done += box.numel


def require_writable(draw: Draw) -> None:
    """Raise where a parameter cannot be written in place, or what this rank holds of it is not known.

    Raises:
        InvalidValueError: It is on the meta device, sparse, expanded, made under inference_mode, or of another size
            than its layout.
        ShardError: Its placements do not say what this rank holds.
    """
    name, parameter = draw.key.name, draw.parameter
    _require_memory(parameter, name)
    if draw.layout.numel != parameter.numel():
        raise InvalidValueError(
            f"'{name}' has shape {tuple(parameter.shape)}, and its layout {draw.layout.shape}: they differ in their "
            "number of elements. Nothing was written.",
            context=["of a sharded parameter the layout is that of the full tensor"],
            fix="Layout.of(module, name)",
        )
    try:
        pieces(parameter)
    except ShardError as error:
        raise ShardError(
            f"'{name}' cannot be written. {error.fact}", context=["nothing was written", *error.context], fix=error.fix
        ) from None


def copies(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """What this rank holds of each parameter, copied to the CPU."""
    return {name: local_part(parameter).to("cpu", copy=True) for name, parameter in parameters.items()}


def put_back_(old: Mapping[str, Tensor], parameters: Mapping[str, Tensor]) -> None:
    """Write what ``copies`` kept, on this rank."""
    for name, values in old.items():
        # The parameter whose write was refused refuses this one too; the others must still be put back.
        with contextlib.suppress(RuntimeError):
            _copy(local_part(parameters[name]), values)


def _words(draws: Sequence[Draw], meshes: "Sequence[DeviceMesh]") -> "dict[DeviceMesh, int]":
    """For each mesh a number in [0, 2**63) that tells apart what its parameters are to hold."""
    told: dict[DeviceMesh, list[str]] = {mesh: [] for mesh in meshes}
    for draw in draws:
        if (sharded := as_dtensor(draw.parameter)) is not None:
            told[sharded.device_mesh].append(f"{draw.key} {draw.scheme} {draw.layout}")
    return {mesh: Key(FILLS_VERSION, "\n".join(lines)).word >> 1 for mesh, lines in told.items()}


def _scattered(draw: Draw) -> "DTensor | None":
    """The parameter where one rank draws it for all: sharded, and of a scheme whose boxes cannot be drawn alone."""
    sharded = as_dtensor(draw.parameter)
    return None if sharded is None or _has_boxes(draw) else sharded


def _has_boxes(draw: Draw) -> bool:
    """Boxes of the parameter can be drawn alone; an element of one law needs no more than its index."""
    same_shape = draw.layout.shape == tuple(draw.parameter.shape)
    return isinstance(draw.scheme, Elementwise) or (is_local(draw.scheme) and same_shape)


def _write_here(draw: Draw) -> None:
    """This rank's part, straight into its memory where each entry has a law."""
    if as_dtensor(draw.parameter) is None and draw.layout.shape != tuple(draw.parameter.shape):
        _copy(local_part(draw.parameter), _drawn(draw))
        return
    for view, box in pieces(draw.parameter):
        fill_box_(view, draw.scheme, draw.layout, draw.key, box)


def _write_scattered(draws: "Sequence[tuple[Draw, DTensor]]", meshes: "Sequence[DeviceMesh]") -> None:
    """Each owner draws what it owns, all at once; then one parameter after the other is dealt out."""
    with together(meshes):
        drawn = [_drawn(draw) if is_owner(sharded, draw.key) else None for draw, sharded in draws]
    for (draw, sharded), values in zip(draws, drawn, strict=True):
        mine = received(sharded, draw.key, values)
        if mine is not None:
            _copy(local_part(sharded), mine)


def _drawn(draw: Draw) -> Tensor:
    return draw.scheme.sample(draw.layout, draw.key).reshape(draw.parameter.shape)


def _copy(memory: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        memory.copy_(values)


def _require_memory(tensor: Tensor, name: str) -> None:
    if tensor.is_meta:
        raise InvalidValueError(
            f"'{name}' is on the meta device, where there are no values to write. Nothing was written.",
            context=["a plan can be made there, and is applied once the model has memory"],
            fix='model.to_empty(device="cpu"), which also empties buffers, then apply',
        )
    unwritable = _why_unwritable(local_part(tensor))
    if unwritable is not None:
        why, fix = unwritable
        raise InvalidValueError(f"'{name}' {why}. Nothing was written.", fix=fix)


def _why_unwritable(memory: Tensor) -> tuple[str, str] | None:
    """Why torch would refuse to write a tensor in place, in words that follow its name, and what to do about it."""
    if memory.layout is not torch.strided:
        layout = str(memory.layout).removeprefix("torch.")
        return f"has the layout {layout}, which apply cannot write", "parameter.to_dense(), or keep it"
    if memory.is_inference() and not torch.is_inference_mode_enabled():
        return "was made under inference_mode, and cannot be written outside of it", (
            "build the model outside of torch.inference_mode(), or apply inside of it"
        )
    is_expanded = any(size > 1 and stride == 0 for size, stride in zip(memory.shape, memory.stride(), strict=True))
    if is_expanded:
        return "is expanded: several of its entries are one place in memory", "nn.Parameter(parameter.detach().clone())"
    return None
