"""Parts of one storage, as sets of bytes: what a view of a tensor covers, whatever its order of dims."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations, pairwise


@dataclass(frozen=True, slots=True)
class Region:
    """Runs of bytes in a storage, equal for equal sets of bytes.

    Args:
        start: The first byte.
        dims: Count and stride in bytes, outermost first; neighbors are merged, so that a region without gaps has one.

    Example:
        >>> whole, column = Region.of((4, 3), (3, 1), 0, 4), Region.of((4,), (3,), 1, 4)
        >>> whole, column.dims, whole.covers(column)
        (Region(start=0, dims=((48, 1),)), ((4, 12), (4, 1)), True)
    """

    start: int
    dims: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, shape: Sequence[int], strides: Sequence[int], offset: int, itemsize: int) -> "Region":
        """The bytes of a strided tensor; strides and offset count elements."""
        if 0 in shape:
            return cls(offset * itemsize, ((0, 1),))
        steps = zip(shape, strides, strict=True)
        dims = sorted(
            ((count, step * itemsize) for count, step in steps if count > 1 and step), key=lambda dim: -dim[1]
        )
        merged = [(itemsize, 1)]
        for count, step in reversed(dims):
            inner, inner_step = merged[0]
            if step == inner * inner_step:
                merged[0] = (count * inner, inner_step)
            else:
                merged.insert(0, (count, step))
        return cls(offset * itemsize, tuple(merged))

    @property
    def size(self) -> int:
        """How many bytes."""
        size = 1
        for count, _ in self.dims:
            size *= count
        return size

    @property
    def end(self) -> int:
        """One behind the last byte."""
        return self.start + sum((count - 1) * step for count, step in self.dims) + (1 if self.size else 0)

    @property
    def is_run(self) -> bool:
        """Has no gaps."""
        return len(self.dims) == 1

    def covers(self, other: "Region") -> bool:
        """Holds all bytes of another region; False also where that is not seen."""
        if not other.size or self == other:
            return True
        inside = self.start <= other.start and other.end <= self.end
        if self.is_run:
            return inside
        return inside and self._is_beside(other) and self._column(other)[1] <= self.dims[1][0]

    def is_apart(self, other: "Region") -> bool:
        """Has no byte in common with another region; False also where that is not seen."""
        if not (self.size and other.size) or self.end <= other.start or other.end <= self.start:
            return True
        if not self._is_beside(other):
            return False
        first, second = sorted((self, other), key=lambda region: region.start)
        return first.dims[1][0] <= second.start - first.start and first._column(second)[1] <= first.dims[0][1]

    def _is_beside(self, other: "Region") -> bool:
        """Both are bands of columns of the same rows."""
        is_band = len(self.dims) == len(other.dims) == 2 and self.dims[0] == other.dims[0]
        return is_band and abs(self.start - other.start) < self.dims[0][1]

    def _column(self, other: "Region") -> tuple[int, int]:
        """Where a band begins and ends, counted from where this one begins."""
        begin = other.start - self.start
        return begin, begin + other.dims[1][0]

    def moved(self, origin: int, to: int, numerator: int, denominator: int) -> "Region":
        """The same elements in a tensor of equal strides elsewhere, whose items are of another size.

        Args:
            origin: Where the tensor of this region begins.
            to: Where the other begins.
            numerator: The other's size of an item.
            denominator: The size of an item here.
        """
        *outer, (run, step) = self.dims
        scaled = tuple((count, stride * numerator // denominator) for count, stride in outer)
        start = to + (self.start - origin) * numerator // denominator
        return replace(self, start=start, dims=(*scaled, (run * numerator // denominator, step)))


def are_apart(parts: Sequence[Region]) -> bool:
    """No two parts have a byte in common; False also where that is not seen.

    Example:
        >>> are_apart([Region.of((2, 3), (3, 1), first, 4) for first in (6, 0)])
        True
    """
    ordered = sorted(parts, key=lambda part: part.start)
    if all(part.is_run for part in ordered) or len({part.dims[0] for part in ordered}) == 1:
        return all(first.is_apart(second) for first, second in pairwise(ordered))
    return all(first.is_apart(second) for first, second in combinations(ordered, 2))
