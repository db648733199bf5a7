"""What residual sums hold while the model runs with its values: each sum beside its shortcut."""

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from exnihilo.errors import ReadError
from exnihilo.structure.junctions import Junction
from exnihilo.structure.reader import read_with_junctions
from exnihilo.structure.recording import COUNTED_OUT, settled
from exnihilo.structure.records import Branch, Structure
from exnihilo.structure.running import Run, observe, require_values, run

T = TypeVar("T")

# Called with the branch, its sum, and the shortcut that went into the sum.
Measure = Callable[[Branch, Tensor, Tensor], T]


def at_sums(model: nn.Module, example: Any, measure: Measure[T]) -> tuple[Structure, list[T]]:
    """What a function of sum and shortcut says at each residual branch, in the order of the structure's branches.

    A copy of the model runs twice: once without memory where that works, to find the sums, and once with its values.
    The model is left as it was.

    Args:
        model: A module with values, in the mode (training or not) that it is to be measured in.
        example: What the model is called with, as in ``read``.
        measure: Called with a branch, its sum, and the shortcut that went into it, in the order of execution. What it
            writes into the sum is what the rest of the copy's run sees.

    Raises:
        ReadError: The model does not run on the example, has no values, or runs otherwise each time.
    """
    require_values(model)
    found = _measured(model, example, run(model, example, modes=("fake", "real")), measure)
    if found is None:  # the real run took another way than the fake one: take the real one's own sums
        found = _measured(model, example, run(model, example, modes=("real",)), measure)
    if found is None:
        raise ReadError(
            f"Two runs of {type(model).__name__} on one example made different operations.",
            context=["its forward depends on something besides the input and its own state"],
            fix="make the forward deterministic, for example with model.eval()",
        )
    return found


def _measured(model: nn.Module, example: Any, seen: Run, measure: Measure[T]) -> tuple[Structure, list[T]] | None:
    structure, junctions = read_with_junctions(model, seen)
    measures = [partial(measure, branch) for branch in structure.branches]
    watch = _Watch(junctions, [event.function for event in seen.recording.events], measures)
    observe(model, example, watch, training=seen.reading.training)
    return None if watch.strayed else (structure, watch.measured)


# How often autograd takes an alias depends on who else holds the tensor, and a recording holds them all.
_UNCOUNTED = COUNTED_OUT | {torch.ops.aten.detach.default, torch.ops.aten.alias.default}


class _Watch(TorchDispatchMode, Generic[T]):
    """Keeps the shortcut at each branch's first sum, and measures at the last sum."""

    def __init__(
        self, junctions: list[Junction], expected: list[Any], measures: Sequence[Callable[[Tensor, Tensor], T]]
    ) -> None:
        super().__init__()
        self._measures = measures
        self._expected = [function for function in expected if function not in _UNCOUNTED]
        counted = list(itertools.accumulate(function not in _UNCOUNTED for function in expected))
        self._begins: dict[int, list[int]] = {}
        self._ends: dict[int, list[int]] = {}
        self._junctions = junctions
        for number, junction in enumerate(junctions):
            self._begins.setdefault(counted[junction.first.event] - 1, []).append(number)
            self._ends.setdefault(counted[junction.op.event] - 1, []).append(number)
        self._kept: dict[int, Tensor] = {}
        self._at = 0
        self._found: dict[int, T] = {}
        self._strays = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation, and look at it where a branch begins or ends."""
        if func in _UNCOUNTED:
            return func(*args, **(kwargs or {}))
        at = self._at
        self._at += 1
        self._strays = self._strays or at >= len(self._expected) or self._expected[at] is not func
        if not self._strays:
            for number in self._begins.get(at, ()):
                self._kept[number] = args[self._place(number)].clone()
        out = settled(func, func(*args, **(kwargs or {})))
        if not self._strays:
            for number in self._ends.get(at, ()):
                self._found[number] = self._measures[number](out, self._kept.pop(number))
        return out

    def _place(self, number: int) -> int:
        """Which argument of the first sum is the shortcut; of a fused sum it is the first."""
        junction = self._junctions[number]
        return 1 if len(junction.first.args) > 1 and junction.first.args[1] == junction.shortcut else 0

    @property
    def strayed(self) -> bool:
        """The run's operations were not the expected ones."""
        return self._strays or self._at != len(self._expected)

    @property
    def measured(self) -> list[T]:
        """What was measured at each junction."""
        return [self._found[number] for number in range(len(self._junctions))]
