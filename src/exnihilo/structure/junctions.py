"""Residual junctions: the sums ``shortcut(x) + branch(x)``, and the operations that lie on each branch.

From one summand the stream is followed back as long as operations only hand it on, and past earlier junctions along
their shortcuts. From the other all that it was made of is followed back, latest operation first. Where both meet is
the fork. Each sum costs the operations of its own branch, so that all of them together cost one pass over a network of
branches in sequence.
"""

import heapq
from dataclasses import dataclass, replace

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import RESIZES, SUMS, passes, source
from exnihilo.structure.records import Shortcut
from exnihilo.structure.sites import Kind, Site
from exnihilo.structure.streams import Streams

_CARRIES = (Kind.NORM, Kind.SCALE, Kind.SHIFT)
_LINEAR_KINDS = (Kind.MAP, Kind.NORM, Kind.SCALE, Kind.SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Junction:
    """One residual sum.

    Args:
        op: The sum; the last one where there are several branches.
        first: The first sum, which reads the shortcut.
        fork: The value that shortcut and branch both start from.
        shortcut: The summand that came along the shortcut.
        branches: The summands that came along the branch: several where paths of it are added one after the other.
        kind: What the shortcut is.
        members: Operations on the branch, in order.
        aside: Operations on a projection shortcut, in order.
    """

    op: Op
    first: Op
    fork: int
    shortcut: int
    branches: tuple[int, ...]
    kind: Shortcut
    members: tuple[int, ...]
    aside: tuple[int, ...] = ()


def sums_before(graph: Graph, sites: dict[int, Site], junctions: list[Junction]) -> list[int | None]:
    """Of each junction: the number of the one whose sum its shortcut carries on, but for norms, scales and views."""
    made_by = {value: number for number, junction in enumerate(junctions) for value in junction.op.outputs}

    def before(value: int) -> int | None:
        while value not in made_by:
            op = graph.op_of(value)
            site = sites.get(op.index) if op is not None else None
            carried = site.data if site is not None and site.kind in _CARRIES else passes(graph, op) if op else None
            if carried is None:
                return None
            value = int(carried)
        return made_by[value]

    return [before(junction.shortcut) for junction in junctions]


def junctions_of(graph: Graph, sites: dict[int, Site]) -> list[Junction]:
    """Every residual junction, in order of execution."""
    search = _Search(graph, sites)
    for op in graph.ops:
        if op.name in SUMS:
            search.look_at(op)
    return search.found


class _Search:
    def __init__(self, graph: Graph, sites: dict[int, Site]) -> None:
        self._graph, self._sites = graph, sites
        self.found: list[Junction] = []
        self._streams = Streams(graph, sites)
        self._forks: dict[int, int] = {}

    def look_at(self, op: Op) -> None:
        summands = self._summands(op)
        if summands is None:
            return
        first, second = summands
        # What is taken away, or added in part, is no shortcut: f(x) - x is not the identity where f is zero.
        takes = op.name == "sub" or op.kwargs.get("alpha", 1) != 1
        junction = (
            self._identity(op, first, second)
            or (None if takes else self._identity(op, second, first))
            or self._projection(op, first, second)
            or self._projection(op, second, first)
        )
        if junction is not None:
            self.found.append(self._joined(junction))
            self._forks[op.index] = junction.fork
            self._streams.note(op, junction.shortcut if junction.kind == "identity" else None)

    def _joined(self, junction: Junction) -> Junction:
        """The junction; one with the last, where both branches go through the same map: paths of one branch."""
        last = self.found[-1] if self.found else None
        if last is None or last.kind != "identity" or junction.kind != "identity":
            return junction
        if source(self._graph, junction.shortcut) not in last.op.outputs:
            return junction
        shared = set(last.members) & set(junction.members)
        if not any(index in self._sites and self._sites[index].kind is Kind.MAP for index in shared):
            return junction
        del self.found[-1]
        return replace(
            junction,
            first=last.first,
            fork=last.fork,
            shortcut=last.shortcut,
            branches=(*last.branches, *junction.branches),
            members=tuple(sorted({*last.members, *junction.members})),
        )

    def _summands(self, op: Op) -> tuple[int, int] | None:
        refs = [arg for arg in op.args if isinstance(arg, Ref)]
        pair = (refs[0], refs[-1]) if op.name not in ("add", "sub", "rsub") and len(refs) > 2 else tuple(refs[:2])
        if len(pair) < 2 or pair[0] == pair[1]:
            return None
        graph, shape = self._graph, self._graph.shape(op.outputs[0])
        same = all(graph.shape(v) == shape for v in pair)
        if not all(graph.moves(v) for v in pair):
            # A learned start of a stream has the stream's own shape; biases and places are spread over it.
            learned = same and any(graph.is_weight(v) for v in pair) and any(graph.moves(v) for v in pair)
            return (int(pair[0]), int(pair[1])) if learned else None
        is_raw = not any(graph.values[v].from_parameter for v in pair)
        if is_raw or (op.name in ("add", "sub", "rsub") and not same):
            return None
        return int(pair[0]), int(pair[1])

    def _is_stream(self, junction: Op, stream: int, fork: int, members: tuple[int, ...]) -> bool:
        """Whether the shortcut carries the whole fork, or what of it goes on as a stream behind the sum.

        Features that only meet others in a sum, to be mapped together, are no shortcut (Res2Net); halves that are
        put together again are (reversible networks), and so is a token whose branch reads all tokens.
        """
        streams, graph = self._streams, self._graph
        way = [op for value in streams.way(stream, fork)[:-1] if (op := graph.op_of(value)) is not None]
        carried = [op for op in way if not streams.is_sum(op.outputs[0])]
        if any(streams.is_scaled(op) for op in carried) or graph.is_weight(fork):
            return streams.goes_on(junction)
        if not any(streams.is_part(op) for op in carried):
            return True
        reads = [graph.ops[index] for index in members if fork in graph.ops[index].inputs]
        return not all(streams.is_part(op) for op in reads) or streams.is_joined(junction)

    def _is_blended(self, branch: int) -> bool:
        """Whether a second sum takes the branch too, as a gate does that takes from one what it gives to the other."""
        return sum(self._graph.ops[index].name in SUMS for index in self._graph.readers[branch]) > 1

    def _fork(self, stream: int, branch: int, avoid: frozenset[str] = frozenset()) -> tuple[int, list[int]] | None:
        """Where the stream behind one value and the making of another meet, and the operations walked to get there.

        Args:
            avoid: Weights of maps that end the walk, with no meeting.
        """
        graph = self._graph
        at: int | None = stream
        heap = [(-graph.values[branch].producer, branch)]
        learned = self._made_of(stream) if graph.is_weight(stream) else frozenset[int]()
        seen, walked = {branch}, list[int]()
        while heap:
            producer, value = -heap[0][0], heap[0][1]
            while at is not None and (graph.values[at].producer > producer):
                at = self._streams.parent(at)
            if at is None:
                return None
            if at == value:
                return value, walked
            heapq.heappop(heap)
            if producer < 0:
                continue
            op = graph.ops[producer]
            if avoid and self._maps((producer,)) & avoid:
                return None
            if not walked or walked[-1] != producer:
                walked.append(producer)
            for read in op.inputs:
                if read not in seen and (graph.moves(read) or read in learned):
                    seen.add(read)
                    heapq.heappush(heap, (-graph.values[read].producer, read))
        return None

    def _made_of(self, weight: int) -> frozenset[int]:
        """A parameter's value, what it was before views, and all that is made of that and parameters alone."""
        start = weight
        while (before := self._streams.parent(start)) is not None:
            start = before
        made, waiting = {start}, [start]
        while waiting:
            for index in self._graph.readers[waiting.pop()]:
                fresh = [v for v in self._graph.ops[index].outputs if v not in made and self._graph.is_weight(v)]
                made.update(fresh)
                waiting += fresh
        return frozenset(made)

    def _members(self, fork: int, branch: int, walked: list[int]) -> tuple[int, ...]:
        """Of the operations walked, those that the fork leads to; none where a junction among them begins elsewhere.

        A sum that carries one stream into another, as scores do that share a bias with those of the layer below,
        crosses the residual junctions between instead of holding them.
        """
        reached, members = {fork}, list[int]()
        for index in reversed(walked):
            op = self._graph.ops[index]
            if any(v in reached for v in op.inputs):
                reached.update(op.outputs)
                members.append(index)
        inside = [self._forks[index] for index in members if index in self._forks]
        crossed = any(other not in reached and not self._streams.holds(fork, other) for other in inside)
        return tuple(members) if branch in reached and not crossed else ()

    def _identity(self, op: Op, stream: int, branch: int) -> Junction | None:
        meeting = self._fork(stream, branch)
        if meeting is None:
            return None
        fork, walked = meeting
        members = self._members(fork, branch, walked)
        if not any(self._acts(index) for index in members) or not self._is_stream(op, stream, fork, members):
            return None
        if self._is_blended(branch):
            return None
        return Junction(
            op=op, first=op, fork=fork, shortcut=stream, branches=(branch,), kind="identity", members=members
        )

    def _acts(self, index: int) -> bool:
        site = self._sites.get(index)
        return site is not None and (site.kind is Kind.MAP or (site.kind is Kind.NORM and site.weight is not None))

    def _projection(self, op: Op, shortcut: int, branch: int) -> Junction | None:
        aside = self._one_map(shortcut)
        if aside is None:
            return None
        start, path = aside
        # A shortcut shares no weight with its branch; a recurrent step, which adds to its last, does.
        meeting = self._fork(start, branch, self._maps(path))
        if meeting is None:
            return None
        fork, walked = meeting
        members = self._members(fork, branch, walked)
        if not self._is_block(members) or self._map_behind_stream(start, fork) or self._ends_in_product(branch):
            return None
        return Junction(
            op=op,
            first=op,
            fork=fork,
            shortcut=shortcut,
            branches=(branch,),
            kind="projection",
            members=members,
            aside=path,
        )

    def _ends_in_product(self, branch: int) -> bool:
        """Whether a product of activations made the branch's end, as attention scores are."""
        op = self._graph.op_of(source(self._graph, branch))
        return op is not None and op.index not in self._sites and op.name in ("bmm", "baddbmm", "mm", "matmul")

    def _maps(self, ops: tuple[int, ...]) -> frozenset[str]:
        """The weights that some operations map by."""
        sites = [self._sites[index] for index in ops if index in self._sites]
        return frozenset(site.weight.name for site in sites if site.kind is Kind.MAP and site.weight is not None)

    def _map_behind_stream(self, start: int, fork: int) -> bool:
        """Whether the shortcut begins further up the stream than the branch does."""
        return self._graph.values[start].producer < self._graph.values[fork].producer

    def _one_map(self, value: int) -> tuple[int, tuple[int, ...]] | None:
        """What one linear map with its norm made the value from, and the operations of that path."""
        path, maps = list[int](), 0
        for _ in range(64):
            op = self._graph.op_of(value)
            if op is None:
                break
            site = self._sites.get(op.index)
            handed = passes(self._graph, op)
            if site is not None and site.kind in _LINEAR_KINDS and site.data is not None:
                if site.kind is Kind.MAP and (maps := maps + 1) > 1:
                    break
                if maps and site.kind is not Kind.MAP:
                    break
                value = site.data
            elif handed is not None and not maps:
                value = handed
            elif not maps and (constant := self._plus_constant(op)) is not None:
                value = constant
            else:
                break
            path.append(op.index)
        return (value, tuple(reversed(path))) if maps else None

    def _plus_constant(self, op: Op) -> int | None:
        """What a number or a buffer was added to, as a frozen norm does."""
        moving = [v for v in op.inputs if self._graph.moves(v)]
        return moving[0] if op.name in ("add", "sub") and len(moving) == 1 else None

    def _is_block(self, members: tuple[int, ...]) -> bool:
        """A nonlinearity between maps, and no change back to a finer resolution, as feature pyramids have."""
        ops = [self._graph.ops[index] for index in members]
        if any(op.name in RESIZES for op in ops):
            return False
        maps = [op for op in ops if (site := self._sites.get(op.index)) is not None and site.kind is Kind.MAP]
        return bool(maps) and any(self._bends(op) for op in ops)

    def _bends(self, op: Op) -> bool:
        site = self._sites.get(op.index)
        if site is not None and site.kind in _LINEAR_KINDS:
            return False
        return passes(self._graph, op) is None and op.name not in SUMS and op.name not in ("cat", "stack")
