"""Writing into a tensor that was given: what all functions of the room end with."""

import math
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

import torch
from torch import Tensor
from torch.autograd.graph import increment_version

from exnihilo.errors import DrawError, InvalidValueError, ShardError
from exnihilo.fills import Box, Key, Law, fill_, values
from exnihilo.fills.fill import fill_small_, small_kernel
from exnihilo.fills.key import word_of
from exnihilo.fills.laws import Kind
from exnihilo.fills.shards import pieces
from exnihilo.init.keys import drawn_seed, require_one_source

if TYPE_CHECKING:  # its import takes a second, which nobody pays who shards nothing
    from torch.distributed.tensor import DTensor


def draw_(tensor: Tensor, law: Law, generator: torch.Generator | None, key: Key | None) -> Tensor:
    """Write a law into a tensor; where there is nothing to write, no number is drawn either."""
    if key is not None:
        require_one_source(key, generator)
    if (kernel := small_kernel(tensor, law)) is not None:
        fill_small_(kernel, tensor, law, key.word if key else word_of(drawn_seed(tensor, generator), ""))
        return tensor
    if is_left_alone(tensor):
        return tensor
    key = key or _drawn_key(tensor, generator)
    if tensor.is_complex():
        _draw_complex_(tensor, law, key)
    elif _is_sharded(tensor):
        _fill_shard_(tensor, law, key)
    else:
        _fill_(tensor, law, key)
    return tensor


def make_(tensor: Tensor, make: Callable[[Key], Tensor], generator: torch.Generator | None, key: Key | None) -> Tensor:
    """Write what ``make`` gives for the key of a draw."""
    if key is not None:
        require_one_source(key, generator)
    if is_left_alone(tensor):
        return tensor
    return write_(tensor, make(key or _drawn_key(tensor, generator)))


def write_(tensor: Tensor, made: Tensor) -> Tensor:
    """Write values of the tensor's full shape; no gradient is recorded."""
    if _is_sharded(tensor):
        _write_shard_(tensor, made)
    else:
        with torch.no_grad():
            tensor.copy_(made)
    return tensor


def is_left_alone(tensor: Tensor) -> bool:
    """It has no element, or no memory: it is on the meta device, or fake."""
    from torch._subclasses.fake_tensor import FakeTensor

    return tensor.is_meta or tensor.numel() == 0 or isinstance(tensor, FakeTensor)


def _fill_(tensor: Tensor, law: Law, key: Key, box: Box | None = None) -> None:
    try:
        fill_(tensor, law, key, box)
    except InvalidValueError as error:  # such as overlapping entries, for which torch raises RuntimeError
        raise DrawError(error.fact, context=error.context, fix=error.fix) from None


def _draw_complex_(tensor: Tensor, law: Law, key: Key) -> None:
    """Both parts as ``Tensor.normal_`` and ``Tensor.uniform_`` have them.

    A normal law is dealt out with half of the variance to each part, around a real mean; others hold for each part.
    """
    parts = torch.view_as_real(tensor.detach())
    if law.kind is not Kind.NORMAL:
        _fill_(parts, law, key)
        return
    mean, std = law.parameters
    _fill_(parts, Law.normal(0.0, std / math.sqrt(2.0)), key)
    parts[..., 0] += mean


def _is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    sharding = sys.modules.get("torch.distributed.tensor")  # where it was not imported there is no DTensor
    return sharding is not None and isinstance(tensor, sharding.DTensor)


def _fill_shard_(tensor: "DTensor", law: Law, key: Key) -> None:
    """Each rank draws its own part alone; all of it where the placements do not say which that is."""
    try:
        mine = pieces(tensor)
    except ShardError:
        _write_shard_(tensor, values(law, key, Box.whole(tensor.shape)))
        return
    for view, box in mine:
        _fill_(view, law, key, box)
    increment_version(tensor)


def _write_shard_(tensor: "DTensor", full: Tensor) -> None:
    """Each rank makes the full values and keeps its own part, without communication."""
    from torch.distributed.tensor import distribute_tensor

    full = full.to(device=tensor.to_local().device, dtype=tensor.dtype)
    mine: Any = distribute_tensor(full, tensor.device_mesh, tensor.placements, src_data_rank=None)
    with torch.no_grad():
        tensor.copy_(mine)


def _drawn_key(tensor: Tensor, generator: torch.Generator | None) -> Key:
    """A key from a generator; for a sharded tensor that of the mesh's first rank, which all ranks draw from."""
    seed = drawn_seed(tensor, generator)
    if not _is_sharded(tensor):
        return Key(seed, "")
    mesh = tensor.device_mesh
    number = torch.tensor(seed, dtype=torch.int64, device=tensor.to_local().device)
    for group in mesh.get_all_groups():
        torch.distributed.broadcast(number, src=torch.distributed.get_global_rank(group, 0), group=group)
    return Key(int(number.item()), "")
