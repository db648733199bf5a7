"""The verb ``read``: from a model and an example to its structure."""

from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from exnihilo.errors import LayoutError, ReadError
from exnihilo.layouts import Layout
from exnihilo.structure.attention import Found, attention_of
from exnihilo.structure.branches import branches_of
from exnihilo.structure.ends import tied_heads_of
from exnihilo.structure.graph import Graph, graph_of
from exnihilo.structure.joins import feeders_of, joins_of
from exnihilo.structure.junctions import Junction, junctions_of
from exnihilo.structure.names import canonical_names
from exnihilo.structure.records import Parameter, Role, Slice, Structure
from exnihilo.structure.roles import Given, activation_behind, roles_of
from exnihilo.structure.running import Run, run, uncollected
from exnihilo.structure.sites import Kind, Site, sites_of
from exnihilo.structure.tails import tails_of
from exnihilo.structure.weights import Weight, Weights, guessed_layout, map_layout

_MAPS = frozenset(
    {Role.STEM, Role.HIDDEN, Role.QUERY, Role.KEY, Role.VALUE, Role.HEAD, Role.ADAPTER, Role.UP, Role.GATE}
)
_UNUSED = "no operation of this run reads it"


def read(model: nn.Module, example: Any) -> Structure:
    """The structure of a model, from what it computes on an example.

    A copy of the model runs once, without memory for weights where that works; the model itself is left as it was:
    parameters, buffers, gradients, modes, hooks and random state. A run in training mode that leaves parameters out is
    followed by one in eval mode, which is taken if it reads more of them; ``reading.training`` tells.

    A copy shares what closures hold. Where a hook or a replaced forward changes the model through one, its buffers and
    attributes are set back; changes of other objects that a closure holds, such as a list, stay.

    Args:
        model: Any module: nested, compiled, parallel, with tied, frozen or unused parameters, on any device or meta.
        example: What the model is called with: a tensor, a tuple of arguments, or a mapping of keyword arguments.
            It is copied too. Shapes and dtypes matter; values do where the model's own code asks for them.

    Returns:
        Every parameter with its role and the evidence, residual branches, attention blocks, gated maps.

    Raises:
        ReadError: The model does not run on the example, cannot be copied or refers to itself through a closure, is a
            ScriptModule, a parameter has no shape yet or no element, or no output depends on a parameter.

    Example:
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> import torch
        >>> [(p.name, p.role.value) for p in read(model, torch.zeros(1, 4)).parameters if p.role is not Role.BIAS]
        [('0.weight', 'STEM'), ('2.weight', 'HEAD')]
    """
    with uncollected():
        return read_with_junctions(model, run(model, example))[0]


def read_with_junctions(model: nn.Module, made: Run) -> tuple[Structure, list[Junction]]:
    """The structure behind a recorded run of the model, and the sum that each of its branches ends in."""
    graph = graph_of(made.recording)
    used = _used(graph)
    if not used:
        raise ReadError(
            f"No output of {type(model).__name__} depends on a parameter.",
            context=[f"{len(graph.outputs)} output tensors, {len(graph.ops)} operations"],
            fix="return what the model computes from its parameters, or pass an example that reaches them",
        )
    sites = sites_of(graph, Weights(graph))
    junctions = junctions_of(graph, sites)
    tails = tails_of(graph, sites, junctions)
    # A projected shortcut around something that no parameter closes is a sum of two features.
    kept = [i for i, tail in enumerate(tails) if junctions[i].kind == "identity" or not tail.is_open]
    junctions, tails = [junctions[i] for i in kept], [tails[i] for i in kept]
    branches = branches_of(graph, sites, junctions, tails)
    found = attention_of(graph, sites, list({site.op.index: site for tail in tails for site in tail.maps}.values()))
    given = roles_of(graph, sites, junctions, branches, found, made.recording.recurrent)
    facts = _Facts(model, graph, sites, found, given, used, made.recording.reached)
    structure = Structure(
        model=type(model).__name__,
        parameters=tuple(facts.parameters()),
        branches=branches,
        attentions=found.attentions,
        gated_maps=found.gated_maps,
        tied_heads=tied_heads_of(graph, sites),
        reading=made.reading,
    )
    return structure, junctions


def _used(graph: Graph) -> frozenset[str]:
    """The parameters that some output depends on."""
    waiting, seen = list(graph.outputs), set(graph.outputs)
    while waiting:
        op = graph.op_of(waiting.pop())
        fresh = [v for v in op.inputs if v not in seen] if op is not None else []
        seen.update(fresh)
        waiting += fresh
    return frozenset(name for name, value in graph.parameters.items() if value in seen)


class _Facts:
    """What is known of each parameter, brought together."""

    def __init__(
        self,
        model: nn.Module,
        graph: Graph,
        sites: dict[int, Site],
        found: Found,
        given: dict[str, Given],
        used: frozenset[str],
        reached: frozenset[str],
    ) -> None:
        self._model, self._graph, self._found, self._given = model, graph, found, given
        self._used, self._reached = used, reached
        self._canonical = canonical_names(model)
        self._sites: dict[str, Site] = {}
        for site in sites.values():
            if site.weight is not None:
                self._sites.setdefault(site.weight.name, site)
        self._readers = graph.readers
        self._all_sites = sites
        self._feeders = feeders_of(graph, sites)
        frozen = frozenset(self._canonical[path] for path, p in model.named_parameters() if not p.requires_grad)
        self._joins = joins_of(graph, sites, frozen)

    def parameters(self) -> list[Parameter]:
        owners: dict[int, str] = {}
        listed: list[Parameter] = []
        for path, tensor in self._model.named_parameters(remove_duplicate=False):
            name = self._canonical[path]
            owner = owners.setdefault(id(tensor), name)
            listed.append(self._parameter(name, path, tensor, owner))
        return listed

    def _parameter(self, name: str, path: str, tensor: Tensor, owner: str) -> Parameter:
        given = self._given.get(owner) or self._by_owner(path, tensor)
        site = self._sites.get(owner)
        slices = self._found.slices.get(owner, ())
        return Parameter(
            name=name,
            path=path,
            shape=tuple(tensor.shape),
            dtype=str(tensor.dtype).removeprefix("torch."),
            tied_to=owner if owner != name else None,
            frozen=not tensor.requires_grad,
            used=owner in self._used,
            detached=owner in self._used and owner not in self._reached and tensor.is_floating_point(),
            layout=_packed(self._layout(path, tensor, site, given.role), slices),
            role=given.role,
            evidence=given.evidence,
            slices=slices if len(slices) > 1 else (),
            follows=given.follows,
            activation=self._activation(site),
            offset=_offset(site.weight) if site is not None else 0.0,
            **_computed(site),
            fed_by=self._feeders.get(owner),
            joins=owner in self._joins,
        )

    def _activation(self, site: Site | None) -> str | None:
        if site is None or site.kind is not Kind.MAP:
            return None
        return activation_behind(self._graph, self._readers, self._all_sites, site.out)

    def _layout(self, path: str, tensor: Tensor, site: Site | None, role: Role) -> Layout:
        shape = tuple(tensor.shape)
        if role is Role.RECURRENT or site is None:
            return self._layout_of_owner(path, shape, role)
        if site.kind is Kind.MAP and site.weight is not None:
            return map_layout(self._graph, site.op, site.weight, is_second=site.is_second)
        if site.kind is Kind.LOOKUP and len(shape) == 2:
            return Layout.embedding(*shape)
        return Layout.vector(*shape)

    def _layout_of_owner(self, path: str, shape: tuple[int, ...], role: Role) -> Layout:
        try:
            return Layout.of(self._model, path)
        except LayoutError:
            return guessed_layout(shape) if role in _MAPS else Layout.vector(*shape)

    def _by_owner(self, path: str, tensor: Tensor) -> Given:
        """The role of a parameter that no operation reads, as far as its module's class tells."""
        owner = self._model.get_submodule(path.rpartition(".")[0])
        leaf = path.rpartition(".")[2]
        evidence = f"{_UNUSED}; it belongs to a {type(owner).__name__}"
        if tensor.dim() > 1 and type(owner).__module__.startswith("torch.nn"):
            role = Role.EMBEDDING if isinstance(owner, nn.Embedding | nn.EmbeddingBag) else Role.HIDDEN
            return Given(role, evidence)
        is_norm = "Norm" in type(owner).__name__
        if leaf.startswith("bias"):
            return Given(Role.NORM_SHIFT if is_norm else Role.BIAS, evidence)
        return Given(Role.NORM_SCALE if is_norm and leaf == "weight" else Role.UNKNOWN, evidence)


def _computed(site: Site | None) -> dict[str, Any]:
    """What is to know of a weight that a map does not read as it is."""
    weight = site.weight if site is not None and site.kind is Kind.MAP else None
    if weight is None or not weight.computed:
        return {}
    return {"computed": True, "divided": weight.divided, "length": weight.factor if weight.divided else None}


def _offset(weight: Weight | None) -> float:
    """What stands beside the parameter itself, so that its negative makes the sum zero."""
    return weight.offset / weight.scale if weight is not None and weight.scale else 0.0


def _packed(layout: Layout, slices: tuple[Slice, ...]) -> Layout:
    """The layout with its matrices told apart, where they lie side by side in equal parts."""
    count = len(slices)
    if count < 2 or layout.kind != "linear" or len(layout.out_dims) != 1:
        return layout
    units = layout.shape[layout.out_dims[0]]
    equal = [((i * units // count, (i + 1) * units // count),) for i in range(count)]
    if units % count or [part.ranges for part in slices] != equal:
        return layout
    return replace(layout, kind="packed", stacked=count, packed_dim=layout.out_dims[0])
