"""``torch.nn.init.trunc_normal_``, which draws again until nothing lies beyond the bounds: told by its arguments."""

import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn import init

from exnihilo.construction.laws import cut
from exnihilo.construction.recorder import Recorder

# The inner function is found when it is called, also by code that took `trunc_normal_` itself when it was imported.
_INNER = "_no_grad_trunc_normal_"

_lock = threading.Lock()
_recorders: dict[int, list[Recorder]] = {}
_replaced: list[Callable[..., Tensor]] = []


@contextmanager
def truncated_noted(recorder: Recorder) -> Generator[None]:
    """Within the block, ``trunc_normal_`` of this thread leaves a note with the recorder; other threads draw."""
    thread = threading.get_ident()
    with _lock:
        _recorders.setdefault(thread, []).append(recorder)
        if not _replaced:
            _replaced.append(getattr(init, _INNER))
            setattr(init, _INNER, _noted)
    try:
        yield
    finally:
        with _lock:
            _recorders[thread].pop()
            if not _recorders[thread]:
                del _recorders[thread]
            if not _recorders:
                setattr(init, _INNER, _replaced.pop())


def _noted(tensor: Tensor, mean: float, std: float, a: float, b: float, generator: Any = None) -> Tensor:
    with _lock:
        recorders, drawing = _recorders.get(threading.get_ident()), _replaced[-1] if _replaced else None
    if recorders:
        return recorders[-1].note(tensor, cut(mean, std, a, b), "trunc_normal_")
    return (drawing or getattr(init, _INNER))(tensor, mean, std, a, b, generator)
