"""What ends a branch: the way back from its end, on all paths, to the last affine operation and the last map."""

from dataclasses import dataclass, field

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.junctions import Junction
from exnihilo.structure.operators import (
    ACTIVATIONS,
    PRODUCTS,
    SUMS,
    activation_of,
    is_attention,
    keeps_zero,
    passes,
    source,
)
from exnihilo.structure.sites import Kind, Site, site_behind

PARALLEL = SUMS | {"cat", "stack"}
_NOISE = frozenset({"bernoulli", "rand", "rand_like", "native_dropout", "uniform"})


@dataclass
class Tail:
    """What was met on the way back from a branch's end, on all paths.

    Args:
        outputs: The last affine operation on each path.
        maps: The last linear map on each path.
        shifts: Parameters added behind the outputs.
        scales: Parameters that multiply the branch behind the outputs.
        gates: Maps from outside the branch whose outputs multiply it.
        activation: The nonlinearity behind the outputs.
        drop_path: The branch is multiplied by noise, one number a sample.
        is_open: Some path ends in an operation that nothing can be said about.
        factors: What moves, and multiplies what the outputs give out.
        behind: The values from the outputs to the end.
        is_normed: A norm without a scale of its own stands behind the outputs.
    """

    outputs: list[Site] = field(default_factory=list)
    maps: list[Site] = field(default_factory=list)
    shifts: list[str] = field(default_factory=list)
    scales: list[str] = field(default_factory=list)
    gates: list[Site] = field(default_factory=list)
    activation: str | None = None
    drop_path: bool = False
    is_open: bool = False
    factors: list[int] = field(default_factory=list)
    behind: set[int] = field(default_factory=set)
    is_normed: bool = False


def tails_of(graph: Graph, sites: dict[int, Site], junctions: list[Junction]) -> list[Tail]:
    """What ends each branch."""
    return [_Back(graph, sites, junction).tail for junction in junctions]


class _Back:
    """Walks back from the end of one branch."""

    def __init__(self, graph: Graph, sites: dict[int, Site], junction: Junction) -> None:
        self._graph, self._sites, self._fork = graph, sites, junction.fork
        self._members = set(junction.members)
        self.tail = Tail()
        self._seen: set[tuple[int, bool]] = set()
        self._waiting = [(end, False) for end in junction.branches]
        while self._waiting:
            self._step(*self._waiting.pop())

    def _go(self, value: object, behind: bool) -> None:
        if isinstance(value, int) and self._graph.moves(value) and self._graph.is_real(value):
            self._waiting.append((int(value), behind))

    def _step(self, value: int, behind: bool) -> None:
        """One value of the branch; ``behind`` is set once the last affine operation of this path was met."""
        if (value, behind) in self._seen or value == self._fork:
            # Where a path of the branch is the stream itself, no parameter makes its end zero.
            self.tail.is_open = self.tail.is_open or (value == self._fork and not behind)
            return
        self._seen.add((value, behind))
        if not behind:
            self.tail.behind.add(value)
        op = self._graph.op_of(value)
        if op is None or op.index not in self._members:
            return
        site = self._sites.get(op.index)
        if site is not None and site.kind in (Kind.MAP, Kind.NORM, Kind.SCALE, Kind.SHIFT):
            self._affine(site, behind)
        elif op.name in PARALLEL and passes(self._graph, op) is None:
            # What a number adds, no zero in a parameter takes away.
            numbers = [arg for arg in op.args if isinstance(arg, int | float) and not isinstance(arg, Ref)]
            adds = op.name in ("add", "sub", "rsub") and any(numbers)
            self.tail.is_open = self.tail.is_open or (adds and not behind)
            for read in op.inputs:
                self._go(read, behind)
        else:
            self._other(op, behind)

    def _affine(self, site: Site, behind: bool) -> None:
        tail = self.tail
        if site.kind is Kind.MAP:
            tail.maps.append(site)
            if not behind:
                tail.outputs.append(site)
                tail.is_open = tail.is_open or not _can_close(site)
            return
        if site.kind is Kind.NORM and site.weight is not None and not behind:
            tail.outputs.append(site)
            behind = True
        elif site.kind is Kind.SCALE and not behind and site.weight is not None and site.op.name != "div":
            if not follows_norm(site):
                tail.scales.append(site.weight.name)
            if _can_close(site):
                tail.outputs.append(site)
                behind = True
        elif site.kind is Kind.SHIFT and not behind and site.weight is not None:
            tail.shifts.append(site.weight.name)
        elif site.kind is Kind.NORM and not behind:
            tail.is_normed = True
        self._go(site.data, behind)

    def _other(self, op: Op, behind: bool) -> None:
        graph, tail = self._graph, self.tail
        handed = passes(graph, op)
        if handed is not None:
            tail.drop_path = tail.drop_path or (not behind and _is_drop_path(graph, op))
            fills = op.name == "masked_fill" and bool(op.arg(2)) and not behind
            tail.is_open = tail.is_open or fills
            self._go(handed, behind)
        elif is_attention(op):
            self._along(op, op.arg(2), behind)
        elif op.name in ACTIVATIONS:
            name = activation_of(op)
            if not behind:
                tail.activation = tail.activation or name
            if keeps_zero(op):
                self._go(op.arg(0), behind)
            else:
                self._stop(op, behind)
        elif op.name in PRODUCTS or op.name in ("bmm", "mm", "matmul", "baddbmm"):
            self._product(op, behind)
        else:
            self._stop(op, behind)

    def _stop(self, op: Op, behind: bool) -> None:
        """Nothing behind this operation makes the branch zero; its maps are looked for all the same."""
        self.tail.is_open = self.tail.is_open or not behind
        for read in op.inputs:
            self._go(read, True)

    def _product(self, op: Op, behind: bool) -> None:
        """Along the factor that is affine in the branch; a factor from elsewhere is a gate."""
        graph = self._graph
        factors = [v for v in op.args if isinstance(v, Ref) and graph.moves(v)][-2:]
        outside = [v for v in factors if not self._is_inside(v)] if op.name in PRODUCTS else []
        if outside and len(outside) < len(factors):
            gates = [site_behind(graph, self._sites, v) for v in outside]
            self.tail.gates += [site for site in gates if site is not None and site.kind is Kind.MAP]
            factors = [v for v in factors if v not in outside]
        straight = [v for v in factors if not self._is_bent(v)]
        closing = straight or [v for v in factors if self._keeps_zero(v)]
        if closing:
            self._along(op, closing[0], behind)
        else:
            self._stop(op, behind)

    def _along(self, op: Op, factor: Ref, behind: bool) -> None:
        """Along one factor of a product; the others are noted."""
        if not behind:
            moving = [arg for arg in op.args if isinstance(arg, Ref) and self._graph.moves(arg)]
            moving.remove(factor)
            self.tail.factors += moving
        self._go(factor, behind)

    def _is_inside(self, value: int) -> bool:
        op = self._graph.op_of(value)
        return value == self._fork or (op is not None and op.index in self._members)

    def _keeps_zero(self, value: int) -> bool:
        """Whether an activation that gives zero for zero made the value."""
        op = self._graph.op_of(source(self._graph, value))
        return op is not None and keeps_zero(op)

    def _is_bent(self, value: int) -> bool:
        """Whether a nonlinearity made the value, rather than a map, a norm, a sum or another product."""
        op = self._graph.op_of(source(self._graph, value))
        if op is None or op.index in self._sites or op.name in PARALLEL or is_attention(op):
            return False
        return op.name not in PRODUCTS and op.name not in ("bmm", "mm", "matmul", "baddbmm")


def follows_norm(site: Site) -> bool:
    """Whether a scale or shift is that of a norm that has none of its own."""
    return site.origin is not None and site.origin.kind is Kind.NORM and site.origin.weight is None


def _is_drop_path(graph: Graph, op: Op) -> bool:
    """A factor of noise with one number for each sample."""
    if op.name not in PRODUCTS:
        return False
    refs = [arg for arg in op.args if isinstance(arg, Ref) and not graph.values[arg].from_parameter]
    for value in refs:
        shape = graph.shape(value)
        if len(shape) > 1 and all(length == 1 for length in shape[1:]) and _is_noise(graph, value):
            return True
    return False


def _is_noise(graph: Graph, value: int) -> bool:
    for _ in range(8):
        op = graph.op_of(value)
        if op is None:
            return False
        if op.name in _NOISE:
            return True
        if not op.inputs:
            return False
        value = op.inputs[0]
    return False


def _can_close(site: Site) -> bool:
    """Whether zeros in the parameter, or in a factor of the weight computed from it, make the output zero."""
    weight = site.weight
    return weight is None or weight.keeps_zero or weight.factor is not None


def zeroed(site: Site) -> str:
    """The parameter whose zeros make the operation's output zero: of a computed weight the factor, if it has one.

    The direction of weight normalization divides by its own length; its magnitude does not.
    """
    weight = site.weight
    assert weight is not None  # noqa: S101  # outputs are sites with a weight
    return weight.factor or weight.name
