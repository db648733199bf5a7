"""From a residual junction to a branch: its parameters, what ends it, where its norm stands, what it lies in."""

from exnihilo.structure.ends import bend_of, ends_of
from exnihilo.structure.graph import Graph
from exnihilo.structure.junctions import Junction, sums_before
from exnihilo.structure.operators import HANDS_ON, passes, source
from exnihilo.structure.records import Branch, NormPlacement
from exnihilo.structure.sites import Kind, Site
from exnihilo.structure.tails import Tail, follows_norm, zeroed


def branches_of(
    graph: Graph, sites: dict[int, Site], junctions: list[Junction], tails: list[Tail]
) -> tuple[Branch, ...]:
    """A branch for each junction, in order."""
    places = zip(_parents(graph, junctions), sums_before(graph, sites, junctions), strict=True)
    continued, norms_of = _continued(graph, junctions), _norms_by_data(graph, sites)
    found: list[Branch] = []
    for index, (junction, tail, (parent, after)) in enumerate(zip(junctions, tails, places, strict=True)):
        members = _names(sites[i] for i in junction.members if i in sites)
        outputs = tail.outputs if not tail.is_open else []
        found.append(
            Branch(
                index=index,
                name=common_prefix(members),
                shortcut=junction.kind,
                shortcut_members=_names(sites[i] for i in junction.aside if i in sites),
                members=members,
                maps=_weights(tail.maps),
                outputs=_unique([zeroed(site) for site in outputs]),
                output_biases=_unique([*tail.shifts, *(s.bias.name for s in outputs if s.bias)]) if outputs else (),
                scales=_unique(tail.scales),
                modulated_by=_weights(tail.gates),
                ends_in=tail.activation,
                bends=bend_of(graph, sites, junction, tail) if outputs else None,
                ends=ends_of(graph, junction),
                drop_path=tail.drop_path,
                norm=_placement(graph, sites, junction, outputs, continued, norms_of),
                parent=parent,
                after=after,
            )
        )
    return tuple(found)


def common_prefix(names: tuple[str, ...]) -> str:
    """The dotted parts that all names begin with, without the last part of any.

    Example:
        >>> common_prefix(("blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"))
        'blocks.0.mlp'
    """
    paths = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return ".".join(shared)


def _unique(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _weights(sites: list[Site]) -> tuple[str, ...]:
    return _unique([site.weight.name for site in sites if site.weight is not None])


def _names(sites: object) -> tuple[str, ...]:
    found: list[str] = []
    for site in sites:  # pyright: ignore[reportGeneralTypeIssues, reportUnknownVariableType]
        for weight in (site.weight, site.bias):
            if weight is not None:
                found += [weight.name, *(other.name for other in weight.others)]
    return _unique(found)


def _parents(graph: Graph, junctions: list[Junction]) -> list[int | None]:
    """The smallest branch that holds each junction, its fork included."""
    owner: dict[int, int] = {}
    for index in sorted(range(len(junctions)), key=lambda i: -len(junctions[i].members)):
        for op in junctions[index].members:
            owner[op] = index

    def parent(junction: Junction) -> int | None:
        found = owner.get(junction.op.index)
        begins = graph.values[junction.fork].producer
        return found if found is not None and begins >= graph.values[junctions[found].fork].producer else None

    return [parent(junction) for junction in junctions]


def _continued(graph: Graph, junctions: list[Junction]) -> set[int]:
    """Values that a later junction takes as its fork or shortcut."""
    return {source(graph, v) for junction in junctions for v in (junction.fork, junction.shortcut)}


def _norms_by_data(graph: Graph, sites: dict[int, Site]) -> dict[int, Site]:
    norms = (site for site in sites.values() if site.kind is Kind.NORM and site.data is not None)
    return {source(graph, site.data): site for site in norms if site.data is not None}


def _placement(
    graph: Graph,
    sites: dict[int, Site],
    junction: Junction,
    outputs: list[Site],
    continued: set[int],
    norms_of: dict[int, Site],
) -> NormPlacement:
    inside = [sites[i] for i in junction.members if i in sites and sites[i].kind is Kind.NORM]
    fork = _unviewed(graph, junction.fork)
    is_first = any(site.data is not None and _reads(graph, site.data, fork) for site in inside)
    is_last = any(site.kind is Kind.NORM or follows_norm(site) for site in outputs)
    if is_first:
        return "sandwich" if is_last else "pre"
    end = junction.op.outputs[0]
    if inside:
        return "inner"
    return "post" if end in norms_of and end not in continued else "none"


def _reads(graph: Graph, value: int, fork: int) -> bool:
    """Whether a value is the fork but for views, or the fork put beside others."""
    at: int | None = value
    while at is not None:
        op = graph.op_of(at)
        if _unviewed(graph, at) == fork:
            return True
        if op is not None and op.name in ("cat", "stack"):
            return any(_unviewed(graph, v) == fork for v in op.inputs)
        at = passes(graph, op) if op is not None else None
    return False


def _unviewed(graph: Graph, value: int) -> int:
    """What a value was before views, of parameters too."""
    value = source(graph, value)
    while (op := graph.op_of(value)) is not None and op.name in HANDS_ON and graph.is_weight(value):
        value = op.args[0]
    return value
