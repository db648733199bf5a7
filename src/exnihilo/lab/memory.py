"""Where the tensors of a stack lie: each run's part at a 64-byte border, in buffers that every step writes again.

A tensor of a few hundred kilobytes that is made anew at every step costs more than what is computed in it: the system
hands out its pages one fault at a time.
"""

from math import prod

import torch
from torch import Tensor

# PyTorch's CPU allocator starts every tensor at a multiple of this.
ALIGNMENT_BYTES = 64
ALIGNMENT = ALIGNMENT_BYTES // torch.float32.itemsize


def aligned_empty(*shape: int) -> Tensor:
    """An uninitialized float32 tensor ``[R, ...]``, dense in each run, each run's part at a 64-byte border."""
    runs, size = shape[0], prod(shape[1:])
    padded = -(-size // ALIGNMENT) * ALIGNMENT
    inner = torch.empty(shape[1:], device="meta").stride()
    return torch.empty(runs * padded).as_strided(shape, (padded, *inner))


def aligned(tensor_R: Tensor) -> Tensor:
    """The tensor itself where each run's part is dense and starts at a 64-byte border, else such a copy."""
    starts = tensor_R.data_ptr() % ALIGNMENT_BYTES == 0
    steps = tensor_R.shape[0] == 1 or tensor_R.stride(0) % ALIGNMENT == 0
    if starts and steps and tensor_R[0].is_contiguous():
        return tensor_R
    return aligned_empty(*tensor_R.shape).copy_(tensor_R)


class Buffers:
    """Aligned tensors that live as long as the stack, one for each use and shape."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, tuple[int, ...]], Tensor] = {}

    def take(self, use: str, *shape: int) -> Tensor:
        """The tensor of this use and shape, with whatever was last written into it."""
        if (use, shape) not in self._kept:
            self._kept[use, shape] = aligned_empty(*shape)
        return self._kept[use, shape]
