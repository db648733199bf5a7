"""The tables that several claims share, as data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from statistics import mean

from exnihilo.claims.claim import Found
from exnihilo.claims.records import Table, Value
from exnihilo.lab.metrics import METRICS, Metric, metric_named
from exnihilo.lab.records import RunRecord, Start
from exnihilo.lab.study import Place

# What a column shows of one run: a metric by its name, counted as the verdicts count it, or what is read off the run.
Column = str | Callable[[RunRecord], float]


def counted(record: RunRecord, metric: str, target: float | None = None) -> float:
    """A run's number as the verdicts count it: a run that diverged has the worst, and no run has a worse one.

    Args:
        record: The run.
        metric: A key of ``exnihilo.lab.metrics.METRICS``.
        target: Of a metric that counts steps to one.
    """
    read = metric_named(metric)
    return no_worse(read, read.of(record, target), record.run.steps)


def no_worse(metric: Metric, value: float, steps: int) -> float:
    """A value of a metric, bounded by the worst one of a run of so many steps; what is not finite is the worst.

    Example:
        >>> from math import inf, nan
        >>> from exnihilo.lab.metrics import METRICS
        >>> [no_worse(METRICS["train_loss"], loss, steps=100) for loss in (0.5, 12.0, nan, inf)]
        [0.5, 10.0, 10.0, 10.0]
        >>> [no_worse(METRICS["test_score"], score, steps=100) for score in (0.9, -3.0, nan)]
        [0.9, 0.0, 0.0]
    """
    worst = metric.worst_of(steps)
    if not isfinite(value):
        return worst
    return max(value, worst) if metric.higher_is_better else min(value, worst)


def how_counted(metrics: Iterable[str]) -> str:
    """How a table or a caption says it, with the worst values of the metrics that have one for all runs.

    Example:
        >>> how_counted(["test_score", "train_loss"])
        'a run that diverged counts as a test score of 0 and a training loss of 10'
    """
    worst = [
        f"a {METRICS[name].title.removesuffix(' after the last step').split(':')[0]} of {METRICS[name].worst:g}"
        for name in metrics
    ]
    return f"a run that diverged counts as {' and '.join(worst)}"


def places_and_starts(found: Found, studies: Sequence[str]) -> tuple[tuple[str, Place, Start], ...]:
    """Every (study, place, start) that was judged, place by place; a start that two studies share is named once."""
    first: dict[tuple[Place, Start], str] = {}
    for study in studies:
        for place in found.studies[study].places:
            for start in found.studies[study].arms:
                first.setdefault((place, start), study)
    places = list(dict.fromkeys(place for place, _ in first))
    ordered = sorted(first.items(), key=lambda item: places.index(item[0][0]))
    return tuple((study, place, start) for (place, start), study in ordered)


def judged_means(found: Found, studies: Sequence[str], title: str, columns: Mapping[str, Column]) -> Table:
    """Mean over the judging seeds of each start in each place, at its tuned rate.

    Args:
        found: What the claim found.
        studies: Tuned studies, by name.
        title: Of the table.
        columns: What is shown of each run, by the column's name.
    """
    rows: list[tuple[Value, ...]] = []
    for study, place, start in places_and_starts(found, studies):
        records = found.judged(study, place, start)
        means = tuple(_mean(records, column) for column in columns.values())
        rows.append(
            (place.task, start.label, found.rate(study, place, start), *means, len(records), num_diverged(records))
        )
    return Table(
        title=f"{title}; {how_counted(column for column in columns.values() if isinstance(column, str))}",
        columns=("task", "start", "tuned rate", *columns, "seeds", "of which diverged"),
        rows=tuple(rows),
    )


def num_diverged(records: Iterable[RunRecord]) -> int:
    """How many of the runs diverged."""
    return sum(record.diverged for record in records)


def _mean(records: Sequence[RunRecord], column: Column) -> float | None:
    values = [counted(record, column) if isinstance(column, str) else column(record) for record in records]
    return mean(values) if values else None


def unmoved(groups: Mapping[tuple[str, str], Sequence[RunRecord]], start: Start) -> str:
    """A sentence on how many runs of a start never moved a weight; groups by (task, start's label)."""
    moved = [record.moved for (_, label), records in groups.items() if label == start.label for record in records]
    return f"In {moved.count(False)} of {len(moved)} runs from {start.label} no weight ever moved."
