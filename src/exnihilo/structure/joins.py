"""Where trained parameters join a frozen trunk, and which maps feed nothing but one other map.

A value is *frozen* where no trained parameter went into it. A sum of a frozen value that parameters made, and of
another that is not frozen, is a join; what comes behind it counts as the trunk's again.
"""

from collections import Counter

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import PRODUCTS, SUMS, is_attention, keeps_zero, passes, source
from exnihilo.structure.sites import Kind, Site

# Hand on what they read, with something else beside it or in its place: a zero goes on as more than zeros.
_PUTS_IN = frozenset(
    {"cat", "stack", "where", "masked_fill", "constant_pad_nd", "scatter", "slice_scatter", "select_scatter", "update"}
)
_MATRIX_PRODUCTS = frozenset({"bmm", "mm", "matmul", "baddbmm"})

# A path from a sum back to what closes it is a few operations long; longer ones have something else on them.
_MOST_STEPS = 32


def joins_of(graph: Graph, sites: dict[int, Site], frozen: frozenset[str]) -> frozenset[str]:
    """Trained parameters of maps and scales whose zeros take away what a path adds to a frozen trunk.

    Args:
        frozen: Names of the parameters that no training changes.
    """
    if not frozen:
        return frozenset()
    trained = [value.leaf == "parameter" and value.name not in frozen for value in graph.values]
    of_trunk = [value.leaf == "parameter" and value.name in frozen for value in graph.values]
    found: set[str] = set()
    for op in graph.ops:
        joined = _joined(graph, sites, op, trained, of_trunk, frozen)
        found.update(joined)
        for out in op.outputs:
            trained[out] = not joined and any(trained[v] for v in op.inputs)
            of_trunk[out] = any(of_trunk[v] for v in op.inputs)
    return frozenset(found)


def _joined(
    graph: Graph, sites: dict[int, Site], op: Op, trained: list[bool], of_trunk: list[bool], frozen: frozenset[str]
) -> tuple[str, ...]:
    if op.name not in SUMS:
        return ()
    summands = [arg for arg in op.args if isinstance(arg, Ref) and graph.moves(arg)]
    trunk = [v for v in summands if of_trunk[v] and not trained[v]]
    others = [v for v in summands if trained[v]]
    if len(trunk) != 1 or len(others) != 1:
        return ()
    name = _closing(graph, sites, others[0], frozen)
    return (name,) if name is not None else ()


def _closing(graph: Graph, sites: dict[int, Site], value: int, frozen: frozenset[str]) -> str | None:
    """The trained map or scale whose zeros make a value zero, the nearest one; None where there is none."""
    waiting = [value]
    for _ in range(_MOST_STEPS):
        op = graph.op_of(source(graph, waiting.pop())) if waiting else None
        if op is None:
            if not waiting:
                return None
            continue
        site = sites.get(op.index)
        weight = site.weight if site is not None else None
        if site is not None and site.kind in (Kind.MAP, Kind.SCALE) and weight is not None:
            is_own = site.kind is Kind.SCALE or not weight.computed
            if is_own and weight.name not in frozen:
                return weight.name if weight.keeps_zero and op.name != "div" else None
            # A frozen map hands zeros on, unless it adds something; one by what was computed from parameters, such as
            # the values of learned prompts, does too.
            waiting += [site.data] if site.data is not None and site.bias is None else []
        elif site is None and (op.name in PRODUCTS or op.name in _MATRIX_PRODUCTS):
            # Zeros in one factor are enough: a scale of attention weights closes their product with the values.
            waiting += [v for v in op.args if isinstance(v, Ref) and graph.moves(v)]
        elif site is None and is_attention(op):
            waiting.append(op.args[2])
    return None


def feeders_of(graph: Graph, sites: dict[int, Site]) -> dict[str, str]:
    """By weight of a map that reads nothing else: the weight of the map that feeds it, and feeds nothing else.

    With zeros in both, neither ever gets a gradient. Only weights that one operation alone reads are named.
    """
    maps = [(site.weight.name, site) for site in sites.values() if site.kind is Kind.MAP and site.weight is not None]
    uses = Counter(name for name, _ in maps)
    fed = ((name, _sole_feeder(graph, sites, site)) for name, site in maps)
    return {name: before for name, before in fed if before is not None and uses[name] == uses[before] == 1}


def _sole_feeder(graph: Graph, sites: dict[int, Site], site: Site) -> str | None:
    """Back from what a map reads, as long as each value has one reader and zero is handed on as zero."""
    value = site.data
    for _ in range(_MOST_STEPS):
        op = graph.op_of(value) if value is not None else None
        if op is None or value is None or not _is_read_once(graph, value):
            return None
        before = sites.get(op.index)
        if before is not None:
            return before.weight.name if before.kind is Kind.MAP and before.weight is not None else None
        value = op.arg(0) if keeps_zero(op) else None if op.name in _PUTS_IN else passes(graph, op)
    return None


def _is_read_once(graph: Graph, value: int) -> bool:
    """Whether one operation alone reads a value; one of which nothing is read, as autograd detaches, counts as none."""
    leading_on = (
        any(graph.readers[out] or out in graph.outputs for out in graph.ops[i].outputs) for i in graph.readers[value]
    )
    return value not in graph.outputs and sum(leading_on) == 1
