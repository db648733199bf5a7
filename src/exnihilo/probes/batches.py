"""Parts and copies of a batch, whatever containers hold its tensors."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from exnihilo.structure.recording import tensors_in

# A sequence this long shows a model what it does with one; the rest costs time.
_LENGTH = 64


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some of a batch.

    Args:
        batch: In the containers of the whole.
        num_samples: How many samples it has.
        is_whole: It is all of the batch.
    """

    batch: Any
    num_samples: int
    is_whole: bool = False


def parts(batch: Any, samples: int | None) -> tuple[Part, ...]:
    """What of a batch may be looked at, the smallest part first and all of it last.

    A model's own code may need more than the first samples, or all of a sequence; then the next part must do.

    Args:
        batch: Whatever holds tensors.
        samples: How many samples are enough; None for all of the batch.

    Example:
        >>> import torch
        >>> tokens = {"input_ids": torch.zeros(32, 100, dtype=torch.int64)}
        >>> [tuple(part.batch["input_ids"].shape) for part in parts(tokens, 8)]
        [(8, 64), (8, 100), (32, 100)]
    """
    whole = Part(batch=batch, num_samples=num_samples_of(batch), is_whole=True)
    if samples is None:
        return (whole,)
    found: list[Part] = [whole]
    if whole.num_samples > samples:
        found.insert(0, Part(batch=_sliced(batch, 0, whole.num_samples, samples), num_samples=samples))
    length = _length_of(batch)
    if length > _LENGTH:
        shorter = _sliced(found[0].batch, 1, length, _LENGTH)
        found.insert(0, Part(batch=shorter, num_samples=found[0].num_samples))
    return tuple(found)


def _length_of(batch: Any) -> int:
    """How long the sequences of a batch are: the second dim of its token ids, or of its samples of vectors; else 0."""
    tensors = tensors_in(batch)
    ids = [t.shape[1] for t in tensors if t.dim() == 2 and not t.is_floating_point()]
    vectors = [t.shape[1] for t in tensors if t.dim() == 3 and t.is_floating_point()]
    return max([*ids, *vectors], default=0)


def num_samples_of(batch: Any) -> int:
    """The size that most of a batch's tensors share in their first dim."""
    sizes = [tensor.shape[0] for tensor in tensors_in(batch) if tensor.dim()]
    return max(set(sizes), key=sizes.count) if sizes else 1


def _sliced(value: Any, dim: int, size: int, kept: int) -> Any:
    """Every tensor that has this size in this dim, cut in it."""
    if isinstance(value, Tensor):
        has = value.layout is torch.strided and value.dim() > dim and value.shape[dim] == size
        return value.narrow(dim, 0, kept) if has else value
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
