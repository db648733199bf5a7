"""Residual junctions: the sums ``shortcut(x) + branch(x)``, and the operations that lie on each branch.

From one summand the stream is followed back as long as operations only hand it on, and past earlier junctions along
their shortcuts. From the other all that it was made of is followed back, latest operation first. Where both meet is
the fork. Each sum costs the operations of its own branch, so that all of them together cost one pass over a network of
branches in sequence.
"""

import heapq
from dataclasses import dataclass, replace

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import PARTS, RESIZES, SUMS, passes, source
from exnihilo.structure.records import Shortcut
from exnihilo.structure.sites import Kind, Site

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
        self._shortcut_of: dict[int, int] = {}
        self._parents: dict[int, int | None] = {}
        self._forks: dict[int, int] = {}

    def look_at(self, op: Op) -> None:
        summands = self._summands(op)
        if summands is None:
            return
        first, second = summands
        junction = (
            self._identity(op, first, second)
            or self._identity(op, second, first)
            or self._projection(op, first, second)
            or self._projection(op, second, first)
        )
        if junction is not None:
            self.found.append(self._joined(junction))
            self._forks[op.index] = junction.fork
            for value in op.outputs:
                self._shortcut_of[value] = junction.shortcut if junction.kind == "identity" else -1

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
        if len(pair) < 2 or not all(self._graph.moves(v) for v in pair) or pair[0] == pair[1]:
            return None
        if not all(self._graph.values[v].from_parameter for v in pair) and not self._raw(pair):
            return None
        shape = self._graph.shape(op.outputs[0])
        if op.name in ("add", "sub", "rsub") and any(self._graph.shape(v) != shape for v in pair):
            return None
        return int(pair[0]), int(pair[1])

    def _raw(self, pair: tuple[Ref, ...]) -> bool:
        """One summand may be the model's own input, before any parameter."""
        return any(self._graph.values[v].from_parameter for v in pair)

    def _parent(self, value: int) -> int | None:
        """The value before this one along the residual stream, None where the stream begins."""
        if value not in self._parents:
            op = self._graph.op_of(value)
            if op is None:
                self._parents[value] = None
            elif value in self._shortcut_of:
                shortcut = self._shortcut_of[value]
                self._parents[value] = shortcut if shortcut >= 0 else None
            else:
                self._parents[value] = self._handed(op)
        return self._parents[value]

    def _handed(self, op: Op) -> int | None:
        handed = passes(self._graph, op)
        if handed is None:
            return None
        return int(handed)

    def _is_stream(self, junction: Op, stream: int, fork: int) -> bool:
        """Whether the shortcut carries the whole fork, or a part of it that goes on as a stream behind the sum.

        Features that only meet others in a sum, to be mapped together, are no shortcut (Res2Net); halves that are
        put together again are (reversible networks).
        """
        at: int | None = stream
        while at is not None and at != fork:
            op = self._graph.op_of(at)
            if op is not None and op.name in PARTS and not self._keeps_stream(op, op.args[0]):
                return self._goes_on(junction)
            at = self._parent(at)
        return True

    def _is_blended(self, branch: int) -> bool:
        """Whether a second sum takes the branch too, as a gate does that takes from one what it gives to the other."""
        return sum(self._graph.ops[index].name in SUMS for index in self._graph.readers[branch]) > 1

    def _goes_on(self, junction: Op) -> bool:
        """Whether the sum, but for views, is put together with others, added to, or returned."""
        waiting = list(junction.outputs)
        while waiting:
            value = waiting.pop()
            if value in self._graph.outputs:
                return True
            for index in self._graph.readers[value]:
                op = self._graph.ops[index]
                if op.name in SUMS or op.name in ("cat", "stack", "copy", "update"):
                    return True
                if passes(self._graph, op) is not None:
                    waiting += op.outputs
        return False

    def _keeps_stream(self, op: Op, handed: int) -> bool:
        """A strided slice or a gather keeps the stream; a slice of its channels or tokens is another one."""
        if op.name == "slice" and int(op.arg(4, 1) or 1) > 1:
            return True
        before, after = (self._graph.shape(v) for v in (handed, op.outputs[0]))
        return len(op.outputs) == 1 and _size(before) == _size(after)

    def _fork(self, stream: int, branch: int) -> tuple[int, list[int]] | None:
        """Where the stream behind one value and the making of another meet, and the operations walked to get there."""
        graph = self._graph
        at: int | None = stream
        heap = [(-graph.values[branch].producer, branch)]
        seen, walked = {branch}, list[int]()
        while heap:
            producer, value = -heap[0][0], heap[0][1]
            while at is not None and (graph.values[at].producer > producer):
                at = self._parent(at)
            if at is None:
                return None
            if at == value:
                return value, walked
            heapq.heappop(heap)
            if producer < 0:
                continue
            op = graph.ops[producer]
            if not walked or walked[-1] != producer:
                walked.append(producer)
            for read in op.inputs:
                if read not in seen and graph.moves(read):
                    seen.add(read)
                    heapq.heappush(heap, (-graph.values[read].producer, read))
        return None

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
        crossed = any(other not in reached and not self._is_on_stream(fork, other) for other in inside)
        return tuple(members) if branch in reached and not crossed else ()

    def _is_on_stream(self, value: int, earlier: int) -> bool:
        """Whether a value is an earlier one, or a part of it, carried along the stream."""
        at: int | None = value
        while at is not None and self._graph.values[at].producer > self._graph.values[earlier].producer:
            at = self._parent(at)
        return at == earlier

    def _identity(self, op: Op, stream: int, branch: int) -> Junction | None:
        meeting = self._fork(stream, branch)
        if meeting is None:
            return None
        fork, walked = meeting
        members = self._members(fork, branch, walked)
        if not any(self._acts(index) for index in members) or not self._is_stream(op, stream, fork):
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
        meeting = self._fork(start, branch)
        if meeting is None:
            return None
        fork, walked = meeting
        members = self._members(fork, branch, walked)
        if (
            not self._is_block(members)
            or self._map_behind_stream(start, fork)
            or self._maps(path) & self._maps(members)
        ):
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

    def _maps(self, ops: tuple[int, ...]) -> set[str]:
        """Weights mapped by: a shortcut shares none with its branch, where a recurrent step adds to its last."""
        sites = [self._sites[index] for index in ops if index in self._sites]
        return {site.weight.name for site in sites if site.kind is Kind.MAP and site.weight is not None}

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
            else:
                break
            path.append(op.index)
        return (value, tuple(reversed(path))) if maps else None

    def _is_block(self, members: tuple[int, ...]) -> bool:
        """A nonlinearity between maps, no junction inside, no change back to a finer resolution."""
        ops = [self._graph.ops[index] for index in members]
        if any(op.name in RESIZES or any(v in self._shortcut_of for v in op.outputs) for op in ops):
            return False
        maps = [op for op in ops if (site := self._sites.get(op.index)) is not None and site.kind is Kind.MAP]
        return bool(maps) and any(self._bends(op) for op in ops)

    def _bends(self, op: Op) -> bool:
        site = self._sites.get(op.index)
        if site is not None and site.kind in _LINEAR_KINDS:
            return False
        return passes(self._graph, op) is None and op.name not in SUMS and op.name not in ("cat", "stack")


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
