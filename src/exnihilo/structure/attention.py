"""Attention blocks and gated maps: which maps make query, key, value, and the two factors of a gated product."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import ACTIVATIONS, SOFTMAXES, activation_of, is_attention, passes, source
from exnihilo.structure.records import Attention, GatedMap, Role, Slice
from exnihilo.structure.sites import Kind, Site, site_behind
from exnihilo.structure.weights import map_layout, ranges_read

_MOST_STEPS = 80
_PRODUCTS = frozenset({"bmm", "baddbmm", "mm", "matmul"})
_VIEWS = frozenset(
    {"view", "_unsafe_view", "reshape", "transpose", "permute", "select", "slice", "split", "split_with_sizes"}
    | {"unbind", "chunk", "squeeze", "unsqueeze", "t", "expand", "as_strided", "alias", "detach", "narrow"}
)
# Change values, and leave every element where it is.
_IN_PLACE = frozenset({"add", "sub", "mul", "div", "clone", "contiguous", "_to_copy", "copy", "native_dropout"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A map behind a value, and the range of its output units that the value holds (None: all, or not known)."""

    site: Site
    ranges: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Attention blocks and gated maps, the slices of packed weights, by name."""

    attentions: tuple[Attention, ...]
    gated_maps: tuple[GatedMap, ...]
    roles: dict[str, Role]
    slices: dict[str, tuple[Slice, ...]]


def attention_of(graph: Graph, sites: dict[int, Site], residual: list[Site]) -> Found:
    """Every attention and every gated map of a graph, with the slices of weights that hold several maps.

    Args:
        residual: The last maps of residual branches, which may be slices of a weight too.
    """
    readers = graph.readers
    roles: dict[str, Role] = {}
    parts: dict[str, dict[Role, tuple[tuple[int, int], ...]]] = {}

    def note(role: Role, projections: list[Projection]) -> tuple[str, ...]:
        names: list[str] = []
        for projection in projections:
            if projection.site.weight is None:
                continue
            name = projection.site.weight.name
            names.append(name)
            roles.setdefault(name, role)
            ranges = _of_weight(projection.ranges, weight_ranges(graph, projection.site))
            if ranges is not None:
                parts.setdefault(name, {}).setdefault(role, ranges)
        return tuple(dict.fromkeys(names))

    attentions: list[Attention] = []
    for query, key, value, end in _attentions(graph, sites, readers):
        found = [
            note(role, _projections(graph, sites, v))
            for role, v in ((Role.QUERY, query), (Role.KEY, key), (Role.VALUE, value))
        ]
        out = _first_map_after(graph, sites, readers, end)
        name = (out.weight.name,) if out is not None and out.weight is not None else ()
        width = (0, *graph.shape(query))[-1]
        attentions.append(Attention(query=found[0], key=found[1], value=found[2], out=name, head_width=width))
    gated: list[GatedMap] = []
    for gate, up, activation in _gated(graph, sites):
        (gate_name,), (up_name,) = note(Role.GATE, [gate]), note(Role.UP, [up])
        gated.append(GatedMap(gate=gate_name, up=up_name, activation=activation))
    for site in residual:
        ranges = weight_ranges(graph, site)
        if site.weight is not None and ranges is not None:
            parts.setdefault(site.weight.name, {}).setdefault(Role.RESIDUAL_OUT, ranges)
    slices = {
        name: tuple(Slice(role=role, ranges=ranges) for role, ranges in sorted(by.items(), key=lambda e: e[1]))
        for name, by in parts.items()
    }
    return Found(attentions=tuple(attentions), gated_maps=tuple(dict.fromkeys(gated)), roles=roles, slices=slices)


def _of_weight(
    kept: tuple[tuple[int, int], ...] | None, read: tuple[tuple[int, int], ...] | None
) -> tuple[tuple[int, int], ...] | None:
    """The units of a weight that a value holds, where its map reads some of them and views behind it keep some.

    The query of PyTorch's cross-attention is mapped by a slice of the packed weight, key and value by another at once.
    """
    if kept is None or read is None:
        return kept or read
    return tuple((read[0][0] + first, read[0][0] + end) for first, end in kept)


def weight_ranges(graph: Graph, site: Site) -> tuple[tuple[int, int], ...] | None:
    """The output units of its parameter that a map reads, where it reads a slice of it."""
    if site.weight is None:
        return None
    layout = map_layout(graph, site.op, site.weight, is_second=site.is_second)
    return ranges_read(graph.shape(graph.parameters[site.weight.name]), site.weight, layout)


def _attentions(graph: Graph, sites: dict[int, Site], readers: list[list[int]]) -> Iterator[tuple[int, int, int, int]]:
    """Query, key, value and output of each attention, fused or written out around a softmax."""
    for op in graph.ops:
        if is_attention(op):
            query, key, value = op.args[:3]
            yield query, key, value, op.outputs[0]
        elif op.name in SOFTMAXES:
            scores = _product_behind(graph, sites, op.args[0])
            after = _product_after(graph, sites, readers, op.outputs[0])
            if scores is not None and after is not None:
                product, weights = after
                others = [v for v in _factors(product) if v != weights]
                if others:
                    query, key = _factors(scores)
                    yield query, key, others[0], product.outputs[0]


def _factors(op: Op) -> tuple[int, int]:
    refs = [int(arg) for arg in op.args if isinstance(arg, Ref)]
    return refs[-2], refs[-1]


def _product_behind(graph: Graph, sites: dict[int, Site], value: int) -> Op | None:
    """The product of two activations that scores are made of."""
    waiting = [value]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return None
        op = graph.op_of(waiting.pop(0))
        if op is None or (op.index in sites and sites[op.index].kind is Kind.MAP):
            continue
        if op.name in _PRODUCTS and all(graph.moves(v) for v in _factors(op)):
            return op
        waiting += [v for v in op.inputs if graph.moves(v)]
    return None


def _product_after(graph: Graph, sites: dict[int, Site], readers: list[list[int]], value: int) -> tuple[Op, int] | None:
    """The product of attention weights and values, and which of its factors the weights are."""
    waiting = [value]
    for _ in range(_MOST_STEPS):
        if not waiting:
            return None
        at = waiting.pop(0)
        for index in readers[at]:
            op = graph.ops[index]
            if op.name in _PRODUCTS and index not in sites and all(graph.moves(v) for v in _factors(op)):
                return op, at
            if passes(graph, op) == at or (op.name in ("mul", "add") and op.outputs):
                waiting += op.outputs[:1]
    return None


def _projections(graph: Graph, sites: dict[int, Site], value: int) -> list[Projection]:
    """The maps that a value was made by, along all paths, with the part of their outputs that it holds."""
    waiting: list[tuple[int, list[Op]]] = [(value, [])]
    seen, found = {value}, list[Projection]()
    for _ in range(_MOST_STEPS):
        if not waiting:
            break
        at, path = waiting.pop(0)
        op = graph.op_of(at)
        if op is None or is_attention(op) or op.name in SOFTMAXES:
            continue
        site = sites.get(op.index)
        if site is not None and site.kind is Kind.MAP:
            found.append(Projection(site=site, ranges=_ranges(graph, site, path, value)))
            continue
        for read in op.inputs:
            if graph.moves(read) and graph.values[read].from_parameter and read not in seen:
                seen.add(read)
                waiting.append((read, [op, *path]))
    return found


def _ranges(graph: Graph, site: Site, path: list[Op], value: int) -> tuple[tuple[int, int], ...] | None:
    """The output units of a map that the views behind it keep; None for all of them, and where that is lost."""
    shape = graph.shape(site.out)
    dim = 1 if site.op.name.endswith("convolution") else len(shape) - 1
    seen: Tensor = torch.empty(shape, device="meta")
    unit, units = seen.stride(dim), shape[dim]
    for place, op in enumerate(path):
        if op.outputs and graph.shape(op.outputs[0]) == tuple(seen.shape) and op.name in _IN_PLACE:
            continue
        if op.name not in _VIEWS or op.function is None:
            break
        following = path[place + 1] if place + 1 < len(path) else None
        try:
            out = op.function(seen, *op.args[1:], **op.kwargs)
        except (RuntimeError, ValueError, TypeError):  # a view of values that lie in another order by then
            break
        read = set(following.inputs) if following is not None else {value}
        seen = out if isinstance(out, Tensor) else out[next((i for i, v in enumerate(op.outputs) if v in read), 0)]
    inside = [(n, s) for n, s in zip(seen.shape, seen.stride(), strict=True) if unit <= s < unit * units and n > 1]
    if prod(n for n, _ in inside) >= units:
        return None
    first = int(seen.storage_offset()) // unit % units
    indices = torch.tensor([first])
    for length, stride in inside:
        indices = (indices.unsqueeze(1) + torch.arange(length) * (stride // unit)).flatten()
    return _as_ranges(sorted(set((indices % units).tolist())))


def _as_ranges(indices: list[int]) -> tuple[tuple[int, int], ...]:
    ranges: list[tuple[int, int]] = []
    for index in indices:
        if ranges and ranges[-1][1] == index:
            ranges[-1] = (ranges[-1][0], index + 1)
        else:
            ranges.append((index, index + 1))
    return tuple(ranges)


def _first_map_after(graph: Graph, sites: dict[int, Site], readers: list[list[int]], value: int) -> Site | None:
    waiting, seen = [value], {value}
    for _ in range(_MOST_STEPS):
        if not waiting:
            return None
        for index in readers[waiting.pop(0)]:
            site = sites.get(index)
            if site is not None and site.kind is Kind.MAP:
                return site
            fresh = [v for v in graph.ops[index].outputs[:1] if v not in seen]
            seen.update(fresh)
            waiting += fresh
    return None


def _gated(graph: Graph, sites: dict[int, Site]) -> Iterator[tuple[Projection, Projection, str]]:
    """Products of two maps of one input, one of them behind an activation."""
    for op in graph.ops:
        if op.name == "glu":
            site = site_behind(graph, sites, op.args[0])
            if site is not None and site.kind is Kind.MAP:
                half = graph.shape(site.out)[-1] // 2
                gate = Projection(site=site, ranges=((half, 2 * half),))
                yield gate, Projection(site=site, ranges=((0, half),)), "sigmoid"
        if op.name != "mul" or op.index in sites or len(op.args) < 2:
            continue
        refs = [arg for arg in op.args[:2] if isinstance(arg, Ref) and graph.moves(arg)]
        if len(refs) < 2:
            continue
        for bent, straight in ((refs[0], refs[1]), (refs[1], refs[0])):
            pair = _gate_and_up(graph, sites, bent, straight)
            if pair is not None:
                yield pair
                break


def _gate_and_up(
    graph: Graph, sites: dict[int, Site], bent: int, straight: int
) -> tuple[Projection, Projection, str] | None:
    op = graph.op_of(source(graph, bent))
    if op is None or op.name not in ACTIVATIONS or not isinstance(op.arg(0), Ref):
        return None
    gate, up = _direct(graph, sites, op.args[0]), _direct(graph, sites, straight)
    if gate is None or up is None or gate == up or gate.site.data is None or up.site.data is None:
        return None
    if gate.site is up.site and gate.ranges == up.ranges:  # x * sigmoid(x): an activation of its own
        return None
    if source(graph, gate.site.data) != source(graph, up.site.data):
        return None
    return gate, up, activation_of(op)


def _direct(graph: Graph, sites: dict[int, Site], value: int) -> Projection | None:
    """The map behind a value with only views and shifts between."""
    path: list[Op] = []
    at = value
    for _ in range(_MOST_STEPS):
        op = graph.op_of(at)
        if op is None:
            return None
        site = sites.get(op.index)
        if site is not None and site.kind is Kind.MAP:
            return Projection(site=site, ranges=_ranges(graph, site, path, value))
        handed = passes(graph, op)
        if handed is None and site is not None and site.kind is Kind.SHIFT:
            handed = site.data
        if handed is None:
            return None
        path.insert(0, op)
        at = int(handed)
    return None
