"""Boxes: which part of a full logical tensor a piece of memory holds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exnihilo.errors import InvalidValueError

LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Box:
    """A block of a full logical tensor: ``full[offsets[0] : offsets[0] + sizes[0], ...]``.

    A shard of a parameter is filled as its box of the whole: fans and elements are those of the full shape.

    Args:
        shape: The full logical shape, at most 2**63 elements.
        offsets: The first index in each dim.
        sizes: How many in each dim; 0 is an empty box.

    Raises:
        InvalidValueError: The three differ in length, the box is not inside the shape, or the shape is too large.

    Example:
        >>> Box((4, 6), (2, 0), (2, 6)).start
        12
    """

    shape: tuple[int, ...]
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    def __post_init__(self) -> None:
        inside = len(self.shape) == len(self.offsets) == len(self.sizes) and all(
            0 <= offset <= offset + size <= full
            for full, offset, size in zip(self.shape, self.offsets, self.sizes, strict=True)
        )
        if not inside:
            raise InvalidValueError(
                f"A box of offsets {self.offsets} and sizes {self.sizes} does not lie inside shape {self.shape}.",
                fix="Box(shape=(4, 6), offsets=(2, 0), sizes=(2, 6))",
            )
        if math.prod(self.shape) > LIMIT:
            raise InvalidValueError(
                f"A tensor of shape {self.shape} has {math.prod(self.shape)} elements; an index goes up to 2**63.",
                fix="split the tensor: each part has a name, and so draws of its own",
            )

    @classmethod
    def whole(cls, shape: Sequence[int]) -> "Box":
        """The box that is the full tensor."""
        return cls(tuple(shape), (0,) * len(shape), tuple(shape))

    @property
    def is_whole(self) -> bool:
        """Nothing of the full tensor is outside."""
        return self.sizes == self.shape

    @property
    def numel(self) -> int:
        """Elements of the box."""
        return math.prod(self.sizes)

    @property
    def strides(self) -> tuple[int, ...]:
        """Row-major strides of the full tensor: what a step in each dim adds to an index."""
        strides = [1] * len(self.shape)
        for dim in range(len(self.shape) - 2, -1, -1):
            strides[dim] = strides[dim + 1] * self.shape[dim + 1]
        return tuple(strides)

    @property
    def start(self) -> int:
        """Index of the box's first element in the full tensor."""
        return sum(offset * stride for offset, stride in zip(self.offsets, self.strides, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """What cuts the box from the full tensor."""
        return tuple(slice(offset, offset + size) for offset, size in zip(self.offsets, self.sizes, strict=True))


def merged(
    sizes: tuple[int, ...], index_strides: tuple[int, ...], memory_strides: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """The same elements with as few dims as possible: dims of one entry left out, neighbors in both orders joined."""
    merged: list[tuple[int, int, int]] = []
    for size, index, memory in zip(sizes, index_strides, memory_strides, strict=True):
        if size == 1:
            continue
        if merged and merged[-1][1:] == (index * size, memory * size):
            merged[-1] = (merged[-1][0] * size, index, memory)
        else:
            merged.append((size, index, memory))
    merged = merged or [(1, 1, 1)]
    return tuple(m[0] for m in merged), tuple(m[1] for m in merged), tuple(m[2] for m in merged)
