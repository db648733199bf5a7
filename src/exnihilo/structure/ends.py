"""Which modules give out what a branch adds, and whether a factor of its last affine operation is one of the branch."""

from exnihilo.structure.graph import Graph
from exnihilo.structure.junctions import Junction
from exnihilo.structure.names import module_of
from exnihilo.structure.operators import HANDS_ON, PRODUCTS, passes
from exnihilo.structure.records import End, TiedHead
from exnihilo.structure.sites import Kind, Site
from exnihilo.structure.tails import Tail, zeroed

# Handed on, yet not in proportion: the largest of several, or what another number took the place of.
_UNEVEN = frozenset(
    {
        "max_pool2d_with_indices", "max_pool1d", "max_pool3d_with_indices", "max_pool2d", "mkldnn_max_pool2d",
        "amax", "amin", "max", "nan_to_num", "masked_fill", "constant_pad_nd", "pad", "scatter", "update", "copy",
    }
)  # fmt: skip


def ends_of(graph: Graph, junction: Junction) -> tuple[End, ...]:
    """The module behind each summand of a branch; none where one of them has no such."""
    found = [_end(graph, value) for value in junction.branches]
    return tuple(end for end in found if end is not None) if all(found) else ()


def _end(graph: Graph, value: int) -> End | None:
    """Back from a summand, as long as nothing else reads what is handed on in proportion."""
    at: int | None = value
    while at is not None and _num_readers(graph, at) == 1:
        gives = [call.module for call in graph.given_out.get(at, ()) if call.alone]
        if gives:
            return End(module=gives[-1], shape=graph.shape(at))
        op = graph.op_of(at)
        is_even = op is not None and (op.name in HANDS_ON or op.name in PRODUCTS) and op.name not in _UNEVEN
        at = passes(graph, op) if op is not None and is_even else None
    return None


def tied_heads_of(graph: Graph, sites: dict[int, Site]) -> tuple[TiedHead, ...]:
    """The maps by tensors that are looked up too."""
    looked_up = {site.weight.name for site in sites.values() if site.kind is Kind.LOOKUP and site.weight is not None}
    maps = [site for site in sites.values() if site.kind is Kind.MAP and site.weight is not None]
    return tuple(
        TiedHead(weight=site.weight.name, end=_given_out(graph, site.out))
        for site in maps
        if site.weight is not None and site.weight.name in looked_up
    )


def _given_out(graph: Graph, value: int) -> End | None:
    """Forward from what a map made, through views, to the first module that gives it out."""
    at = value
    while True:
        gives = [call.module for call in graph.given_out.get(at, ()) if call.alone]
        if gives:
            return End(module=gives[0], shape=graph.shape(at))
        behind = [op for index in graph.readers[at] if passes(graph, op := graph.ops[index]) == at]
        if len(behind) != 1:
            return None
        at = behind[0].outputs[0]


def _num_readers(graph: Graph, value: int) -> int:
    """How much is made of a value: outputs count, and what autograd sets aside does not."""
    readers = (graph.ops[index] for index in graph.readers[value])
    used = [op for op in readers if any(graph.readers[v] or v in graph.outputs for v in op.outputs)]
    return len(used) + (value in graph.outputs)


def bend_of(graph: Graph, sites: dict[int, Site], junction: Junction, tail: Tail) -> str | None:
    """Why a factor on the modules of a branch's last affine operations is none on the branch; None where it is one."""
    ends = {site.op.index for site in tail.outputs}
    names = {site.weight.name for site in tail.outputs if site.weight is not None}
    if tail.activation is not None:
        return f"it ends in {tail.activation}, of which a factor before it is none behind it"
    if tail.is_normed:
        return "a norm without a scale ends it, which takes a factor before it out again"
    if any(s.op.index not in ends and s.weight is not None and s.weight.name in names for s in sites.values()):
        return "its last map is used elsewhere too"
    if _made_of(graph, frozenset(junction.members), tail.factors) & ends:
        return "what ends it is multiplied by something that is made of it"
    modules = {module_of(zeroed(site)) for site in tail.outputs}
    if modules - {call.module for value in tail.behind for call in graph.given_out.get(value, ())}:
        return "the module of its last weight gives out something else"
    if {module_of(name) for name in tail.shifts} - modules:
        return "a number is added behind its last map"
    return None


def _made_of(graph: Graph, members: frozenset[int], values: list[int]) -> set[int]:
    """The operations on a branch that some values are made of."""
    waiting, seen = list(values), set[int]()
    while waiting:
        op = graph.op_of(waiting.pop())
        if op is not None and op.index in members and op.index not in seen:
            seen.add(op.index)
            waiting += op.inputs
    return seen
