"""Residual junctions: the sums ``shortcut(x) + branch(x)``, and the operations that lie on each branch.

From one summand the stream is followed back as long as operations only hand it on, and past earlier junctions along
their shortcuts. From the other all that it was made of is followed back, latest operation first. Where both meet is
the fork. Each sum costs the operations of its own branch, so that all of them together cost one pass over a network of
branches in sequence.
"""

import heapq
from dataclasses import dataclass

from exnihilo.structure.graph import Graph, Op, Ref
from exnihilo.structure.operators import PARTS, RESIZES, SUMS, passes
from exnihilo.structure.records import Shortcut
from exnihilo.structure.sites import Kind, Site

_LINEAR_KINDS = (Kind.MAP, Kind.NORM, Kind.SCALE, Kind.SHIFT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Junction:
    """One residual sum.

    Args:
        op: The sum.
        fork: The value that shortcut and branch both start from.
        shortcut: The summand that came along the shortcut.
        branch: The summand that came along the branch.
        kind: What the shortcut is.
        members: Operations on the branch, in order.
        aside: Operations on a projection shortcut, in order.
    """

    op: Op
    fork: int
    shortcut: int
    branch: int
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
            self.found.append(junction)
            for value in op.outputs:
                self._shortcut_of[value] = junction.shortcut if junction.kind == "identity" else -1

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
        if op.name in PARTS and not self._keeps_stream(op, handed):
            return None
        return int(handed)

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
        """Of the operations walked, those that the fork leads to."""
        reached, members = {fork}, list[int]()
        for index in reversed(walked):
            op = self._graph.ops[index]
            if any(v in reached for v in op.inputs):
                reached.update(op.outputs)
                members.append(index)
        return tuple(members) if branch in reached else ()

    def _identity(self, op: Op, stream: int, branch: int) -> Junction | None:
        meeting = self._fork(stream, branch)
        if meeting is None:
            return None
        fork, walked = meeting
        members = self._members(fork, branch, walked)
        if not any(self._acts(index) for index in members):
            return None
        return Junction(op=op, fork=fork, shortcut=stream, branch=branch, kind="identity", members=members)

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
        if not self._is_block(members) or self._map_behind_stream(start, fork):
            return None
        return Junction(
            op=op, fork=fork, shortcut=shortcut, branch=branch, kind="projection", members=members, aside=path
        )

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
