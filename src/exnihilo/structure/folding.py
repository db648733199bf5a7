"""Names that differ in their numbers alone, as one: ``blocks.{0-11}.attn.weight``."""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from math import prod
from typing import TypeVar

# A whole part of a name, such as the 3 of blocks.3.fc2; a text may hold several names with spaces between them.
_NUMBER = re.compile(r"(?<![^.\s])\d+(?![^.\s])")

T = TypeVar("T")
_Numbers = tuple[int, ...]


def folded(entries: Iterable[T], name: Callable[[T], str], same: Callable[[T], Hashable]) -> list[tuple[str, T, int]]:
    """The entries with those of one pattern as one: pattern, first entry, how many; in the order of the first.

    Args:
        entries: Records, such as the rows of a plan.
        name: The name of each, or a line with spaces around its names.
        same: What must be equal for two entries to share a line.

    Example:
        >>> names = ["stem.w", "blocks.0.w", "blocks.1.w", "blocks.2.w", "blocks.4.w"]
        >>> [pattern for pattern, _, _ in folded(names, str, lambda _: 0)]
        ['stem.w', 'blocks.{0-2,4}.w']
    """
    groups: dict[Hashable, list[tuple[_Numbers, int, T]]] = {}
    for place, entry in enumerate(entries):
        key = (_NUMBER.sub("{}", name(entry)), same(entry))
        groups.setdefault(key, []).append((tuple(map(int, _NUMBER.findall(name(entry)))), place, entry))
    lines: list[tuple[int, str, T, int]] = []
    for group in groups.values():
        by_numbers = {numbers: (place, entry) for numbers, place, entry in group}
        for box in _boxes(list(by_numbers)):
            place, entry = min((by_numbers[numbers] for numbers in box), key=lambda found: found[0])
            lines.append((place, _pattern(name(entry), box), entry, len(box)))
    return [(pattern, entry, count) for _, pattern, entry, count in sorted(lines, key=lambda line: line[0])]


def _boxes(numbers: Sequence[_Numbers]) -> Iterator[Sequence[_Numbers]]:
    """The tuples in parts that hold every combination of their numbers, so that a pattern says no name too many."""
    ranges = [{entry[i] for entry in numbers} for i in range(len(numbers[0]))]
    if prod(len(values) for values in ranges) == len(numbers):
        yield numbers
        return
    varying = next(i for i, values in enumerate(ranges) if len(values) > 1)
    for value in sorted(ranges[varying]):
        yield from _boxes([entry for entry in numbers if entry[varying] == value])


def _pattern(name: str, box: Sequence[_Numbers]) -> str:
    columns = iter([sorted({entry[i] for entry in box}) for i in range(len(box[0]))])
    return _NUMBER.sub(lambda _: _ranges(next(columns)), name)


def _ranges(values: Sequence[int]) -> str:
    if len(values) == 1:
        return str(values[0])
    runs: list[list[int]] = []
    for value in values:
        if runs and value == runs[-1][-1] + 1:
            runs[-1].append(value)
        else:
            runs.append([value])
    return "{" + ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) + "}"
