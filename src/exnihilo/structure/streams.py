"""Residual streams: what a value was before operations that only hand it on, and before the sums along its way."""

from math import prod

from exnihilo.structure.graph import Graph, Op
from exnihilo.structure.operators import HANDS_ON, PARTS, SUMS, passes
from exnihilo.structure.sites import Kind, Site

_JOINS = SUMS | {"cat", "stack", "copy", "update"}


class Streams:
    """The way back along the streams of one graph; it learns each junction as it is found."""

    def __init__(self, graph: Graph, sites: dict[int, Site]) -> None:
        self._graph, self._sites = graph, sites
        self._shortcut_of: dict[int, int | None] = {}
        self._parents: dict[int, int | None] = {}

    def note(self, op: Op, shortcut: int | None) -> None:
        """A junction: its sum carries on what came along the shortcut; None where a new stream begins."""
        for value in op.outputs:
            self._shortcut_of[value] = shortcut

    def is_sum(self, value: int) -> bool:
        """Whether a junction made the value."""
        return value in self._shortcut_of

    def parent(self, value: int) -> int | None:
        """The value before this one along the stream, None where the stream begins."""
        if value not in self._parents:
            op = self._graph.op_of(value)
            if op is None:
                self._parents[value] = None
            elif value in self._shortcut_of:
                self._parents[value] = self._shortcut_of[value]
            else:
                self._parents[value] = self._handed(op)
        return self._parents[value]

    def _handed(self, op: Op) -> int | None:
        handed = passes(self._graph, op)
        if handed is not None:
            return int(handed)
        site = self._sites.get(op.index)
        if site is not None and site.kind is Kind.SCALE and not _scales_norm(site):
            return site.data
        first = op.args[0] if op.args and op.name in HANDS_ON else None
        return int(first) if isinstance(first, int) and self._graph.is_weight(first) else None

    def holds(self, value: int, earlier: int) -> bool:
        """Whether a value is an earlier one, or a part of it, carried along the stream."""
        return earlier in self.way(value, earlier)

    def way(self, value: int, earlier: int) -> list[int]:
        """The values from this one back along the stream, as far as the earlier one was made."""
        found: list[int] = []
        at: int | None = value
        begins = self._graph.values[earlier].producer
        while at is not None and self._graph.values[at].producer >= begins:
            found.append(at)
            if at == earlier:
                break
            at = self.parent(at)
        return found

    def is_part(self, op: Op) -> bool:
        """Whether an operation keeps some features or tokens only; a strided slice or a gather keeps the stream."""
        if op.name not in PARTS or (op.name == "slice" and int(op.arg(4, 1) or 1) > 1):
            return False
        before, after = (prod(self._graph.shape(v)) for v in (op.args[0], op.outputs[0]))
        return len(op.outputs) > 1 or before != after

    def is_scaled(self, op: Op) -> bool:
        """Whether an operation multiplies the stream by a parameter."""
        site = self._sites.get(op.index)
        return site is not None and site.kind is Kind.SCALE

    def goes_on(self, junction: Op) -> bool:
        """Whether the sum, but for views, is put together with others, added to, normalized, scaled, or returned.

        What only goes into a map or a product is no stream: keys with their places, a scan with its skip.
        """
        return self._meets(junction, _JOINS, (Kind.NORM, Kind.SCALE))

    def is_joined(self, junction: Op) -> bool:
        """Whether the sum, but for views, is put together with others, added to, or returned."""
        return self._meets(junction, _JOINS, ())

    def _meets(self, junction: Op, names: frozenset[str] | set[str], kinds: tuple[Kind, ...]) -> bool:
        waiting = list(junction.outputs)
        while waiting:
            value = waiting.pop()
            if value in self._graph.outputs:
                return True
            for index in self._graph.readers[value]:
                op = self._graph.ops[index]
                site = self._sites.get(index)
                if op.name in names or (site is not None and site.kind in kinds) or self._begins_norm(op):
                    return bool(kinds) or op.name in names
                if passes(self._graph, op) is not None:
                    waiting += op.outputs
        return False

    def _begins_norm(self, op: Op) -> bool:
        """The first step of a norm that is written out."""
        return op.name in ("pow", "var_mean", "var", "linalg_vector_norm")


def _scales_norm(site: Site) -> bool:
    return site.origin is not None and site.origin.kind is Kind.NORM
