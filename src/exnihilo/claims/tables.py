"""The tables that several claims share, as data."""

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from statistics import mean

from exnihilo.claims.claim import Found
from exnihilo.claims.records import Table, Value
from exnihilo.lab.records import RunRecord, Start
from exnihilo.lab.study import Cell as Place

# Judging seeds of a start that is shown beside a comparison and not compared itself.
SHOWN_SEEDS = 4

# What a column shows of one run.
Column = Callable[[RunRecord], float]


def places_and_starts(found: Found, studies: Sequence[str]) -> tuple[tuple[str, Place, Start], ...]:
    """Every (study, place, start) that was judged, place by place; a start that two studies share is named once."""
    first: dict[tuple[Place, Start], str] = {}
    for study in studies:
        for place in found.studies[study].cells:
            for start in found.studies[study].arms:
                first.setdefault((place, start), study)
    places = list(dict.fromkeys(place for place, _ in first))
    ordered = sorted(first.items(), key=lambda item: places.index(item[0][0]))
    return tuple((study, place, start) for (place, start), study in ordered)


def judged_means(found: Found, studies: Sequence[str], title: str, columns: dict[str, Column]) -> Table:
    """Mean over the judging seeds of each start in each place, at its tuned rate.

    Args:
        found: What the claim found.
        studies: Tuned studies, by name.
        title: Of the table.
        columns: What is shown of each run, by the column's name; runs that left no finite number are left out of a
            mean, and a mean of none is missing.
    """
    rows: list[tuple[Value, ...]] = []
    for study, place, start in places_and_starts(found, studies):
        records = found.judged(study, place, start)
        means = tuple(_mean([read(record) for record in records]) for read in columns.values())
        rows.append((place.task, start.label, found.rate(study, place, start), *means, len(records)))
    return Table(title=title, columns=("task", "start", "tuned rate", *columns, "seeds"), rows=tuple(rows))


def _mean(values: Sequence[float]) -> float | None:
    finite = [value for value in values if isfinite(value)]
    return mean(finite) if finite else None


def unmoved(groups: Mapping[tuple[str, str], Sequence[RunRecord]], start: Start) -> str:
    """A sentence on how many runs of a start never moved a weight; groups by (task, start's label)."""
    moved = [record.moved for (_, label), records in groups.items() if label == start.label for record in records]
    return f"In {moved.count(False)} of {len(moved)} runs from {start.label} no weight ever moved."
