"""Fresh memory for what is about to be filled."""

import ctypes
import functools
import mmap
import sys
from collections.abc import Callable

import torch
from torch import Tensor

# Below this, pages of the usual size cost less than the call.
_LARGE = 4 * 2**20


def empty_like(tensor: Tensor, device: torch.device) -> Tensor:
    """Memory for a tensor of the same shape, dtype and strides; large CPU memory is asked for in huge pages.

    The first touch of fresh memory costs as much as its fill: with pages of 2 MiB there are 512 times fewer faults.

    Example:
        >>> empty_like(torch.empty(2, 3, device="meta"), torch.device("cpu")).shape
        torch.Size([2, 3])
    """
    if hasattr(tensor, "placements"):  # a sharded tensor lies on its mesh, whatever else is asked
        sharded = torch.empty_like(tensor, device=tensor.device_mesh.device_type)  # pyright: ignore
        _advise(sharded.to_local())  # pyright: ignore
        return sharded
    fresh = torch.empty_like(tensor.detach(), device=device)
    if fresh.device.type == "cpu":
        _advise(fresh)
    return fresh


def _advise(fresh: Tensor) -> None:
    """Ask for huge pages where the tensor covers whole ones; a request, whose refusal changes nothing but speed."""
    advise = _madvise()
    size = fresh.numel() * fresh.element_size()
    if advise is None or size < _LARGE:
        return
    first = -(-fresh.data_ptr() // mmap.PAGESIZE) * mmap.PAGESIZE
    last = (fresh.data_ptr() + size) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(first, last - first, mmap.MADV_HUGEPAGE)


@functools.cache
def _madvise() -> Callable[[int, int, int], int] | None:
    if sys.platform != "linux" or not hasattr(mmap, "MADV_HUGEPAGE"):
        return None
    function = ctypes.CDLL(None, use_errno=True).madvise
    function.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return function
