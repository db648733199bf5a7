"""Words that the rules share."""

from collections.abc import Sequence

from exnihilo.probes.records import Fate, Opening


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    Example:
        >>> counted(1, "step"), counted(4, "step")
        ('1 step', '4 steps')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def named_first(closed: Sequence[Opening], roots: Sequence[str]) -> tuple[str, ...]:
    """The parameters of a finding: the roots, then what they stop, in the model's order."""
    return tuple(dict.fromkeys([*roots, *(opening.parameter for opening in closed)]))


def listed_parts(closed: Sequence[Opening], *fates: Fate) -> str:
    """Which units are closed, where it is not all of them; empty where it is."""
    partly = [opening for opening in closed if opening.num_of("opens")]
    if not partly:
        return ""
    first = partly[0]
    ranges = [r for part in first.parts if part.fate in fates for r in part.ranges]
    shown = ", ".join(f"{a}" if b - a == 1 else f"{a} to {b - 1}" for a, b in ranges[:3])
    more = ", ..." if len(ranges) > 3 else ""
    return f"; of {first.parameter} units {shown}{more} ({first.num_of(*fates):,} of {first.num_units:,})"
