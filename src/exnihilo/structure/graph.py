"""A recording as a graph of values: each operation reads values and makes new ones, whatever was written in place.

PyTorch's tensors are places that can be written again, and views share them. Here every write makes a new value, and
a read of a tensor whose memory was written through another view reads what was written.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

from torch import Tensor
from torch._ops import OpOverload

from exnihilo.structure.recording import Call, Recording


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Their results take shape and dtype of the argument, and nothing of its values.
_VALUELESS = _names(
    "new_empty new_zeros new_ones new_full new_empty_strided zero fill full_like zeros_like ones_like empty_like "
    "rand_like randn_like randint_like bernoulli normal uniform exponential random resize set sym_size sym_numel "
    "sym_stride"
)


class Ref(int):
    """A value's number, where it stands among an operation's arguments."""


@dataclass(slots=True)
class Op:
    """One operation: ``args`` and ``kwargs`` hold a ``Ref`` where a tensor stood.

    ``event`` is its place in the recording; the parts of a fused operation share one, what was read through another
    view has none (-1).
    """

    index: int
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...] = ()
    function: OpOverload | None = None
    event: int = -1

    def arg(self, place: int, default: Any = None) -> Any:
        """A positional argument, or the default where fewer were given."""
        return self.args[place] if place < len(self.args) else default


@dataclass(slots=True)
class Value:
    """One value: made by the operation numbered ``producer``, or a leaf (-1) of a kind."""

    number: int
    producer: int
    shape: tuple[int, ...]
    tensor: Tensor | None
    leaf: str = ""
    name: str = ""
    from_input: bool = False
    from_parameter: bool = False


@dataclass
class Graph:
    """All values and operations of a run, in order.

    ``given_out`` has what modules gave out, by value, inner modules first.
    """

    ops: list[Op] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    given_out: dict[int, list[Call]] = field(default_factory=dict)

    def op_of(self, value: int) -> Op | None:
        """The operation that made a value, None for a leaf."""
        producer = self.values[value].producer
        return self.ops[producer] if producer >= 0 else None

    def shape(self, value: int) -> tuple[int, ...]:
        """A value's shape."""
        return self.values[value].shape

    def moves(self, value: int) -> bool:
        """Whether the value depends on the model's input."""
        return self.values[value].from_input

    def is_real(self, value: int) -> bool:
        """Whether the value holds real or complex numbers, rather than places or choices."""
        tensor = self.values[value].tensor
        return tensor is None or tensor.is_floating_point() or tensor.is_complex()

    def is_weight(self, value: int) -> bool:
        """Whether the value is made of parameters and constants alone."""
        found = self.values[value]
        return found.from_parameter and not found.from_input

    @cached_property
    def readers(self) -> list[list[int]]:
        """For each value, the operations that read it, in order; asked for once the graph is whole."""
        found: list[list[int]] = [[] for _ in self.values]
        for op in self.ops:
            for value in dict.fromkeys(op.inputs):
                found[value].append(op.index)
        return found


def graph_of(recording: Recording) -> Graph:
    """The graph of a recording."""
    builder = _Builder(recording)
    calls = deque(recording.calls)
    for number, event in enumerate(recording.events):
        while calls and calls[0].num_events <= number:
            builder.note(calls.popleft())
        builder.add(number, event.function, event.args, event.kwargs, event.out)
    for call in calls:
        builder.note(call)
    builder.graph.outputs = [builder.read(tensor) for tensor in recording.outputs]
    return builder.graph


@cache
def _name(function: OpOverload) -> str:
    name = function._schema.name.removeprefix("aten::")  # pyright: ignore[reportPrivateUsage]  # no public spelling
    return name.rstrip("_") if not name.startswith("_") or name.endswith("_") else name


@cache
def _written(function: OpOverload) -> tuple[tuple[int, str], ...]:
    """Place and name of each argument that the operation writes."""
    schema = function._schema  # pyright: ignore[reportPrivateUsage]  # the only place that says what is written
    if not schema.is_mutable:
        return ()
    return tuple(
        (place, argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    )


class _Builder:
    def __init__(self, recording: Recording) -> None:
        self.graph = Graph()
        self._now: dict[int, int] = {}
        self._kept: list[Tensor] = []
        self._last_write: dict[int, int] = {}
        for name, tensor in recording.parameters.items():
            self.graph.parameters[name] = self._leaf(tensor, "parameter", name)
        for tensor in recording.buffers:
            self._leaf(tensor, "buffer")
        for tensor in recording.inputs:
            self._leaf(tensor, "input")

    def _leaf(self, tensor: Tensor, kind: str, name: str = "") -> int:
        value = self._value(tensor, -1)
        value.leaf, value.name = kind, name
        value.from_input, value.from_parameter = kind == "input", kind == "parameter"
        self._bind(tensor, value.number)
        return value.number

    def _value(self, tensor: Tensor | None, producer: int, shape: tuple[int, ...] | None = None) -> Value:
        size = tuple(int(s) for s in tensor.shape) if tensor is not None else shape or ()
        value = Value(len(self.graph.values), producer, size, tensor)
        self.graph.values.append(value)
        return value

    def _bind(self, tensor: Tensor, value: int) -> None:
        self._now[id(tensor)] = value
        self._kept.append(tensor)

    def read(self, tensor: Tensor) -> int:
        """The value that the tensor holds now."""
        known = self._now.get(id(tensor))
        if known is None:
            known = self._leaf(tensor, "constant")
        written = self._last_write.get(_storage(tensor))
        if written is None or self.graph.values[written].producer <= self.graph.values[known].producer:
            return known
        covers = self.graph.values[written].tensor
        if covers is not None and _are_apart(covers, tensor):
            return known
        whole = covers is not None and covers.numel() >= tensor.numel()
        inputs = (written,) if whole else (known, written)
        op = self._op("view" if whole else "update", tuple(Ref(v) for v in inputs), {}, inputs)
        value = self._made(op, tensor)
        self._now[id(tensor)] = value
        return value

    def note(self, call: Call) -> None:
        """That a module gave out what a tensor holds now; a module around another one comes later."""
        known, written = self._now.get(id(call.tensor)), self._last_write.get(_storage(call.tensor))
        values = self.graph.values
        if known is not None and (written is None or values[written].producer <= values[known].producer):
            self.graph.given_out.setdefault(known, []).append(call)

    def add(self, event: int, function: OpOverload, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        """Append one recorded operation, in the parts that the rest of the package tells apart."""
        seen: list[int] = []
        plain = tuple(self._refs(arg, seen) for arg in args)
        named = {key: self._refs(arg, seen) for key, arg in kwargs.items()}
        op = self._op(_name(function), plain, named, tuple(seen))
        op.function, op.event = function, event
        op = self._split(op)
        op.event = event
        made: list[int] = []
        for tensor in _flat(out):
            value = self._made(op, tensor)
            made.append(value)
            self._bind(tensor, value)
        for place, name in _written(function):
            for tensor in _flat(args[place] if place < len(args) else kwargs.get(name)):
                same = [value for value in made if self.graph.values[value].tensor is tensor]
                value = same[0] if same else self._made(op, tensor)
                self._bind(tensor, value)
                self._last_write[_storage(tensor)] = value

    def _split(self, op: Op) -> Op:
        """Fused sums as a product and a sum: what is added may be a bias, or a residual stream."""
        graph = self.graph
        if op.name in ("addmm", "baddbmm", "addmv", "addbmm") and graph.moves(op.args[0]):
            rest = {"addmm": "mm", "baddbmm": "bmm", "addmv": "mv", "addbmm": "bmm"}[op.name]
            op.name, added, op.args = rest, op.args[0], op.args[1:]
            op.inputs = tuple(v for v in op.inputs if v != added) or op.inputs
            return self._sum(added, op, graph.shape(added))
        if op.name == "addcmul" and any(graph.moves(v) for v in op.inputs):
            op.name, added, op.args = "mul", op.args[0], op.args[1:3]
            op.inputs = tuple(int(v) for v in op.args)
            return self._sum(added, op, graph.shape(added))
        if op.name == "lerp":
            return self._lerp(op)
        return op

    def _lerp(self, op: Op) -> Op:
        start, end, weight = op.args[:3]
        shape = self.graph.shape(start)
        if not isinstance(weight, Ref):
            op.name, op.args, op.inputs = "add", (start, end), (int(start), int(end))
            return op
        op.name, op.args, op.inputs = "mul", (end, weight), (int(end), int(weight))
        if self.graph.moves(weight):  # a gate takes from the start what it gives to the end
            kept = self._op("mul", (start, weight), {}, (int(start), int(weight)))
            start = Ref(self._made(kept, None, shape))
        return self._sum(start, op, shape)

    def _sum(self, added: Ref | int, op: Op, shape: tuple[int, ...]) -> Op:
        value = self._made(op, None, shape)
        return self._op("add", (Ref(added), Ref(value)), {}, (int(added), value))

    def _op(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: tuple[int, ...]) -> Op:
        op = Op(len(self.graph.ops), name, args, kwargs, inputs)
        self.graph.ops.append(op)
        return op

    def _made(self, op: Op, tensor: Tensor | None, shape: tuple[int, ...] | None = None) -> int:
        value = self._value(tensor, op.index, shape)
        if op.name not in _VALUELESS:
            read = [self.graph.values[v] for v in op.inputs]
            value.from_input = any(v.from_input for v in read)
            value.from_parameter = any(v.from_parameter for v in read)
        op.outputs = (*op.outputs, value.number)
        return value.number

    def _refs(self, arg: Any, seen: list[int]) -> Any:
        if isinstance(arg, Tensor):
            value = self.read(arg)
            seen.append(value)
            return Ref(value)
        if isinstance(arg, list | tuple):
            return [self._refs(item, seen) for item in arg]
        return arg


def _flat(out: Any) -> Iterable[Tensor]:
    if isinstance(out, Tensor):
        yield out
    elif isinstance(out, list | tuple):
        for item in out:
            yield from _flat(item)


def _are_apart(one: Tensor, other: Tensor) -> bool:
    """Whether two views of one memory share no element, as far as their strides tell."""
    if one.dim() != other.dim() or one.stride() != other.stride() or 0 in one.stride():
        return _span(one)[1] <= _span(other)[0] or _span(other)[1] <= _span(one)[0]
    rest, others = int(one.storage_offset()), int(other.storage_offset())
    for stride, size, length in sorted(zip(one.stride(), one.shape, other.shape, strict=True), reverse=True):
        (start, rest), (begin, others) = divmod(rest, stride), divmod(others, stride)
        if start + size <= begin or begin + length <= start:
            return True
    return False


def _span(tensor: Tensor) -> tuple[int, int]:
    """First element of the memory that a view reaches, and the one past its last."""
    first = int(tensor.storage_offset())
    return first, first + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True)) + 1


def _storage(tensor: Tensor) -> int:
    try:
        return tensor.untyped_storage()._cdata  # pyright: ignore[reportPrivateUsage]  # the only identity on meta
    except (NotImplementedError, RuntimeError):  # a sparse or opaque tensor shares its memory with none
        return id(tensor)
