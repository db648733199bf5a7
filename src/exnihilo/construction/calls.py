"""Calls that PyTorch does not run as operations: tensors of given values, and reads of values past the operations."""

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from exnihilo.construction.geometry import is_plain
from exnihilo.construction.laws import Known
from exnihilo.construction.memory import Memory

# They write their values where they are told to; on a device without memory these are lost.
_MAKING = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
_READING = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)
# They call a Python function for each entry, and write what it returns.
_REWRITING = (Tensor.apply_, Tensor.map_, Tensor.map2_)
# By these, pickle and `torch.save` come to the storage that they read, and `copy.copy` to the one that it shares.
_REDUCING = (Tensor.__reduce_ex__, Tensor.untyped_storage)
_KINDS: dict[Callable[..., Any], str] = {
    func: kind
    for kind, functions in {
        "making": _MAKING,
        "reading": _READING,
        "rewriting": _REWRITING,
        "reducing": _REDUCING,
    }.items()
    for func in functions
}


class Calls(TorchFunctionMode):
    """While it is entered, these calls make tensors on the CPU, and read no value that would be drawn.

    Args:
        memory: What each storage holds.
        require_known: Raises where a tensor would be drawn, naming what reads it; else its values are in memory.
    """

    def __init__(self, memory: Memory, require_known: Callable[[Tensor, str], None]) -> None:
        super().__init__()
        self._memory = memory
        self._require_known = require_known

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kind = _KINDS.get(func)
        if kind is None:
            return func(*args, **(kwargs or {}))
        if kind == "making":
            for tensor in _listed((*args, *(kwargs or {}).values())):
                self._require_known(tensor, func.__name__)
            return _made_on_cpu(func, args, kwargs or {})
        if kind != "reducing" or _is_pickled():
            for tensor in filter(is_plain, args):
                self._require_known(tensor, "pickle" if kind == "reducing" else func.__name__.strip("_"))
        result = func(*args, **(kwargs or {}))
        if kind == "rewriting" and is_plain(args[0]):
            self._memory.write(args[0], Known())
        return result


def _made_on_cpu(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A tensor of given values: on the CPU, whatever device it is asked for, or is the default at the moment."""
    given = args[0] if args else next((kwargs[name] for name in ("data", "obj") if name in kwargs), None)
    is_there = isinstance(given, Tensor) and not kwargs.get("device")
    return func(*args, **(kwargs if is_there else {**kwargs, "device": torch.device("cpu")}))


def _listed(given: Sequence[Any]) -> list[Tensor]:
    """The tensors in lists of given values: a tensor that is not in a list is read by an operation."""
    nested = [value for value in given if isinstance(value, list | tuple)]
    inner = [value for values in nested for value in values if not isinstance(value, int | float)]
    return [value for value in inner if is_plain(value)] + (_listed(inner) if inner else [])


def _is_pickled() -> bool:
    """The call is part of a tensor's reduction, and what reduces it is not ``copy.copy``."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not Tensor.__reduce_ex__.__code__:
        frame = frame.f_back
    caller = frame.f_back if frame else None
    return caller is not None and caller.f_code is not copy.copy.__code__
