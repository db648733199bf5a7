"""Parts and copies of a batch, whatever containers hold its tensors."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

from torch import Tensor
from torch.utils._pytree import tree_map

from exnihilo.structure.recording import tensors_in


def cut(batch: Any, samples: int) -> Any | None:
    """The first samples of a batch; None where it has no more, or does not tell where its samples lie.

    Samples lie along the first dim, whose size most tensors of the batch share.

    Example:
        >>> import torch
        >>> x, y = cut((torch.zeros(32, 4), torch.zeros(32)), 8)
        >>> x.shape, y.shape
        (torch.Size([8, 4]), torch.Size([8]))
    """
    size = num_samples_of(batch)
    return _sliced(batch, 0, size, samples) if size > samples else None


def num_samples_of(batch: Any) -> int:
    """The size that most of a batch's tensors share in their first dim."""
    sizes = [tensor.shape[0] for tensor in tensors_in(batch) if tensor.dim()]
    return max(set(sizes), key=sizes.count) if sizes else 1


def _sliced(value: Any, dim: int, size: int, kept: int) -> Any:
    """Every tensor that has this size in this dim, cut in it."""
    if isinstance(value, Tensor):
        return value.narrow(dim, 0, kept) if value.dim() > dim and value.shape[dim] == size else value
    if isinstance(value, Mapping):
        entries = {key: _sliced(entry, dim, size, kept) for key, entry in value.items()}
        try:
            return cast("Any", type(value))(entries)  # such as a tokenizer's output, whose entries are attributes too
        except Exception:  # a class of its own that is made otherwise
            return entries
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_sliced(entry, dim, size, kept) for entry in value))
    if isinstance(value, list | tuple):
        return type(value)(_sliced(entry, dim, size, kept) for entry in value)
    return value


def copied(batch: Any, stand_in: Callable[[Tensor], Tensor]) -> Any:
    """A copy of a batch whose tensors are replaced; what cannot be copied is copied as far as its containers go."""
    try:
        return copy.deepcopy(batch, {id(tensor): stand_in(tensor) for tensor in tensors_in(batch)})
    except Exception:  # whatever an object's own code raises
        return tree_map(partial(_replaced, stand_in), batch)


def _replaced(stand_in: Callable[[Tensor], Tensor], leaf: Any) -> Any:
    return stand_in(leaf) if isinstance(leaf, Tensor) else leaf
