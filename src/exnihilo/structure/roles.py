"""The role of each parameter, with what in the computation says so."""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from exnihilo.structure.attention import Found
from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.junctions import Junction
from exnihilo.structure.operators import (
    ACTIVATIONS,
    CHOICES,
    PRODUCTS,
    SOFTMAXES,
    SUMS,
    activation_of,
    chosen,
    passes,
    source,
)
from exnihilo.structure.records import Branch, Role
from exnihilo.structure.sites import Kind, Site, site_behind
from exnihilo.structure.weights import Other

_MOST_STEPS = 64


@dataclass(frozen=True, slots=True)
class Given:
    """A role, why, and the parameter that a bias or shift goes with."""

    role: Role
    evidence: str
    follows: str | None = None


def roles_of(
    graph: Graph,
    sites: dict[int, Site],
    junctions: list[Junction],
    branches: tuple[Branch, ...],
    found: Found,
    recurrent: frozenset[str],
) -> dict[str, Given]:
    """The role of every parameter that an operation reads; the first that holds, in the order below."""
    given: dict[str, Given] = {}
    for name, role in (
        *((name, Given(Role.RECURRENT, "weight of a recurrent module")) for name in sorted(recurrent)),
        *_of_lookups(sites),
        *_of_adapters(graph, sites, junctions),
        *_of_branches(branches),
        *_of_attention(found),
        *_of_modulations(graph, sites),
        *_of_routers(graph, sites),
        *_of_heads(graph, sites, branches),
        *_of_sites(graph, sites),
    ):
        given.setdefault(name, role)
    return given


def _of_lookups(sites: dict[int, Site]) -> Iterator[tuple[str, Given]]:
    for site in sites.values():
        if site.kind is Kind.LOOKUP and site.weight is not None:
            if site.data is None:
                yield site.weight.name, Given(Role.POSITION, "a table of places: no input changes what is read of it")
            else:
                yield site.weight.name, Given(Role.EMBEDDING, "rows looked up by the input")


def _of_branches(branches: tuple[Branch, ...]) -> Iterator[tuple[str, Given]]:
    for branch in branches:
        for name in branch.maps:
            yield name, Given(Role.RESIDUAL_OUT, f"last linear map of branch {branch.index} ({branch.name})")
        for name in branch.scales:
            yield name, Given(Role.BRANCH_SCALE, f"multiplies branch {branch.index} ({branch.name}) at its end")
        for name in branch.modulated_by:
            yield name, Given(Role.MODULATION, f"its output multiplies branch {branch.index} ({branch.name})")


def _of_attention(found: Found) -> Iterator[tuple[str, Given]]:
    for name, role in found.roles.items():
        packed = len(found.slices.get(name, ())) > 1
        what = "a gated product" if role in (Role.GATE, Role.UP) else "an attention"
        yield (
            name,
            Given(role, f"makes the {role.value.lower()} of {what}" + (", packed with others" if packed else "")),
        )
    for attention in found.attentions:
        for name in attention.out:
            yield name, Given(Role.ATTENTION_OUT, "first map behind an attention")


def _of_modulations(graph: Graph, sites: dict[int, Site]) -> Iterator[tuple[str, Given]]:
    """Maps whose output, spread over places, multiplies what a norm made."""
    for op in graph.ops:
        if op.name not in PRODUCTS or op.index in sites:
            continue
        refs = [arg for arg in op.args if isinstance(arg, Ref) and graph.moves(arg)]
        for signal, factor in ((refs[0], refs[-1]), (refs[-1], refs[0])) if len(refs) == 2 else ():
            behind = site_behind(graph, sites, signal)
            if behind is None or behind.kind not in (Kind.NORM, Kind.SCALE, Kind.SHIFT):
                continue
            maker = _map_behind(graph, sites, factor)
            if maker is None or maker.weight is None:
                continue
            if _is_spread(graph, factor, signal) or not _shares_input(graph, maker, signal):
                yield maker.weight.name, Given(Role.MODULATION, "its output scales what a norm made")


def _shares_input(graph: Graph, maker: Site, signal: int) -> bool:
    """Whether a map reads what the signal is made of: then its output is no condition from elsewhere."""
    target = source(graph, maker.data) if maker.data is not None else -1
    waiting, seen = [signal], {signal}
    for _ in range(_MOST_STEPS):
        if not waiting:
            return False
        value = source(graph, waiting.pop(0))
        if value == target:
            return True
        op = graph.op_of(value)
        fresh = [v for v in op.inputs if v not in seen and graph.moves(v)] if op is not None else []
        seen.update(fresh)
        waiting += fresh
    return True


def _is_spread(graph: Graph, factor: int, signal: int) -> bool:
    small, large = graph.shape(factor), graph.shape(signal)
    return len(small) == len(large) and any(a == 1 < b for a, b in zip(small, large, strict=True))


def _map_behind(graph: Graph, sites: dict[int, Site], value: int) -> Site | None:
    """The map behind a value with only views, factors and added numbers between."""
    for _ in range(_MOST_STEPS):
        value = source(graph, value)
        op = graph.op_of(value)
        if op is None:
            return None
        site = sites.get(op.index)
        if site is not None:
            if site.kind is Kind.SHIFT and site.data is not None:
                value = site.data
                continue
            return site if site.kind is Kind.MAP else None
        moving = [v for v in op.inputs if graph.moves(v)]
        if op.name not in SUMS or len(moving) != 1:
            return None
        value = moving[0]
    return None


def _of_routers(graph: Graph, sites: dict[int, Site]) -> Iterator[tuple[str, Given]]:
    """Maps whose output is ranked, or whose softmax weighs what maps side by side made."""
    for op in graph.ops:
        if op.name == "mul" and op.index not in sites:
            yield from _of_share(graph, sites, op)
        if op.name not in CHOICES or not op.inputs or not isinstance(op.arg(0), Ref):
            continue
        value: int | None = op.args[0]
        for _ in range(_MOST_STEPS):
            if value is None:
                break
            value = source(graph, value)
            made = graph.op_of(value)
            if made is None:
                break
            site = sites.get(made.index)
            if site is not None and site.kind is Kind.MAP:
                if site.weight is not None:
                    yield site.weight.name, Given(Role.ROUTER, f"its output is ranked by {op.name}")
                break
            simple = made.name in SOFTMAXES or made.name in ACTIVATIONS or made.name in SUMS
            moving = [v for v in made.inputs if graph.moves(v)]
            value = moving[0] if simple and moving else None


def _of_share(graph: Graph, sites: dict[int, Site], op: Op) -> Iterator[tuple[str, Given]]:
    refs = [arg for arg in op.args if isinstance(arg, Ref) and graph.moves(arg)]
    for share, made in itertools.permutations(refs, 2):
        experts = site_behind(graph, sites, made)
        softmax = graph.op_of(source(graph, share))
        if experts is None or experts.kind is not Kind.MAP or experts.op.name not in ("bmm", "_grouped_mm", "baddbmm"):
            continue
        if softmax is None or softmax.name not in SOFTMAXES:
            continue
        router = _map_behind(graph, sites, softmax.args[0])
        if router is not None and router.weight is not None:
            yield router.weight.name, Given(Role.ROUTER, "its softmax weighs what maps side by side made")


def _of_heads(graph: Graph, sites: dict[int, Site], branches: tuple[Branch, ...]) -> Iterator[tuple[str, Given]]:
    """Maps whose output is the model's, but for views, softmaxes, caps and shifts; what a branch hands out is none."""
    inside = {name for branch in branches for name in branch.members}
    waiting, seen = list(graph.outputs), set[int]()
    while waiting:
        value = source(graph, waiting.pop())
        op = graph.op_of(value)
        if op is None or value in seen:
            continue
        seen.add(value)
        site = sites.get(op.index)
        if site is not None and site.kind is Kind.MAP and site.weight is not None:
            if site.weight.name not in inside:
                yield site.weight.name, Given(Role.HEAD, "the last map to an output")
        elif site is not None and site.kind in (Kind.SHIFT, Kind.SCALE):
            waiting += [site.data] if site.data is not None else []
        elif op.name in SOFTMAXES or op.name in ("sigmoid", "tanh", "cat", "stack", "add", "sub", "div", "exp"):
            waiting += [v for v in op.inputs if graph.moves(v)]


def _of_adapters(graph: Graph, sites: dict[int, Site], junctions: list[Junction]) -> Iterator[tuple[str, Given]]:
    """Two maps in a row without a nonlinearity, narrow between, beside one map of the same input."""
    sums = [op.inputs for op in graph.ops if op.name == "add" and op.index not in sites]
    sums += [junction.branches for junction in junctions]
    for summands in sums:
        moving = [v for v in summands if graph.moves(v)]
        sides = [_map_behind(graph, sites, v) for v in moving] if len(moving) == 2 else []
        for base, up in itertools.permutations(sides, 2):
            if base is None or up is None or up.data is None or base.data is None or base.weight is None:
                continue
            down = _map_behind(graph, sites, up.data)
            if down is None or down.data is None or source(graph, down.data) != source(graph, base.data):
                continue
            if graph.shape(down.out)[-1] < min(graph.shape(up.out)[-1], graph.shape(base.data)[-1]):
                evidence = f"low-rank path beside {base.weight.name}"
                for site in (down, up):
                    if site.weight is not None:
                        yield site.weight.name, Given(Role.ADAPTER, evidence)


def _of_sites(graph: Graph, sites: dict[int, Site]) -> Iterator[tuple[str, Given]]:
    for site in sites.values():
        weight = site.weight
        if weight is not None:
            yield weight.name, _of_site(graph, site)
            for other in weight.others:
                yield other.name, _of_other(graph, site, other)
        if site.bias is not None:
            follows = weight.name if weight is not None else None
            role = Role.NORM_SHIFT if site.kind is Kind.NORM else Role.BIAS
            for name in (site.bias.name, *(other.name for other in site.bias.others)):
                yield name, Given(role, "added by the operation that reads its weight", follows)


def _of_other(graph: Graph, site: Site, other: Other) -> Given:
    """The role of a parameter that comes into a computed weight beside the main one."""
    main = site.weight.name if site.weight is not None else ""
    match other.how:
        case "factor":
            return Given(Role.NORM_SCALE, f"a factor of the weight computed from {main}", main)
        case "product":
            return Given(Role.ADAPTER, f"in a product of matrices beside {main}")
        case "bias":
            return Given(Role.BIAS, f"added where {main} maps what no input changes", main)
        case "beside" | "sum":
            return _of_site(graph, site)


def _of_site(graph: Graph, site: Site) -> Given:
    match site.kind:
        case Kind.MAP:
            if site.data is not None and not graph.values[site.data].from_parameter:
                return Given(Role.STEM, "the first map of an input")
            return Given(Role.HIDDEN, "a map between other maps")
        case Kind.LOOKUP:
            return Given(Role.EMBEDDING, "rows looked up by the input")
        case Kind.NORM:
            return Given(Role.NORM_SCALE, "scale of a norm")
        case Kind.SCALE:
            return _of_scale(site)
        case Kind.SHIFT:
            return _of_shift(graph, site)
        case Kind.TOKEN:
            return Given(Role.EMBEDDING, "learned values put beside the input's")
        case Kind.OTHER if site.op.name in ("_prelu_kernel", "prelu"):
            return Given(Role.SCALE, "the slope of an activation")
        case Kind.OTHER:
            return Given(Role.UNKNOWN, f"read by {site.op.name}")


def _of_scale(site: Site) -> Given:
    if site.origin is not None and site.origin.kind is Kind.NORM and site.origin.weight is None:
        return Given(Role.NORM_SCALE, "multiplies what was normalized")
    return Given(Role.SCALE, "multiplies activations")


def _of_shift(graph: Graph, site: Site) -> Given:
    origin, weight = site.origin, site.weight
    shape = graph.shape(graph.parameters[weight.name]) if weight is not None else ()
    picked = any(chosen(graph, v) is not None for v in site.op.inputs if v != site.data)
    is_vector = picked or sum(length > 1 for length in shape) <= 1
    if origin is not None and origin.kind is Kind.MAP and is_vector:
        return Given(Role.BIAS, "added to the output of its map", origin.weight.name if origin.weight else None)
    scale = origin.weight if origin is not None else None
    if origin is not None and (origin.kind is Kind.NORM or _is_norm_scale(origin)) and is_vector:
        return Given(Role.NORM_SHIFT, "added behind a norm", scale.name if scale else None)
    if is_vector:
        return Given(Role.BIAS, "added to activations")
    return Given(Role.POSITION, "added by place, whatever the input")


def _is_norm_scale(site: Site) -> bool:
    return site.kind is Kind.SCALE and site.origin is not None and site.origin.kind is Kind.NORM


def activation_behind(graph: Graph, readers: list[list[int]], sites: dict[int, Site], value: int) -> str:
    """The nonlinearity that a map's output meets first; ``"linear"`` where none comes before the next map or sum."""
    waiting, seen = [value], {value}
    for _ in range(_MOST_STEPS):
        if not waiting:
            break
        at = waiting.pop(0)
        for index in readers[at]:
            op = graph.ops[index]
            if op.name in ACTIVATIONS and op.outputs:
                return _whole_name(graph, readers, op.outputs[0], activation_of(op), seen)
            if _is_power(graph, op, seen):
                following = _tanh_after(graph, readers, op.outputs[0])
                if following is not None:
                    return following
            site = sites.get(index)
            straight = passes(graph, op) is not None or (
                site is not None and site.kind in (Kind.SHIFT, Kind.NORM, Kind.SCALE)
            )
            fresh = [v for v in op.outputs if v not in seen] if straight else []
            seen.update(fresh)
            waiting += fresh
    return "linear"


def _is_power(graph: Graph, op: Op, seen: set[int]) -> bool:
    """A square or cube, or a product of a value with itself."""
    refs = [arg for arg in op.args if isinstance(arg, Ref)]
    return op.name in ("pow", "square") or (
        op.name == "mul" and len(refs) == 2 and all(source(graph, v) in seen or v in seen for v in refs)
    )


_WHOLE = {"sigmoid": "silu", "tanh": "gelu", "erf": "gelu"}


def _whole_name(graph: Graph, readers: list[list[int]], bent: int, name: str, before: set[int]) -> str:
    """The name of what is written out in parts: x * sigmoid(x) is silu, a square behind relu is relu squared."""
    waiting = [bent]
    for _ in range(8):
        if not waiting:
            break
        at = waiting.pop(0)
        for index in readers[at]:
            op = graph.ops[index]
            if name == "relu" and (op.name in ("pow", "square") or (op.name == "mul" and len(set(op.inputs)) == 1)):
                return "relu_squared"
            if op.name == "mul" and name in _WHOLE and any(source(graph, v) in before for v in op.inputs):
                return _WHOLE[name]
            if name == "softplus" and op.name == "tanh":
                return "mish"
            if passes(graph, op) is not None or op.name == "add":
                waiting += op.outputs[:1]
    return name


def _tanh_after(graph: Graph, readers: list[list[int]], value: int) -> str | None:
    """GELU by its tanh formula: a cube, added and scaled, under a tanh."""
    waiting = [value]
    for _ in range(12):
        if not waiting:
            return None
        for index in readers[waiting.pop(0)]:
            op = graph.ops[index]
            if op.name == "tanh":
                return "gelu"
            if passes(graph, op) is not None or op.name in ("add", "mul"):
                waiting += op.outputs[:1]
    return None
