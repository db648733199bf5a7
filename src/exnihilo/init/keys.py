"""The key of a draw that was not given one: a number from a generator of torch, as ``torch.manual_seed`` governs it."""

import ctypes
import threading

import torch
from torch import Tensor
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.fills.fill import num_modes


class _Scratch(threading.local):
    """One number of memory a thread: to make a tensor, or to ask it for its number, costs as much as the draw."""

    def __init__(self) -> None:
        with torch.inference_mode(mode=False), _disable_current_modes():  # a fake tensor would have no memory
            self.tensor = torch.empty((), dtype=torch.int64, device="cpu")
        self.number = ctypes.c_int64.from_address(self.tensor.data_ptr())


_scratch = _Scratch()


def drawn_seed(tensor: Tensor, generator: torch.Generator | None) -> int:
    """A number in [0, 2**63), the one draw by which a generator advances: the key of the draw is ``Key(number, "")``.

    Without a generator it is torch's default one, of the tensor's device on CUDA and of the CPU elsewhere. A generator
    may be of another device than the tensor: one state gives the same values on all of them.

    Example:
        >>> generator = torch.Generator().manual_seed(0)
        >>> drawn_seed(torch.empty(3), generator) == drawn_seed(torch.empty(3), generator)
        False
    """
    if tensor.is_cuda if generator is None else generator.device.type != "cpu":
        device = tensor.device if generator is None else generator.device
        return int(torch.empty((), dtype=torch.int64, device=device).random_(generator=generator).item())
    if num_modes():  # whoever withholds draws must see that this one is read
        return int(torch.empty((), dtype=torch.int64, device="cpu").random_(generator=generator).item())
    _scratch.tensor.random_(generator=generator)
    return _scratch.number.value


def require_one_source(key: object, generator: torch.Generator | None) -> None:
    """Raise InvalidValueError where a key comes with a generator, or is none."""
    if generator is not None:
        raise InvalidValueError(
            "Both key and generator were given; a draw depends on one of them.",
            context=[f"key={key!r}"],
            fix="normal_(w, key=key), or normal_(w, generator=generator)",
        )
    if not isinstance(key, Key):
        raise InvalidValueError(
            f"key is {key!r} of type {type(key).__name__}; it must be a Key.",
            fix="normal_(w, key=exnihilo.Key(seed=0, name='blocks.0.weight'))",
        )
