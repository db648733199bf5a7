"""The parameters that a model has now: by canonical name, with the fingerprints that a plan must find again."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError, StalePlanError
from exnihilo.plans.records import Row
from exnihilo.structure.folding import folded
from exnihilo.structure.names import as_attribute, canonical_names


def live_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """Every name of every parameter, canonical, in the model's order; tied names share one parameter."""
    names = canonical_names(model)
    return {names[path]: parameter for path, parameter in model.named_parameters(remove_duplicate=False)}


def keep_identity(parameter: nn.Parameter, new: nn.Parameter) -> None:
    """Give a parameter's class, attributes and hooks to the one that takes its place."""
    new.__class__ = type(parameter)
    vars(new).update(vars(parameter))
    # The very dicts: a handle that the hooks' owner kept still removes them.
    new._backward_hooks = parameter._backward_hooks
    after = "_post_accumulate_grad_hooks"
    setattr(new, after, getattr(parameter, after))


def ties(live: Mapping[str, nn.Parameter]) -> dict[str, str | None]:
    """The owner's name for each tied name, None for owners: the first name of each tensor."""
    owners: dict[int, str] = {}
    return {
        name: None if owners.setdefault(id(parameter), name) == name else owners[id(parameter)]
        for name, parameter in live.items()
    }


def require_separate(live: Mapping[str, nn.Parameter]) -> None:
    """Raise InvalidValueError where two parameters share memory: a write to the one would be a write to the other.

    One parameter under two names is a tie, and no such case. Tensors without memory of their own cannot be told.
    """
    by_storage: dict[int, list[tuple[int, int, str]]] = {}
    tied = ties(live)
    for name, parameter in live.items():
        if tied[name] is None and _has_memory(parameter):
            start = int(parameter.storage_offset()) * parameter.element_size()
            end = start + _extent(parameter) * parameter.element_size()
            by_storage.setdefault(parameter.untyped_storage().data_ptr(), []).append((start, end, name))
    for spans in by_storage.values():
        for (_, end, first), (start, _, second) in pairwise(sorted(spans)):
            if start < end:
                order = list(live)
                owner, other = sorted((first, second), key=order.index)
                raise InvalidValueError(
                    f"'{owner}' and '{other}' are two parameters that share memory: what is written to the one "
                    "would change the other.",
                    context=["a tie is one parameter under two names; sharing through .data is not seen as one"],
                    fix=f"{as_attribute(other)} = {as_attribute(owner)}",
                )


def _has_memory(parameter: nn.Parameter) -> bool:
    # A wrapper such as a sharded tensor passes for a Parameter, yet its class is none, and its storage is empty.
    is_plain = nn.Parameter in type(parameter).__mro__ and parameter.layout is torch.strided
    return is_plain and parameter.numel() > 0 and parameter.untyped_storage().device.type != "meta"


def _extent(parameter: nn.Parameter) -> int:
    """Entries of the storage from the first to the last that the parameter holds."""
    return 1 + sum((size - 1) * stride for size, stride in zip(parameter.shape, parameter.stride(), strict=True))


def dtype_name(parameter: Tensor) -> str:
    """Such as ``"float32"``."""
    return str(parameter.dtype).removeprefix("torch.")


def fingerprint(name: str, shape: tuple[int, ...], dtype: str, tied_to: str | None, *, frozen: bool) -> str:
    """Sixteen hex digits of what must be so when a plan is applied; not of the values."""
    told = json.dumps([name, shape, dtype, tied_to, frozen])
    return hashlib.blake2b(told.encode(), digest_size=8).hexdigest()


def live_fingerprints(live: Mapping[str, nn.Parameter]) -> dict[str, str]:
    """The fingerprint of each parameter as it is now."""
    tied = ties(live)
    return {
        name: fingerprint(name, tuple(p.shape), dtype_name(p), tied[name], frozen=not p.requires_grad)
        for name, p in live.items()
    }


def require_current(rows: Sequence[Row], model: nn.Module, live: Mapping[str, nn.Parameter]) -> None:
    """Raise StalePlanError where the parameters of a model are not those that the rows were made for."""
    now, tied = live_fingerprints(live), ties(live)
    planned = {row.parameter: row for row in rows}
    differing: list[tuple[str, str]] = []
    for row in rows:
        if row.parameter not in now:
            differing.append((row.parameter, f"planned {_planned(row)}, now missing"))
        elif now[row.parameter] != row.fingerprint:
            found = _found(live[row.parameter], tied[row.parameter])
            differing.append((row.parameter, f"planned {_planned(row)}, now {found}"))
    for name, parameter in live.items():
        if name not in planned:
            differing.append((name, f"not planned, now {_found(parameter, tied[name])}"))
    if differing:
        count = f"{len(differing)} parameter differs" if len(differing) == 1 else f"{len(differing)} parameters differ"
        lines = folded(differing, lambda entry: entry[0], lambda entry: entry[1])
        raise StalePlanError(
            f"The plan was made for another {type(model).__name__}: {count}. Nothing was written.",
            context=[f"{pattern}: {entry[1]}" for pattern, entry, _ in lines],
            fix="plan = exnihilo.plan(model, recipe, example=example)",
        )


def _planned(row: Row) -> str:
    return _facts(row.shape, row.dtype, row.tied_to, frozen=row.frozen)


def _found(parameter: nn.Parameter, tied_to: str | None) -> str:
    return _facts(tuple(parameter.shape), dtype_name(parameter), tied_to, frozen=not parameter.requires_grad)


def _facts(shape: tuple[int, ...], dtype: str, tied_to: str | None, *, frozen: bool) -> str:
    tie = f" tied to '{tied_to}'" if tied_to else ""
    return f"{shape} {dtype}{tie}{' frozen' if frozen else ''}"
