"""Sizes and strides of results, found without memory."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.utils._pytree import tree_map


def is_plain(value: object) -> TypeGuard[Tensor]:
    """A tensor whose elements lie in one storage, in the memory of the CPU."""
    if not isinstance(value, Tensor) or is_lazy(value):
        return False
    return value.layout is torch.strided and value.device.type == "cpu"


def without_memory(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """What an operation returns on tensors without memory."""
    # A generator is of one device, and where an operation has one it may have to be named; pinning is of memory.
    replaced = {"device": torch.device("meta"), "generator": None}
    given = {key: replaced.get(key, value) for key, value in kwargs.items() if key != "pin_memory"}
    return func(*tree_map(_emptied, args), **tree_map(_emptied, given))


def _emptied(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")


def like(shaped: Tensor) -> Tensor:
    """Memory for a tensor of that geometry, not touched."""
    return torch.empty_strided(shaped.shape, shaped.stride(), dtype=shaped.dtype, device="cpu")


def is_dense(tensor: Tensor) -> bool:
    """Its elements lie side by side, each once, in whatever order of dims."""
    expected = 1
    for size, stride in sorted(zip(tensor.shape, tensor.stride(), strict=True), key=lambda dim: (dim[1], dim[0])):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def matrix_in_memory(tensor: Tensor) -> tuple[int, int] | None:
    """Rows and columns of a matrix as they lie in memory; None where it is no matrix without gaps."""
    if tensor.dim() != 2:
        return None
    if tensor.is_contiguous():
        return int(tensor.shape[0]), int(tensor.shape[1])
    return (int(tensor.shape[1]), int(tensor.shape[0])) if tensor.t().is_contiguous() else None
