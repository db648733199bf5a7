"""Stand-ins for what PyTorch's functions find in their own modules, where no operation tells what a factory asks for.

``trunc_normal_`` draws again until nothing lies beyond its bounds, and is told by its arguments. Seeds and states are
given to a generator, and a DLPack capsule is made, without any operation.
"""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import init
from torch.utils import dlpack
from torch.utils._python_dispatch import _disable_current_modes  # pyright: ignore[reportPrivateUsage]

from exnihilo.construction.geometry import is_plain
from exnihilo.construction.laws import cut
from exnihilo.construction.recorder import Recorder

_lock = threading.Lock()
_recorders: dict[int, list[Recorder]] = {}
_replaced: list[tuple[Any, str, Any]] = []


@contextmanager
def stood_in(recorder: Recorder) -> Generator[None]:
    """Within the block, the stand-ins tell the recorder of what this thread does; for other threads all is as ever."""
    thread = threading.get_ident()
    with _lock:
        _recorders.setdefault(thread, []).append(recorder)
        if not _replaced:
            _replaced.extend((owner, name, getattr(owner, name)) for owner, name, _ in _STAND_INS)
            for (owner, name, original), (_, _, stand_in) in zip(_replaced, _STAND_INS, strict=True):
                setattr(owner, name, stand_in(original))
    try:
        yield
    finally:
        with _lock:
            _recorders[thread].pop()
            if not _recorders[thread]:
                del _recorders[thread]
            if not _recorders:
                for owner, name, original in _replaced:
                    setattr(owner, name, original)
                _replaced.clear()


def _recorder() -> Recorder | None:
    """The recorder of this thread."""
    with _lock:
        found = _recorders.get(threading.get_ident())
        return found[-1] if found else None


def _truncating(drawing: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def noted(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any = None) -> Tensor:
        recorder = _recorder()
        if recorder is None:
            return drawing(tensor, mean, std, a, b, generator)
        return recorder.note(tensor, cut(mean, std, a, b), "trunc_normal_", generator)

    return noted


def _capsuling(capsuled: Callable[[Tensor], Any]) -> Callable[[Tensor], Any]:
    def checked(tensor: Tensor) -> Any:
        recorder = _recorder()
        if recorder is not None and is_plain(tensor):
            recorder.require_known(tensor, "to_dlpack")
        return capsuled(tensor)

    return checked


class _Seeded:
    """The global generator: what a factory asks of it is done, and seeds and states are told to the recorder."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def get_state(self) -> Tensor:
        with _disable_current_modes():  # the state is no tensor that the factory makes
            state, recorder = self._generator.get_state(), _recorder()
            if recorder is not None:
                recorder.stream.taken(state, _bytes(state))
            return state

    def set_state(self, state: Tensor) -> None:
        self._moved(lambda: self._generator.set_state(state), state)

    def manual_seed(self, seed: int) -> torch.Generator:
        return self._moved(lambda: self._generator.manual_seed(seed))

    def seed(self) -> int:
        return self._moved(self._generator.seed)

    def _moved(self, move: Callable[[], Any], state: Tensor | None = None) -> Any:
        recorder = _recorder()
        with _disable_current_modes():
            before = _bytes(self._generator.get_state())
            result = move()
            if recorder is not None:
                recorder.stream.put(before, _bytes(self._generator.get_state()), state)
        return result


def _bytes(state: Tensor) -> bytes:
    return state.numpy().tobytes()


# The owner, the name, and what is made to stand there of what stood there. PyTorch's functions look names up when they
# are called, also where somebody took the functions themselves before; of `to_dlpack` only the name itself is replaced.
_STAND_INS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (init, "_no_grad_trunc_normal_", _truncating),
    (torch.random, "default_generator", _Seeded),
    (dlpack, "to_dlpack", _capsuling),
    (torch, "to_dlpack", _capsuling),
)
