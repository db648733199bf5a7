"""What ranks do together: agree that none failed, deal a tensor out from its owner, gather one."""

import math
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.errors import ShardError
from exnihilo.fills import Key
from exnihilo.fills.shards import as_dtensor, dealing, local_part, share

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh
    from torch.distributed.tensor import DTensor


@contextmanager
def together(meshes: "Sequence[DeviceMesh]") -> Generator[None]:
    """What all ranks of some meshes do, or none: where one of them raises, all do. Collective.

    Raises:
        ShardError: Another rank raised an error.
    """
    try:
        yield
    except BaseException:
        _any_failed(meshes, here=True)
        raise
    if _any_failed(meshes, here=False):
        raise ShardError(
            "Another rank of the model's mesh raised an error, and this one stops with it.",
            context=["nothing was written here, or old values were put back"],
            fix="read that rank's own error, which names the parameter",
        )


def require_agreement(words: "Mapping[DeviceMesh, int]", what: str) -> None:
    """Raise ShardError on every rank of a mesh whose ranks do not all have the same word for it. Collective.

    Args:
        words: Of each mesh, in one order on all ranks; in [0, 2**63).
        what: That the words stand for.
    """
    import torch.distributed as dist

    for mesh, word in words.items():
        if mesh.get_coordinate() is not None:
            extremes = torch.tensor([word, -word], dtype=torch.int64, device=mesh.device_type)
            for mesh_dim in range(mesh.ndim):
                dist.all_reduce(extremes, op=dist.ReduceOp.MAX, group=mesh.get_group(mesh_dim))
            largest, smallest = extremes[0].item(), -extremes[1].item()
            if largest != smallest:
                raise ShardError(
                    f"The ranks of {mesh} differ in {what}, and their shards would be parts of different models.",
                    context=["nothing was written"],
                    fix="the same plan and the same seed on every rank: apply(plan, model, seed=0)",
                )


def _any_failed(meshes: "Sequence[DeviceMesh]", *, here: bool) -> bool:
    import torch.distributed as dist

    failed = here
    for mesh in meshes:
        if mesh.get_coordinate() is not None:
            told = torch.tensor([failed], dtype=torch.int32, device=mesh.device_type)
            for mesh_dim in range(mesh.ndim):
                dist.all_reduce(told, op=dist.ReduceOp.MAX, group=mesh.get_group(mesh_dim))
            failed = bool(told.item())
    return failed


def owner_of(key: Key, mesh_shape: Sequence[int]) -> tuple[int, ...]:
    """The place in a mesh of the rank that draws for all: by the key, so that many parameters have many owners.

    Example:
        >>> {owner_of(Key(0, f"blocks.{i}.weight"), (2, 2)) for i in range(20)} == {(0, 0), (0, 1), (1, 0), (1, 1)}
        True
    """
    index = key.word % math.prod(mesh_shape)
    place: list[int] = []
    for size in reversed(mesh_shape):
        place.append(index % size)
        index //= size
    return tuple(reversed(place))


def is_owner(parameter: "DTensor", key: Key) -> bool:
    """This rank draws the parameter for all."""
    coordinate = parameter.device_mesh.get_coordinate()
    return coordinate is not None and tuple(coordinate) == owner_of(key, parameter.device_mesh.shape)


def received(parameter: "DTensor", key: Key, drawn: Tensor | None) -> Tensor | None:
    """This rank's shard of what the owner drew, on the mesh's device. Collective.

    Mesh dims are gone through in order. Along each, the ranks that hold something by then send every rank of their row
    what it needs: its part of a divided dim, all of it where the placement is ``Replicate``. So no rank receives more
    than what it passes on, and replicas get the very bits.

    Args:
        parameter: Gives shape, dtype, mesh and placements.
        key: Under which it was drawn; it tells the owner.
        drawn: The full tensor on the owner, None elsewhere.

    Returns:
        A contiguous tensor; None on a rank outside of the mesh.
    """
    mesh, coordinate = parameter.device_mesh, parameter.device_mesh.get_coordinate()
    if coordinate is None:
        return None
    owner, shape = owner_of(key, mesh.shape), list(parameter.shape)
    held = None if drawn is None else drawn.to(device=mesh.device_type, dtype=parameter.dtype).contiguous()
    for mesh_dim, placement in enumerate(parameter.placements):
        # What this rank's row of the mesh passes on lies at the owner's place in the row; rows off the owner's in a
        # later dim get theirs in that dim.
        takes_part = tuple(coordinate[mesh_dim + 1 :]) == owner[mesh_dim + 1 :]
        dealt = dealing(placement, len(shape))
        ranks = mesh.mesh[(*coordinate[:mesh_dim], slice(None), *coordinate[mesh_dim + 1 :])].tolist()
        row = _Row(group=mesh.get_group(mesh_dim), ranks=ranks, owner=owner[mesh_dim], here=coordinate[mesh_dim])
        if dealt is None:
            held = row.broadcast(held, parameter, shape) if takes_part else None
        else:
            held = row.scatter(held, parameter, shape, *dealt) if takes_part else None
            shape[dealt[0]] = row.length(shape[dealt[0]], coordinate[mesh_dim], dealt[1])
    return held


class _Row:
    """The ranks along one mesh dim, one of which has what the others need.

    Args:
        group: Their process group.
        ranks: Their global ranks, in the mesh's order, which need not be the group's.
        owner: The place of the one that sends.
        here: This rank's place.
    """

    def __init__(self, *, group: Any, ranks: list[int], owner: int, here: int) -> None:
        self.group, self.ranks, self.owner, self.here = group, ranks, owner, here

    def length(self, n: int, index: int, rounds: int) -> int:
        """Entries of a dim of ``n`` that one rank gets."""
        return sum(map(len, share(n, len(self.ranks), index, rounds)))

    def broadcast(self, held: Tensor | None, like: "DTensor", shape: Sequence[int]) -> Tensor:
        """What the owner has, on every rank."""
        import torch.distributed as dist

        values = held if held is not None else _empty(like, shape)
        dist.broadcast(values, src=self.ranks[self.owner], group=self.group)
        return values

    def scatter(self, held: Tensor | None, like: "DTensor", shape: Sequence[int], dim: int, rounds: int) -> Tensor:
        """This rank's part of what the owner has."""
        import torch.distributed as dist

        longest = self.length(shape[dim], 0, rounds)  # collectives send equal sizes: shorter parts are padded
        padded = _empty(like, [*shape[:dim], longest, *shape[dim + 1 :]])
        parts = None
        if self.here == self.owner and held is not None:
            by_rank = {rank: self._part(held, dim, rounds, index, longest) for index, rank in enumerate(self.ranks)}
            parts = [by_rank[rank] for rank in dist.get_process_group_ranks(self.group)]
        dist.scatter(padded, parts, src=self.ranks[self.owner], group=self.group)
        return padded.narrow(dim, 0, self.length(shape[dim], self.here, rounds)).contiguous()

    def _part(self, held: Tensor, dim: int, rounds: int, index: int, longest: int) -> Tensor:
        taken = [
            held.narrow(dim, run.start, len(run)) for run in share(held.shape[dim], len(self.ranks), index, rounds)
        ]
        part = torch.cat(taken, dim) if taken else held.narrow(dim, 0, 0)
        missing = longest - part.shape[dim]
        # F.pad takes pairs from the last dim to the first.
        return F.pad(part, [0, 0] * (held.ndim - dim - 1) + [0, missing]).contiguous()


def _empty(like: "DTensor", shape: Sequence[int]) -> Tensor:
    return torch.empty(tuple(shape), dtype=like.dtype, device=like.device_mesh.device_type)


def gathered(tensor: Tensor) -> Tensor | None:
    """The full logical tensor, detached: of a DTensor from all ranks of its mesh, which is collective.

    Returns:
        A plain tensor, the tensor itself where it is plain; None on a rank outside of the mesh.
    """
    sharded = as_dtensor(tensor)
    if sharded is None:
        return tensor.detach()
    if sharded.device_mesh.get_coordinate() is None:
        return None
    from torch.distributed.tensor import DTensor

    with torch.no_grad():
        local = local_part(sharded).to(sharded.device_mesh.device_type)  # shards may be offloaded to the CPU
        there = DTensor.from_local(
            local, sharded.device_mesh, sharded.placements, shape=sharded.shape, stride=sharded.stride()
        )
        return there.full_tensor().detach()
