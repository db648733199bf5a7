"""Where parameters act: maps, lookups, norms, scales, shifts, tokens, found in the graph of a run."""

from dataclasses import dataclass, replace
from enum import StrEnum

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import HANDS_ON, LOOKUPS, MAPS, NORMS, PRODUCTS, chosen, passes, source, weight_of
from exnihilo.structure.weights import Other, Weight, Weights

_MOST_STEPS = 16
# Products with several weights at once.
_SIDE_BY_SIDE = frozenset({"_grouped_mm", "grouped_mm", "bmm", "baddbmm"})
_SHRINKS = frozenset({"mean", "sum", "var", "var_mean", "std", "linalg_vector_norm", "norm", "std_mean"})
_ROOTS = frozenset({"rsqrt", "sqrt", "reciprocal", "pow", "linalg_vector_norm", "norm", "std", "std_mean"})
_BETWEEN = _SHRINKS | _ROOTS | {"square", "mul", "add", "clamp_min", "clamp", "div", "maximum", "abs", "max", "amax"}


class Kind(StrEnum):
    """What a site does."""

    MAP = "map"
    LOOKUP = "lookup"
    NORM = "norm"
    SCALE = "scale"
    SHIFT = "shift"
    TOKEN = "token"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """One operation that reads a parameter, or that normalizes.

    Args:
        kind: What it does.
        op: The operation.
        data: The value that moves with the input; None where there is none.
        weight: The parameter of a map, lookup or scale.
        bias: The shift that comes in the same operation.
        out: The value made.
        is_second: Of a map: its weight is the second factor of the product.
        origin: Of a scale or shift: the site whose output it follows; None where that is no map and no norm.
    """

    kind: Kind
    op: Op
    data: int | None
    weight: Weight | None = None
    bias: Weight | None = None
    out: int
    is_second: bool = True
    origin: "Site | None" = None


def sites_of(graph: Graph, weights: Weights) -> dict[int, Site]:
    """Every site by the number of its operation, in order."""
    found: dict[int, Site] = {}
    for op in graph.ops:
        site = _site(graph, weights, op, found)
        if site is not None:
            found[op.index] = site
    read_as_weights = {site.op.args[place] for site in found.values() for place in _weight_places(site)}
    lookups = {
        index
        for index, site in found.items()
        if site.kind is Kind.LOOKUP and site.data is not None and _feeds(graph, site.out, read_as_weights)
    }
    maps = {index: site for index, site in found.items() if index not in lookups}
    return {**_tables(graph, weights, maps), **maps}


def _weight_places(site: Site) -> tuple[int, ...]:
    """Places of the arguments of a site that a weight or a bias stands at."""
    follows_map = site.kind is Kind.SHIFT and site.origin is not None and site.origin.kind is Kind.MAP
    if site.kind is not Kind.MAP and not follows_map:
        return ()
    return tuple(i for i, arg in enumerate(site.op.args) if isinstance(arg, Ref) and int(arg) != site.data)


def _feeds(graph: Graph, value: int, read: set[Ref]) -> bool:
    """Whether a value, but for views, is read as a weight."""
    waiting = [value]
    while waiting:
        at = waiting.pop()
        if at in read:
            return True
        for index in graph.readers[at]:
            op = graph.ops[index]
            waiting += op.outputs if op.name in HANDS_ON else ()
    return False


def _tables(graph: Graph, weights: Weights, found: dict[int, Site]) -> dict[int, Site]:
    """Parameters that go through a map as data do: a table of positions, mapped by a weight of the stream."""
    mapping = {site.weight.name for site in found.values() if site.kind is Kind.MAP and site.weight is not None}
    tables: dict[int, Site] = {}
    for op in graph.ops:
        if op.name not in MAPS or not op.outputs or not graph.is_weight(op.outputs[0]):
            continue
        data, weight, bias = (op.arg(p) if p is not None else None for p in MAPS[op.name])
        table, by = (weights.of(v) if isinstance(v, Ref) else None for v in (data, weight))
        if (
            table is not None
            and by is not None
            and table.name != by.name
            and (by.name in mapping or weights.of(bias) is not None)
        ):
            kind = Kind.TOKEN if _asks(graph, op.outputs[0]) else Kind.LOOKUP
            tables[op.index] = Site(kind=kind, op=op, data=None, weight=table, out=op.outputs[0])
    return tables


def _asks(graph: Graph, value: int) -> bool:
    """Whether a value made of parameters is the first factor of a product with activations, as a learned query is."""
    made = {value}
    for op in graph.ops[graph.values[value].producer + 1 :]:
        read = [arg for arg in op.args if isinstance(arg, Ref) and arg in made]
        if not read:
            continue
        if any(graph.moves(v) for v in op.outputs):
            return op.args[0] in made
        made.update(op.outputs)
    return False


def site_behind(graph: Graph, sites: dict[int, Site], value: int) -> Site | None:
    """The site that made a value, but for operations that only hand it on."""
    op = graph.op_of(source(graph, value))
    return sites.get(op.index) if op is not None else None


def _site(graph: Graph, weights: Weights, op: Op, found: dict[int, Site]) -> Site | None:
    if not op.outputs:
        return None
    out = op.outputs[0]
    if not graph.moves(out):
        if op.name in LOOKUPS and graph.is_weight(out):  # looked up by place, whatever the input
            return Site(kind=Kind.LOOKUP, op=op, data=None, weight=weights.of(op.arg(0)), out=out)
        return None
    if (parts := weight_of(graph, op)) is not None:
        data, weight, bias = parts
        second = op.name not in ("linear", "mkldnn_linear", "_mkldnn_linear") and _is_second(op, weight)
        return Site(
            kind=Kind.MAP,
            op=op,
            data=data,
            weight=weights.of(weight),
            bias=weights.of(bias),
            out=out,
            is_second=second,
        )
    if op.name in LOOKUPS and graph.is_weight(op.arg(0)):
        return Site(kind=Kind.LOOKUP, op=op, data=op.arg(1), weight=weights.of(op.arg(0)), out=out)
    if op.name in NORMS and isinstance(op.arg(0), Ref):
        scale, shift = (op.arg(place) if place is not None else None for place in NORMS[op.name])
        return Site(kind=Kind.NORM, op=op, data=op.arg(0), weight=weights.of(scale), bias=weights.of(shift), out=out)
    if op.name in PRODUCTS:
        return _product(graph, weights, op, found)
    return _addition(graph, weights, op, found)


def _is_second(op: Op, weight: Ref) -> bool:
    return op.arg(MAPS[op.name][1]) is weight


def _product(graph: Graph, weights: Weights, op: Op, found: dict[int, Site]) -> Site | None:
    refs = [arg for arg in (op.arg(0), op.arg(1)) if isinstance(arg, Ref)]
    moving = [v for v in refs if graph.moves(v)]
    if len(moving) == 1 and len(refs) == 2:
        (other,) = [v for v in refs if v not in moving]
        weight = weights.of(other)
        if weight is None:
            return None
        origin = site_behind(graph, found, moving[0])
        return Site(kind=Kind.SCALE, op=op, data=moving[0], weight=weight, out=op.outputs[0], origin=origin)
    if len(moving) == 2 and (data := _normalized(graph, op)) is not None:
        return Site(kind=Kind.NORM, op=op, data=data, out=op.outputs[0])
    return None


def _addition(graph: Graph, weights: Weights, op: Op, found: dict[int, Site]) -> Site | None:
    read = [v for v in op.inputs if graph.is_weight(v)]
    moving = [v for v in op.inputs if graph.moves(v)]
    if op.name == "add" and not read:
        read, moving = _picked(graph, found, moving)
    if not read or not moving:
        return None
    weight = weights.of(read[0])
    if op.name in ("cat", "stack", "where", "copy", "update"):
        beside = [Other(other.name, "beside") for v in read[1:] if (other := weights.of(v)) is not None]
        token = replace(weight, others=(*weight.others, *beside)) if weight is not None else None
        return Site(kind=Kind.TOKEN, op=op, data=moving[0], weight=token, out=op.outputs[0])
    if passes(graph, op) is not None:
        return None
    if op.name in ("add", "sub", "rsub"):
        origin = site_behind(graph, found, moving[0])
        return Site(kind=Kind.SHIFT, op=op, data=moving[0], weight=weight, out=op.outputs[0], origin=origin)
    if op.name == "index":
        return Site(kind=Kind.LOOKUP, op=op, data=moving[0], weight=weight, out=op.outputs[0])
    return Site(kind=Kind.OTHER, op=op, data=moving[0], weight=weight, out=op.outputs[0])


def _picked(graph: Graph, found: dict[int, Site], moving: list[int]) -> tuple[list[int], list[int]]:
    """The bias of an expert, told from the signal: the input chose it, for a map that is one of several."""
    picked = [v for v in moving if chosen(graph, v) is not None]
    rest = [v for v in moving if v not in picked]
    behind = site_behind(graph, found, rest[0]) if len(rest) == 1 else None
    if behind is None or behind.kind is not Kind.MAP:
        return [], moving
    is_chosen = any(isinstance(arg, Ref) and chosen(graph, arg) is not None for arg in behind.op.args)
    return (picked, rest) if is_chosen or behind.op.name in _SIDE_BY_SIDE else ([], moving)


def _normalized(graph: Graph, op: Op) -> int | None:
    """What a product normalizes, where one factor is a root of a mean or sum over the other's own square."""
    first, second = op.arg(0), op.arg(1)
    for signal, factor in ((first, second),) if op.name == "div" else ((first, second), (second, first)):
        base = _centered(graph, signal)
        if _shrinks_to(graph, factor, base):
            return base
    return None


def _centered(graph: Graph, value: int) -> int:
    """What a signal was before views, and before its own mean was taken from it."""
    for _ in range(4):
        value = source(graph, value)
        op = graph.op_of(value)
        if op is None or op.name != "sub" or not isinstance(op.arg(1), Ref) or not isinstance(op.arg(0), Ref):
            return value
        mean = op.arg(1)
        if graph.shape(mean) == graph.shape(value):
            return value
        value = op.arg(0)
    return value


def _shrinks_to(graph: Graph, factor: int, base: int) -> bool:
    shrunk = rooted = False
    value = factor
    for _ in range(_MOST_STEPS):
        if shrunk and rooted and _centered(graph, value) == base:
            return True
        op = graph.op_of(value)
        if op is None:
            return False
        shrunk, rooted = shrunk or op.name in _SHRINKS, rooted or op.name in _ROOTS
        handed = passes(graph, op)
        if handed is None and op.name not in _BETWEEN:
            return False
        moving = list(dict.fromkeys(v for v in op.inputs if graph.moves(v)))
        if handed is None and len(moving) != 1:
            return False
        value = handed if handed is not None else moving[0]
    return False
