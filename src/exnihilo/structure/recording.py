"""Records what a model computes: every operation below autograd, in order, with the tensors it read and wrote."""

from collections import deque
from dataclasses import dataclass, field, fields, is_dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_RAND: Any = torch.ops.aten.rand.default
_KEEPS = 1.0 - 2.0**-10
# Fake tensors ask for their device through the dispatcher; that is no operation.
COUNTED_OUT: frozenset[Any] = frozenset({torch.ops.prim.device.default})


@dataclass(frozen=True, slots=True)
class Event:
    """One operation as it was called; its tensors are kept alive, so that their identities stay unique."""

    function: OpOverload
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any


@dataclass(frozen=True, slots=True)
class Call:
    """A module that gave out a tensor.

    Args:
        module: Its canonical path.
        tensor: What it gave out, and was not given.
        num_events: How many operations had been noted by then.
        alone: It has one name, gives out this alone and is called for nothing else, so that a hook on it acts here.
    """

    module: str
    tensor: Tensor
    num_events: int
    alone: bool = True


def settled(function: Any, out: Any) -> Any:
    """The result of an operation; a single random number comes out as large as it can."""
    if function is _RAND and out.numel() == 1 and not out.is_meta:
        out.fill_(_KEEPS)
    return out


class Recorder(TorchDispatchMode):
    """Appends every operation to ``events`` while it is active.

    What is computed stays as it was, but for single random numbers that a model draws to decide whether a layer is
    left out: they come out as large as they can, so that no layer is.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation, then note it."""
        out = settled(func, func(*args, **(kwargs or {})))
        if func not in COUNTED_OUT:
            self.events.append(Event(func, args, kwargs or {}, out))
        return out


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One run of a model.

    Args:
        events: The operations in order.
        parameters: The run's tensor of each parameter, by canonical name.
        buffers: Its buffers and other tensors that the model holds.
        inputs: The tensors of the example.
        outputs: The tensors of what the model returned.
        reached: Canonical names of the parameters that a gradient of the outputs reaches.
        recurrent: Canonical names of the weights of ``nn.RNNBase`` and ``nn.RNNCellBase`` modules.
        calls: What each module gave out, in the order in which they ended.
    """

    events: list[Event]
    parameters: dict[str, Tensor]
    buffers: list[Tensor]
    inputs: list[Tensor]
    outputs: list[Tensor]
    reached: frozenset[str]
    recurrent: frozenset[str] = field(default_factory=frozenset)
    calls: tuple[Call, ...] = ()

    @property
    def num_read(self) -> int:
        """How many parameters some operation was given."""
        read = tensors_read(self.events)
        return sum(id(parameter) in read for parameter in self.parameters.values())


def tensors_read(events: list[Event]) -> set[int]:
    """The identities of what the operations were given, tensors among it."""
    given = (value for event in events for value in (*event.args, *event.kwargs.values()))
    return {id(leaf) for value in given for leaf in (value if isinstance(value, list | tuple) else (value,))}


def tensors_in(value: Any) -> list[Tensor]:
    """Every tensor in a nest of containers, dataclasses and plain objects, each once, in order."""
    found: dict[int, Tensor] = {}
    waiting, seen = deque([value]), dict[int, Any]()  # what was seen is kept, so that its identity stays its own
    while waiting:
        item = waiting.popleft()
        if isinstance(item, Tensor):
            found.setdefault(id(item), item)
        elif id(item) not in seen and not isinstance(item, str | bytes | int | float | bool | type(None)):
            seen[id(item)] = item
            waiting += _parts(item)
    return list(found.values())


def _parts(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return list(item.values())
    if isinstance(item, list | tuple | set | frozenset):
        return list(item)
    if isinstance(item, torch.nn.Module | type | ModuleType):
        return []
    leaves = tree_leaves(item)
    if len(leaves) != 1 or leaves[0] is not item:
        return leaves
    slots = [getattr(item, part.name, None) for part in fields(item)] if is_dataclass(item) else []
    return [*slots, *getattr(item, "__dict__", {}).values()]


def reached_by_gradient(outputs: list[Tensor], parameters: dict[str, Tensor]) -> frozenset[str]:
    """The parameters that autograd's graph behind the outputs leads to; nothing is computed.

    A checkpoint of the reentrant kind hides what lies inside it from the graph, so there a backward pass is run.
    """
    names = {id(tensor): name for name, tensor in parameters.items()}
    found, seen, hidden = set[str](), set[Any](), False
    waiting = [output.grad_fn for output in outputs if output.grad_fn is not None]
    found |= {names[id(output)] for output in outputs if id(output) in names}
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        hidden = hidden or type(node).__name__ == "CheckpointFunctionBackward"
        variable = getattr(node, "variable", None)
        if variable is not None and id(variable) in names:
            found.add(names[id(variable)])
        waiting += [following for following, _ in node.next_functions if following is not None]
    if hidden:
        real = [output.abs() if output.is_complex() else output for output in outputs]
        total = sum(output.sum() for output in real if output.grad_fn is not None)
        total.backward()  # pyright: ignore[reportAttributeAccessIssue]  # some output has a grad_fn: it is a tensor
        found |= {name for name, tensor in parameters.items() if tensor.grad is not None}
    return frozenset(found)
