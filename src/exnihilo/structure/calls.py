"""Which module gave out which tensor while a copy of a model ran."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from exnihilo.structure.names import canonical_modules
from exnihilo.structure.recording import Call, Event


class Calls:
    """Notes each call of a module while ``noted`` is active."""

    def __init__(self, events: list[Event]) -> None:
        self._events = events
        self._counts: Counter[str] = Counter()
        self._calls: list[Call] = []

    @contextmanager
    def noted(self, model: nn.Module) -> Generator[None]:
        """Hook the modules of a copy; hooks of their own come first, so that the last word is seen."""
        paths: dict[int, list[str]] = {}
        modules = canonical_modules(model)
        for path, module in modules.items():
            paths.setdefault(id(module), []).append(path)
        hooks = [
            module.register_forward_hook(partial(self._note, paths[id(module)]), with_kwargs=True)
            for module in {id(module): module for module in modules.values()}.values()
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def made(self) -> tuple[Call, ...]:
        """What each module gave out."""
        return tuple(replace(call, alone=call.alone and self._counts[call.module] == 1) for call in self._calls)

    def _note(self, paths: list[str], module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        path = paths[0]
        self._counts[path] += 1
        if isinstance(module, nn.MultiheadAttention):
            # It computes by the weight of its last map, which it does not call.
            self._calls.append(Call(f"{path}.out_proj".removeprefix("."), output[0], len(self._events), alone=False))
        # What writes into its argument may be called for that, and its result thrown away.
        elif isinstance(output, Tensor) and not any(given is output for given in (*args, *kwargs.values())):
            self._calls.append(Call(path, output, len(self._events), alone=len(paths) == 1))
