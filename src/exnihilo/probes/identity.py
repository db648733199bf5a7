"""Whether each residual branch adds nothing at the start, seen by running the model."""

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from exnihilo.errors import ReadError
from exnihilo.probes.records import BranchIdentity, Certificate
from exnihilo.structure.junctions import Junction
from exnihilo.structure.reader import read_with_junctions
from exnihilo.structure.recording import COUNTED_OUT, settled
from exnihilo.structure.running import Run, observe, require_values, run


def certify(model: nn.Module, example: Any) -> Certificate:
    """For each residual branch whether the model's sum is exactly the shortcut, and the largest deviation.

    A copy of the model runs twice: once without memory where that works, to find the sums, and once with its values,
    to compare each sum with its shortcut, bit for bit. The model is left as it was.

    Args:
        model: A module with values, in the mode (training or not) that it is to be certified in.
        example: What the model is called with, as in ``read``.

    Raises:
        ReadError: The model does not run on the example, or has no values.

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)
        ...     def forward(self, x):
        ...         return x + self.down(torch.relu(self.up(x)))
        >>> block = Block()
        >>> certify(block, torch.ones(1, 4)).exact
        False
        >>> _ = [nn.init.zeros_(p) for p in block.down.parameters()]
        >>> print(certify(block, torch.ones(1, 4)))
        Block: 1 of 1 residual branches are exactly their shortcut
    """
    require_values(model)
    seen = run(model, example, modes=("fake", "real"))
    comparison = _compared(model, example, seen)
    if comparison is None:  # the real run took another way than the fake one: take the real one's own sums
        seen = run(model, example, modes=("real",))
        comparison = _compared(model, example, seen)
    if comparison is None:
        raise ReadError(
            f"Two runs of {type(model).__name__} on one example made different operations.",
            context=["its forward depends on something besides the input and its own state"],
            fix="make the forward deterministic, for example with model.eval()",
        )
    return comparison


def _compared(model: nn.Module, example: Any, seen: Run) -> Certificate | None:
    structure, junctions = read_with_junctions(model, seen)
    watch = _Watch(junctions, [event.function for event in seen.recording.events])
    observe(model, example, watch, training=seen.reading.training)
    if watch.strayed:
        return None
    branches = tuple(
        BranchIdentity(
            index=branch.index, name=branch.name, shortcut=branch.shortcut, exact=exact, deviation=most, relative=share
        )
        for branch, (exact, most, share) in zip(structure.branches, watch.differences, strict=True)
    )
    return Certificate(model=structure.model, branches=branches)


# How often autograd takes an alias depends on who else holds the tensor, and a recording holds them all.
_UNCOUNTED = COUNTED_OUT | {torch.ops.aten.detach.default, torch.ops.aten.alias.default}


class _Watch(TorchDispatchMode):
    """Keeps the shortcut at each branch's first sum, and compares the last sum with it."""

    def __init__(self, junctions: list[Junction], expected: list[Any]) -> None:
        super().__init__()
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
        self._found: dict[int, tuple[bool, float, float]] = {}
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
                self._found[number] = _difference(out, self._kept.pop(number))
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
    def differences(self) -> list[tuple[bool, float, float]]:
        """Of each junction: equal bits, largest difference, and that over the shortcut's root mean square."""
        return [self._found[number] for number in range(len(self._junctions))]


def _difference(out: Tensor, shortcut: Tensor) -> tuple[bool, float, float]:
    exact = torch.equal(out, shortcut)
    if exact:
        return True, 0.0, 0.0
    most = float((out.double() - shortcut.double()).abs().max())
    scale = float(shortcut.double().square().mean().sqrt())
    return False, most, most / scale if scale > 0 else math.nan
