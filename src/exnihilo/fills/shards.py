"""Shards: which boxes of a full logical tensor a rank holds, from shapes and placements alone.

The geometry is plain arithmetic on plain values; no process group is asked, and nothing is communicated.
"""

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from exnihilo.errors import ShardError
from exnihilo.fills.box import Box

if TYPE_CHECKING:  # its import takes a second, which nobody pays who shards nothing
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor

Runs = tuple[range, ...]
"""Indices along one dim, in the order in which a rank's memory has them: ranges, laid end to end."""


def share(n: int, parts: int, index: int, rounds: int = 1) -> Runs:
    """Which of ``n`` entries part ``index`` of ``parts`` gets.

    One round deals contiguous parts of ``ceil(n / parts)`` entries, as ``torch.chunk`` cuts; the last parts may be
    shorter or empty. With more ``rounds`` the entries are first cut into so many, and each of them is dealt.

    Example:
        >>> [share(14, 4, index) for index in range(4)]
        [(range(0, 4),), (range(4, 8),), (range(8, 12),), (range(12, 14),)]
        >>> share(8, 2, 1, rounds=2)
        (range(2, 4), range(6, 8))
    """
    found: list[range] = []
    for dealt in (_chunk(range(n), rounds, number) for number in range(rounds)):
        found.append(_chunk(dealt, parts, index))
    return tuple(run for run in found if run)


def _chunk(entries: range, parts: int, index: int) -> range:
    size = -(-len(entries) // parts)
    return entries[size * index : size * (index + 1)]


def runs(
    shape: Sequence[int], mesh_shape: Sequence[int], coordinate: Sequence[int], placements: Sequence[Any]
) -> tuple[Runs, ...]:
    """What a rank holds along each dim of a tensor.

    Placements are applied from the first mesh dim to the last, each to what the earlier ones left, as DTensor does.

    Args:
        shape: Of the full logical tensor.
        mesh_shape: Ranks along each mesh dim.
        coordinate: The rank's place in each mesh dim.
        placements: One for each mesh dim: PyTorch's ``Shard``, ``Replicate`` or ``_StridedShard``.

    Raises:
        ShardError: A placement of another kind, such as ``Partial``, or of a dim that the tensor lacks; or mesh,
            coordinate and placements do not go together.

    Example:
        >>> from torch.distributed.tensor import Replicate, Shard
        >>> runs((14, 6), (4, 2), (3, 1), [Shard(0), Replicate()])
        ((range(12, 14),), (range(0, 6),))
    """
    _require_mesh(mesh_shape, coordinate, placements)
    held: list[Runs] = [(range(size),) for size in shape]
    for parts, index, placement in zip(mesh_shape, coordinate, placements, strict=True):
        dealt = dealing(placement, len(shape))
        if dealt is not None:
            dim, rounds = dealt
            taken = share(_length(held[dim]), parts, index, rounds)
            held[dim] = tuple(itertools.chain.from_iterable(_within(held[dim], run) for run in taken))
    return tuple(_joined(own) for own in held)


def dealing(placement: Any, ndim: int) -> tuple[int, int] | None:
    """The dim that a placement divides, and in how many rounds; None where every rank holds all.

    Raises:
        ShardError: A placement that says of no entry where it lies, or of a dim that the tensor lacks.
    """
    from torch.distributed.tensor import Replicate, Shard
    from torch.distributed.tensor.placement_types import _StridedShard  # pyright: ignore[reportPrivateUsage]

    match placement:
        case Replicate():
            return None
        case _StridedShard() | Shard():
            if 0 <= placement.dim < ndim:
                return placement.dim, int(getattr(placement, "split_factor", 1))
            raise ShardError(
                f"{placement!r} divides dim {placement.dim} of a tensor that has {ndim}.",
                fix="place it as Shard(0), or Replicate()",
            )
        case _:
            raise ShardError(
                f"A tensor placed as {placement!r} has no parts that could be written: no rank holds its values.",
                context=["Shard, Replicate and FSDP's _StridedShard say where each entry lies"],
                fix="tensor.redistribute(placements=[Shard(0)])",
            )


def boxes(
    shape: Sequence[int], mesh_shape: Sequence[int], coordinate: Sequence[int], placements: Sequence[Any]
) -> tuple[Box, ...]:
    """The boxes of the full tensor that a rank holds, row by row of its memory; none where its shard is empty.

    It is one box, but where ``_StridedShard`` leaves several runs along a dim.

    Args:
        shape: Of the full logical tensor.
        mesh_shape: Ranks along each mesh dim.
        coordinate: The rank's place in each mesh dim.
        placements: As for ``runs``.

    Raises:
        ShardError: As ``runs`` does.

    Example:
        >>> from torch.distributed.tensor import Shard
        >>> [box.start for box in boxes((8, 4), (2, 2), (1, 0), [Shard(0), Shard(1)])]
        [16]
    """
    held = runs(shape, mesh_shape, coordinate, placements)
    return tuple(_box(tuple(shape), block) for block in itertools.product(*held))


def flat_boxes(shape: Sequence[int], start: int, length: int) -> tuple[Box, ...]:
    """The boxes that elements ``start`` to ``start + length`` of a tensor make, counted row by row.

    Ends within a row, or a plane, take boxes of their own: twice the number of dims at most.

    Raises:
        ShardError: The elements are not all of the tensor.

    Example:
        >>> [(box.offsets, box.sizes) for box in flat_boxes((4, 3), 2, 5)]
        [((0, 2), (1, 1)), ((1, 0), (1, 3)), ((2, 0), (1, 1))]
    """
    if not 0 <= start <= start + length <= math.prod(shape):
        raise ShardError(
            f"Elements {start} to {start + length} are not all of a tensor of shape {tuple(shape)}, which has "
            f"{math.prod(shape)}.",
            context=["padding at the end of a flat shard belongs to no parameter"],
            fix="cut the padding off, then fill what remains",
        )
    return tuple(_box(tuple(shape), block) for block in _flat_blocks(tuple(shape), start, start + length))


def _flat_blocks(shape: tuple[int, ...], start: int, stop: int) -> Iterator[tuple[range, ...]]:
    if start == stop:
        return
    if stop - start == math.prod(shape):
        yield tuple(range(size) for size in shape)
        return
    row = math.prod(shape[1:])
    first, last = -(-start // row), stop // row  # rows that are whole
    head = min(stop, first * row)
    for block in _flat_blocks(shape[1:], start - (first - 1) * row, head - (first - 1) * row) if start < head else ():
        yield (range(first - 1, first), *block)
    if first < last:
        yield (range(first, last), *(range(size) for size in shape[1:]))
    if first <= last:
        for block in _flat_blocks(shape[1:], 0, stop - last * row):
            yield (range(last, last + 1), *block)


def as_dtensor(tensor: Tensor) -> "DTensor | None":
    """The tensor where it is a DTensor, else None."""
    if type(tensor) in (Tensor, nn.Parameter, nn.Buffer) or not torch.distributed.is_available():
        return None
    from torch.distributed.tensor import DTensor

    return tensor if isinstance(tensor, DTensor) else None


def local_part(tensor: Tensor) -> Tensor:
    """The memory of a tensor on this rank, outside of autograd: of a DTensor its shard, else the tensor itself."""
    sharded = as_dtensor(tensor)
    if sharded is None:
        return tensor.detach()
    with torch.no_grad():
        return sharded.to_local().detach()


def pieces(tensor: Tensor) -> list[tuple[Tensor, Box]]:
    """What this rank holds of a tensor: views of its memory, each with its box of the full logical tensor.

    Args:
        tensor: Any; of a plain one it is the whole. A rank outside of a DTensor's mesh holds nothing.

    Raises:
        ShardError: The placements say of no entry where it lies, or the shard has another shape than they say.

    Example:
        >>> [(view.shape, box.is_whole) for view, box in pieces(torch.zeros(4, 6))]
        [(torch.Size([4, 6]), True)]
    """
    sharded, local = as_dtensor(tensor), local_part(tensor)
    if sharded is None:
        return [(local, Box.whole(tensor.shape))]
    coordinate = sharded.device_mesh.get_coordinate()
    if coordinate is None:
        return []
    _require_placed_in_order(sharded)
    held = runs(sharded.shape, sharded.device_mesh.shape, coordinate, sharded.placements)
    expected = tuple(map(_length, held))
    if tuple(local.shape) != expected:
        raise ShardError(
            f"The shard at {tuple(coordinate)} of a mesh of {tuple(sharded.device_mesh.shape)} ranks has shape "
            f"{tuple(local.shape)}; placed as {list(sharded.placements)}, a tensor of shape {tuple(sharded.shape)} "
            f"has {expected} there.",
            context=["either the mesh is another one, or the tensor was divided unevenly along two mesh dims"],
            fix="distribute_tensor(tensor, mesh, placements), which divides as the placements say",
        )
    lying = itertools.product(*map(_laid_out, held))
    blocks = itertools.product(*held)
    return [
        (local[tuple(slices)], _box(tuple(sharded.shape), block)) for slices, block in zip(lying, blocks, strict=True)
    ]


def meshes_of(tensors: Iterable[Tensor]) -> "tuple[DeviceMesh, ...]":
    """The distinct meshes that tensors are sharded over, in the tensors' order; empty where all are plain."""
    sharded = (as_dtensor(tensor) for tensor in tensors)
    return tuple(dict.fromkeys(dtensor.device_mesh for dtensor in sharded if dtensor is not None))


def reshard(model: nn.Module) -> None:
    """Let ``fully_shard`` put its shards back where it left gathered parameters after a forward pass.

    Until then the model shows full copies, and what is written to those is lost. Nothing is communicated.
    """
    if "torch.distributed.fsdp" not in sys.modules:  # who called fully_shard has imported it
        return
    from torch.distributed.fsdp import FSDPModule

    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def _length(own: Runs) -> int:
    return sum(map(len, own))


def _within(own: Runs, wanted: range) -> Iterator[range]:
    """The runs that entries ``wanted`` of runs laid end to end are."""
    before = 0
    for run in own:
        first, last = max(wanted.start - before, 0), min(wanted.stop - before, len(run))
        if first < last:
            yield run[first:last]
        before += len(run)


def _joined(own: Runs) -> Runs:
    """The same entries with neighbors as one run."""
    joined: list[range] = []
    for run in own:
        if joined and joined[-1].stop == run.start:
            joined[-1] = range(joined[-1].start, run.stop)
        else:
            joined.append(run)
    return tuple(joined)


def _laid_out(own: Runs) -> list[slice]:
    """Where each run lies in the rank's own memory."""
    ends = list(itertools.accumulate(map(len, own)))
    return [slice(end - len(run), end) for run, end in zip(own, ends, strict=True)]


def _box(shape: tuple[int, ...], block: Sequence[range]) -> Box:
    return Box(shape, tuple(run.start for run in block), tuple(map(len, block)))


def _require_mesh(mesh_shape: Sequence[int], coordinate: Sequence[int], placements: Sequence[Any]) -> None:
    inside = len(mesh_shape) == len(coordinate) == len(placements) and all(
        0 <= index < parts for parts, index in zip(mesh_shape, coordinate, strict=True)
    )
    if not inside:
        raise ShardError(
            f"{len(placements)} placements and the place {tuple(coordinate)} do not fit a mesh of "
            f"{tuple(mesh_shape)} ranks.",
            fix="give one placement and one index for each mesh dim",
        )


def _require_placed_in_order(sharded: "DTensor") -> None:
    """Raise ShardError where a dim is divided by several mesh dims in another order than the mesh's.

    Newer releases of PyTorch can note such an order beside the placements, which then do not tell it.
    """
    order: Any = getattr(sharded._spec, "shard_order", None)  # pyright: ignore[reportPrivateUsage]
    if order and any(tuple(entry.mesh_dims) != tuple(sorted(entry.mesh_dims)) for entry in order):
        raise ShardError(
            f"A tensor placed as {list(sharded.placements)} is divided in the order {order}.",
            context=["the placements tell the mesh's own order alone"],
            fix="tensor.redistribute(placements=[Replicate(), ...]), then place it anew",
        )
