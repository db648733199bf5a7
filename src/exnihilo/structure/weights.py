"""From the weight that an operation reads back to the parameter that it is made of, and which dims are which.

The views between them are replayed on a stand-in without memory whose strides count elements of the parameter: so its
strides tell, for each dim of what the operation read, the dims of the parameter that lie in it.
"""

from dataclasses import dataclass, replace
from math import prod
from typing import Literal

import torch
from torch import Tensor

from exnihilo.layouts import Layout
from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import MAPS, NORMS, chosen

# A parameter of up to this many elements is numbered where strides do not tell its order.
_MOST_NUMBERED = 2**22
_MULTIPLIES = frozenset({"mul", "div", "_weight_norm_interface", "_weight_norm", *NORMS})
_COPIES = frozenset({"clone", "contiguous", "_to_copy", "to", "detach", "alias", "lift_fresh", "copy"})
_SHAPES = frozenset({"view", "_unsafe_view", "reshape", "_reshape_alias", "squeeze", "unsqueeze", "expand", "unfold"})
_ORDERS = frozenset({"t", "transpose", "permute", "as_strided", "diagonal"})
_PARTS = frozenset({"select", "slice", "split", "split_with_sizes", "unbind", "chunk", "narrow"})
_VIEWS = _SHAPES | _ORDERS | _PARTS
_SHRINKS = frozenset({"sum", "mean", "linalg_vector_norm", "var_mean", "std", "mv", "dot", "mm"})
_BENDS = frozenset({"relu", "tanh", "sin", "silu", "gelu", "abs", "neg", "pow", "sqrt", "clamp_min"})
# Zeros stay zeros; what a division by their own length makes of them is another matter.
_KEEPS_ZERO = _COPIES | _VIEWS | _MULTIPLIES | _SHRINKS | _BENDS | {"sub"}

How = Literal["factor", "beside", "sum", "product", "bias"]


@dataclass(frozen=True, slots=True)
class Other:
    """A further parameter of a computed weight, and by what it comes in."""

    name: str
    how: How


@dataclass(frozen=True, slots=True)
class Weight:
    """What an operation read: a parameter, directly or computed.

    Args:
        name: Canonical name of the parameter; of several, the one whose size fits best.
        seen: A stand-in for the parameter's memory with the strides of what was read; where a copy in another order
            lies between, the numbers of the parameter's elements themselves; None where that is lost.
        offset: A number that was added to it, behind the factor ``scale``.
        computed: More than views, copies, a factor and an offset lie between.
        others: Further parameters that it was computed from, and how.
        factor: Of a computed weight that is a product of parameters: the smallest of them.
        is_product: It is one of several matrices multiplied with each other.
        keeps_zero: Zeros in the parameter make what was read zero, whatever else it was computed from.
        divided: It was divided by something made of itself, such as its length.
    """

    name: str
    seen: Tensor | None
    offset: float = 0.0
    computed: bool = False
    others: tuple[Other, ...] = ()
    factor: str | None = None
    scale: float = 1.0
    keeps_zero: bool = True
    is_product: bool = False
    divided: bool = False


class Weights:
    """Traces the weights of one graph, each once."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[int, Weight | None] = {}

    def of(self, value: int | None) -> Weight | None:
        """The parameter behind a value; None where the value is made of none, or of the input too."""
        if value is None:
            return None
        origin = chosen(self._graph, value)
        if origin is not None:
            return self.of(origin)
        if not self._graph.is_weight(value):
            return None
        waiting = [value]
        while waiting:
            at = waiting[-1]
            before = [v for v in self._read(at) if v not in self._known]
            if at in self._known or not before:
                waiting.pop()
                self._known.setdefault(at, self._trace(at))
            waiting += before if at not in self._known else []
        return self._known[value]

    def _read(self, value: int) -> list[int]:
        """The values of parameters that a value was made from."""
        op = self._graph.op_of(value)
        return [v for v in dict.fromkeys(op.inputs) if self._graph.is_weight(v)] if op is not None else []

    def _trace(self, value: int) -> Weight | None:
        leaf = self._graph.values[value]
        if leaf.leaf == "parameter":
            stand_in = torch.empty(leaf.shape, device="meta")
            return Weight(leaf.name, stand_in)
        op = self._graph.op_of(value)
        if op is None:
            return None
        read = self._read(value)
        found = [weight for v in read if (weight := self.of(v)) is not None]
        if not found:
            return None
        if len(found) > 1 or len(read) > 1:
            return self._combined(op, read, found, value)
        weight = found[0]
        if op.name in _COPIES:
            return weight
        if op.name in _VIEWS:
            return replace(weight, seen=self._replayed(op, weight.seen, value))
        if op.name in ("add", "sub") and not isinstance(op.arg(1), Ref) and isinstance(op.arg(0), Ref):
            return replace(weight, offset=weight.offset + float(op.arg(1)) * (1 if op.name == "add" else -1))
        if op.name == "add" and (added := self._number(op)) is not None:
            return replace(weight, offset=weight.offset + added)
        if op.name in ("mul", "div") and len(op.inputs) == 1:
            return _scaled(weight, op)
        keeps = weight.keeps_zero and op.name in _KEEPS_ZERO
        divided = weight.divided or op.name in NORMS
        return replace(weight, computed=True, seen=self._like(weight, value), keeps_zero=keeps, divided=divided)

    def _number(self, op: Op) -> float | None:
        """The number added where it came as a tensor of one element that is 1, as ``1 + w`` compiles to."""
        return 1.0 if not isinstance(op.arg(0), Ref) and op.arg(0) == 1 else None

    def _like(self, weight: Weight, value: int) -> Tensor | None:
        """Computed elementwise, a weight keeps its places."""
        same = weight.seen is not None and tuple(weight.seen.shape) == self._graph.shape(value)
        return weight.seen if same else None

    def _combined(self, op: Op, read: list[int], found: list[Weight], value: int) -> Weight:
        size = prod(self._graph.shape(value))
        sizes = [prod(self._graph.shape(self._graph.parameters[weight.name])) for weight in found]
        main = max(range(len(found)), key=lambda i: (sizes[i] == size, sizes[i]))
        place = MAPS.get(op.name, (0, 0, None))[2]
        bias = op.arg(place) if place is not None else None
        others: dict[str, Other] = {}
        for i, weight in enumerate(found):
            how: How = "bias" if len(read) == len(found) and read[i] == bias else _how(op, weight)
            own = () if i == main else (Other(weight.name, how),)
            others |= {other.name: other for other in (*own, *weight.others) if other.name != found[main].name}
        is_one = len({weight.name for weight in found}) == 1
        is_product = op.name in _MULTIPLIES and not is_one
        smallest = found[min(range(len(found)), key=lambda i: sizes[i])]
        return replace(
            found[main],
            computed=True,
            others=tuple(others.values()),
            seen=self._like(found[main], value),
            factor=(smallest.factor or smallest.name) if is_product else found[main].factor,
            is_product=op.name in MAPS or (is_one and found[main].is_product),
            divided=found[main].divided or self._divides(op, read, found),
            keeps_zero=found[main].keeps_zero and (is_one or is_product) and op.name in _KEEPS_ZERO,
        )

    def _divides(self, op: Op, read: list[int], found: list[Weight]) -> bool:
        """Whether an operation divides a weight by what is made of it."""
        if op.name in NORMS or op.name.startswith("_weight_norm"):
            return True
        made_of = [{weight.name, *(other.name for other in weight.others)} for weight in found]
        is_own = len(made_of) == 2 and not made_of[0].isdisjoint(made_of[1])
        makers = {maker.name for v in read if (maker := self._graph.op_of(v)) is not None}
        return is_own and (op.name == "div" or (op.name == "mul" and not makers.isdisjoint({"rsqrt", "reciprocal"})))

    def _replayed(self, op: Op, seen: Tensor | None, value: int) -> Tensor | None:
        if seen is None or op.function is None:
            return None
        try:
            out = op.function(seen, *op.args[1:], **op.kwargs)
        except (RuntimeError, ValueError, TypeError):  # a view of a copy whose order the stand-in does not have
            if not seen.is_meta or seen.numel() > _MOST_NUMBERED:
                return None
            return self._replayed(op, _numbered(seen), value)
        if isinstance(out, Tensor):
            return out
        return out[op.outputs.index(value)]


def _scaled(weight: Weight, op: Op) -> Weight:
    """A weight times or over a number."""
    number = next((float(arg) for arg in op.args if isinstance(arg, int | float) and not isinstance(arg, Ref)), 1.0)
    factor = 1.0 / number if op.name == "div" and number else number
    return replace(weight, scale=weight.scale * factor, offset=weight.offset * factor)


def _how(op: Op, weight: Weight) -> How:
    if op.name in _MULTIPLIES:
        return "factor"
    if op.name in MAPS or weight.is_product:
        return "product"
    return "beside" if op.name in ("cat", "stack") else "sum"


def _numbered(seen: Tensor) -> Tensor:
    """The element numbers that a stand-in's strides say, as values."""
    most = int(seen.storage_offset()) + sum((n - 1) * s for n, s in zip(seen.shape, seen.stride(), strict=True)) + 1
    numbers = torch.arange(most).as_strided(seen.size(), seen.stride(), seen.storage_offset())
    return numbers.contiguous()


def ranges_read(shape: tuple[int, ...], weight: Weight, layout: Layout) -> tuple[tuple[int, int], ...] | None:
    """The output units of a packed parameter that one operation read; None where it read all of them."""
    seen = weight.seen
    if seen is None or not seen.is_meta or len(layout.out_dims) != 1 or seen.dim() != len(shape):
        return None
    stride = prod(shape[layout.out_dims[0] + 1 :])
    units = shape[layout.out_dims[0]]
    lengths = [n for n, s in zip(seen.shape, seen.stride(), strict=True) if s == stride]
    if len(lengths) != 1 or lengths[0] >= units:
        return None
    first = int(seen.storage_offset()) // stride % units
    return ((first, first + lengths[0]),)


def map_layout(graph: Graph, op: Op, weight: Weight, *, is_second: bool) -> Layout:
    """The layout of a parameter that a matrix product or a convolution reads.

    Args:
        is_second: The weight is the second factor, ``(in, out)``; else ``(out, in)``.
    """
    shape = graph.shape(graph.parameters[weight.name])
    if op.name.endswith("convolution") and len(shape) > 2:
        transposed, groups = bool(op.arg(6, False)), int(op.arg(8, 1))
        if transposed:
            return Layout.conv_transpose(shape[0], shape[1] * groups, shape[2:], groups)
        return Layout.conv(shape[0], shape[1] * groups, shape[2:], groups)
    if op.name == "_trilinear" and len(shape) == 3:
        return Layout.bilinear(*shape)
    if weight.seen is None or weight.seen.dim() < 2:
        return guessed_layout(shape)
    last, before = weight.seen.dim() - 1, weight.seen.dim() - 2
    out, in_ = (last, before) if is_second else (before, last)
    out_dims, in_dims = (_dims(shape, weight.seen, dim) for dim in (out, in_))
    rest = tuple(dim for dim in range(len(shape)) if dim not in out_dims + in_dims and shape[dim] > 1)
    if not out_dims or not in_dims or set(out_dims) & set(in_dims) or len(rest) > 1:
        return guessed_layout(shape)
    ones = tuple(dim for dim in range(len(shape)) if dim not in out_dims + in_dims + rest)
    return Layout(
        kind="packed" if rest else "linear",
        shape=shape,
        out_dims=tuple(sorted((*rest, *out_dims, *ones))),
        in_dims=in_dims,
        stacked=shape[rest[0]] if rest else 1,
        packed_dim=rest[0] if rest else 0,
    )


def guessed_layout(shape: tuple[int, ...]) -> Layout:
    """PyTorch's own order where the dims cannot be followed: out first."""
    if len(shape) < 2:
        return Layout.vector(*shape)
    return Layout(kind="linear", shape=shape, out_dims=(0,), in_dims=tuple(range(1, len(shape))))


def _dims(shape: tuple[int, ...], seen: Tensor, dim: int) -> tuple[int, ...]:
    """The parameter's dims that lie in one dim of what was read; empty where its stride fits none."""
    if not seen.is_meta:
        return _varying(shape, seen.movedim(dim, 0).flatten(1)[:, 0])
    size, stride = seen.shape[dim], seen.stride(dim)
    strides = [prod(shape[i + 1 :]) for i in range(len(shape))]
    for last in reversed(range(len(shape))):
        if strides[last] == stride and shape[last] > 1:
            first = last
            covered = shape[last]
            while covered < size and first > 0:
                first -= 1
                covered *= shape[first]
            return tuple(range(first, last + 1))
    return ()


def _varying(shape: tuple[int, ...], numbers: Tensor) -> tuple[int, ...]:
    """The dims along which these elements of a parameter differ."""
    places = torch.unravel_index(numbers, shape)
    return tuple(dim for dim, place in enumerate(places) if bool((place != place[0]).any()))
