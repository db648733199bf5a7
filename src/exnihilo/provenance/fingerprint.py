"""The verb ``fingerprint``: what a model holds, in 32 hex digits that equal models share."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.plans.live import dtype_name, live_parameters
from exnihilo.plans.scattering import gathered
from exnihilo.plans.values import digest
from exnihilo.provenance.records import Fingerprint, TensorDigest
from exnihilo.structure.folding import folded
from exnihilo.structure.names import canonical_modules

_Kind = Literal["parameter", "buffer"]


class Held(NamedTuple):
    """A tensor of a model, with its canonical names, sorted."""

    names: tuple[str, ...]
    kind: _Kind
    tensor: Tensor


def fingerprint(model: nn.Module) -> Fingerprint:
    """Digests of all that a model's checkpoint would hold: parameters, and the buffers that are saved with them.

    Covered are canonical names, ties, shapes, dtypes and bits. Not covered: the order in which a model lists its
    tensors, strides, devices, ``requires_grad``, buffers that are not saved, and what wrappers such as
    ``torch.compile``, DistributedDataParallel, ``fully_shard`` or activation checkpointing add to a name.

    A tensor that is contiguous on the CPU is hashed where it lies, any other in parts; large ones in as many threads as
    PyTorch uses. A sharded parameter (a DTensor) is gathered whole, one at a time, by its ``full_tensor()``: where
    there is one, every process of its mesh must call ``fingerprint``, and each gets the same.

    Args:
        model: Any module with values.

    Raises:
        InvalidValueError: Parameters or buffers have no values (on the meta device, or lazy), are sparse, or are
            slices that FullyShardedDataParallel made.
        ReadError: Two parameters have one canonical name.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> for parameter in model.parameters():
        ...     _ = nn.init.zeros_(parameter)
        >>> print(fingerprint(model))
        253e0399bc3e57c0f5541c1636950590
        >>> fingerprint(model) == fingerprint(nn.DataParallel(model))
        True
        >>> _ = nn.init.ones_(model.bias)
        >>> fingerprint(model).by_name["bias"].digest
        '708f55fe96ad903a4ad13565abb7bd13'
    """
    tensors = held(model)
    _require_values(tensors)
    digests = _digests([entry.tensor for entry in tensors])
    entries = [
        TensorDigest(
            names=entry.names,
            kind=entry.kind,
            shape=tuple(entry.tensor.shape),
            dtype=dtype_name(entry.tensor),
            digest=found,
        )
        for entry, found in zip(tensors, digests, strict=True)
    ]
    return Fingerprint(tensors=tuple(sorted(entries, key=lambda entry: entry.names)))


def held(model: nn.Module) -> list[Held]:
    """Each tensor that a fingerprint covers, once, in the model's order.

    Raises:
        InvalidValueError: FullyShardedDataParallel made slices of them.
    """
    _require_whole(model)
    names: dict[int, list[str]] = {}
    tensors: dict[int, tuple[_Kind, Tensor]] = {}
    for kind, name, tensor in _named(model):
        names.setdefault(id(tensor), []).append(name)
        tensors.setdefault(id(tensor), (kind, tensor))
    return [Held(tuple(sorted(names[key])), kind, tensor) for key, (kind, tensor) in tensors.items()]


def _named(model: nn.Module) -> Iterator[tuple[_Kind, str, Tensor]]:
    for name, parameter in live_parameters(model).items():
        yield "parameter", name, parameter
    for path, module in canonical_modules(model).items():
        unsaved = module._non_persistent_buffers_set  # pyright: ignore[reportPrivateUsage]  # nothing public tells them
        for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
            if name not in unsaved:
                yield "buffer", f"{path}.{name}" if path else name, buffer


def _require_whole(model: nn.Module) -> None:
    """Refuse a wrapper whose slices pass for parameters; told by its name, since importing it takes long."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        raise InvalidValueError(
            "FullyShardedDataParallel holds slices of the parameters, from which none can be told.",
            fix="take the fingerprint before wrapping, or shard by torch.distributed.fsdp.fully_shard",
        )


def _require_values(tensors: Sequence[Held]) -> None:
    empty = [(entry.names[0], _why_empty(entry.tensor)) for entry in tensors]
    lines = folded([entry for entry in empty if entry[1]], lambda entry: entry[0], lambda entry: entry[1])
    if lines:
        count = sum(number for _, _, number in lines)
        noun = "tensor has" if count == 1 else "tensors have"
        raise InvalidValueError(
            f"{count} {noun} no values that could be hashed.",
            context=[f"{pattern} {why}" for pattern, (_, why), _ in lines],
            fix="give the model memory and values, then take its fingerprint",
        )


def _why_empty(tensor: Tensor) -> str:
    if nn.parameter.is_lazy(tensor):
        return "is lazy, and has no shape yet"
    if tensor.is_meta:
        return "is on the meta device"
    if tensor.layout is not torch.strided:
        return f"has the layout {str(tensor.layout).removeprefix('torch.')}"
    return ""


def _digests(tensors: Sequence[Tensor]) -> list[str]:
    """The digest of each; those of this process in threads, the largest first, and those of several one by one."""
    sharded = {i for i, tensor in enumerate(tensors) if hasattr(tensor, "placements")}
    own = sorted(set(range(len(tensors))) - sharded, key=lambda i: -tensors[i].nbytes)
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        waiting = pool.map(digest, [tensors[i] for i in own])
        # All processes gather in one order: that of the model.
        found = {i: digest(_whole(tensors[i])) for i in sorted(sharded)}
        found.update(zip(own, waiting, strict=True))
    return [found[i] for i in range(len(tensors))]


def _whole(sharded: Tensor) -> Tensor:
    values = gathered(sharded)
    if values is None:
        raise InvalidValueError(
            "A parameter is sharded over a mesh that this process is outside of, which has none of its values.",
            fix="take the fingerprint on the processes of the mesh",
        )
    return values
