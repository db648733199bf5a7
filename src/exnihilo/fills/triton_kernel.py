"""Fills on a CUDA device, by Triton: which kernel runs over which memory.

The bits are those of the compiled kernel and the reference. Speed was not measured on a GPU; by the count of a kernel's
instructions it is bound by arithmetic, most of it the cipher's, and not by memory.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from exnihilo.fills import reference, triton_tiles
from exnihilo.fills.box import Box, merged
from exnihilo.fills.key import Key
from exnihilo.fills.laws import Law

# A program makes this many elements, four blocks of the cipher a thread: independent work hides the rounds' latency.
SIZE = 1024
LAUNCH = {"num_warps": 4, "enable_fp_fusion": False, "sanitize_overflow": False}
# Dims that one launch of the scattering kernel walks; few strides need more once neighbors are joined.
_DIMS = 4

# Memory, key, the law's parameters and its kind: what every launch begins with.
_Fill = tuple[Tensor, int, tuple[float, ...], int]


def fill_(tensor: Tensor, law: Law, key: Key, box: Box) -> None:
    """Write the elements of a law into a plain tensor on a CUDA device.

    Rows that are contiguous in memory and by index are written by whole tiles, both words of a block used. Any other
    strides, and rows too short for that, cost the cipher once an element.

    Args:
        tensor: Of at least one element; float32, float64, bfloat16 or float16; any strides without overlap.
        law: Of one element; not a constant.
        key: What the elements depend on, next to their index.
        box: Which part of the full logical tensor ``tensor`` is.
    """
    what = (tensor, _signed(key.word), law.parameters, int(law.kind))
    dims = list(zip(*merged(tensor.shape, box.strides, tensor.stride()), strict=True))
    width, *steps = dims[-1]
    is_in_rows = steps == [1, 1] and (len(dims) == 1 or (len(dims) == 2 and width >= 2 * SIZE))
    with _current(tensor.device):
        if is_in_rows:
            rows, index_step, memory_step = dims[0] if len(dims) == 2 else (1, 0, 0)
            _launch_rows(what, box.start, rows, width, index_step, memory_step)
        else:
            _launch_scattered(what, box.start, 0, dims)


def agrees(device: torch.device) -> bool:
    """Whether the kernel gives the reference's bits on a device, by two laws that use every operation of all.

    Raises:
        Exception: Triton cannot compile or run there; of what kind, is its own choice.
    """
    key, tiles = Key(0, "probe"), torch.arange(4, device=device)
    for law in (Law.normal(), Law.truncated_normal(upper=5.0)):
        made = torch.empty(len(tiles) * reference.TILE, dtype=torch.float32, device=device)
        fill_(made, law, key, Box.whole(made.shape))
        expected = reference.tiles(law, [key.word], tiles).flatten()
        if not torch.equal(made.view(torch.int32), expected.view(torch.int32)):
            return False
    return True


def _current(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device; its interpreter's tensors are on the CPU."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def _launch_rows(what: _Fill, first: int, rows: int, width: int, index_step: int, memory_step: int) -> None:
    # Where a row begins inside its first program: always at one place, or anywhere.
    skipped = SIZE - 1 if index_step % SIZE else first % SIZE
    programs = -(-(skipped + width) // SIZE)
    _launch(triton_tiles.fill_rows, rows * programs, *what, first, width, index_step, memory_step, programs)


def _launch_scattered(what: _Fill, first: int, offset: int, dims: list[tuple[int, int, int]]) -> None:
    if len(dims) > _DIMS:
        size, index_step, memory_step = dims[0]
        for i in range(size):
            _launch_scattered(what, first + i * index_step, offset + i * memory_step, dims[1:])
        return
    sizes, index_steps, memory_steps = zip(*[(1, 0, 0)] * (_DIMS - len(dims)), *dims, strict=True)
    n = math.prod(sizes)
    steps = (*index_steps, *memory_steps)
    _launch(triton_tiles.fill_scattered, -(-n // SIZE), *what, first, offset, n, *sizes[1:], *steps)


def _launch(kernel: Any, programs: int, *arguments: object) -> None:
    kernel[(programs,)](*arguments, SIZE=SIZE, **LAUNCH)


def _signed(word: int) -> int:
    return word - 2**64 if word >= 2**63 else word
