"""Calls that PyTorch does not run as operations: tensors of given values, and reads of values past the operations."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from exnihilo.construction.geometry import is_plain

# They write their values where they are told to; on a device without memory these are lost.
_MAKING = (torch.tensor, torch.as_tensor, torch.asarray, Tensor.new_tensor)
_READING = (Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__dlpack__)
_KINDS: dict[Callable[..., Any], str] = {**dict.fromkeys(_MAKING, "making"), **dict.fromkeys(_READING, "reading")}


class Calls(TorchFunctionMode):
    """While it is entered, these calls make tensors on the CPU, and read no value that would be drawn.

    Args:
        require_known: Raises where a tensor would be drawn, naming what reads it; else its values are in memory.
    """

    def __init__(self, require_known: Callable[[Tensor, str], None]) -> None:
        super().__init__()
        self._require_known = require_known

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        match _KINDS.get(func):
            case None:
                return func(*args, **(kwargs or {}))
            case "making":
                return _made_on_cpu(func, args, kwargs or {})
            case _:
                for tensor in filter(is_plain, args):
                    self._require_known(tensor, func.__name__.strip("_"))
                return func(*args, **(kwargs or {}))


def _made_on_cpu(func: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """A tensor of given values: on the CPU, whatever device it is asked for, or is the default at the moment."""
    given = args[0] if args else next((kwargs[name] for name in ("data", "obj") if name in kwargs), None)
    is_there = isinstance(given, Tensor) and not kwargs.get("device")
    return func(*args, **(kwargs if is_there else {**kwargs, "device": torch.device("cpu")}))
