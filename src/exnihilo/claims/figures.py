"""The pictures that several claims share, as data."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from statistics import mean, median
from typing import Literal

from exnihilo.claims.records import Axis, Cell, Figure, Value
from exnihilo.claims.tables import counted, how_counted, no_worse
from exnihilo.lab.metrics import metric_named
from exnihilo.lab.records import RunRecord

STEP = Axis(field="step", title="optimizer step")
START = Axis(field="start", title="start", kind="nominal")


def curves(
    name: str,
    title: str,
    groups: Mapping[tuple[str, str], Sequence[RunRecord]],
    *,
    values: str = "train_loss",
    y_title: str = "training loss",
    scale: Literal["linear", "log", "symlog"] = "linear",
    reference: float | None = None,
) -> Figure:
    """Mean of a curve over seeds, with the band from the lowest to the highest seed.

    Args:
        groups: Runs by (facet, series), such as (task, start).
        values: The curve, a field of ``RunRecord`` and a metric.
    """
    metric = metric_named(values)
    rows: list[Mapping[str, Value]] = []
    for (facet, series), records in groups.items():
        for index, step in enumerate(records[0].evaluation_steps if records else ()):
            found = [no_worse(metric, getattr(record, values)[index], record.run.steps) for record in records]
            rows.append(
                {
                    "facet": facet,
                    "start": series,
                    "step": step,
                    "value": mean(found),
                    "low": min(found),
                    "high": max(found),
                }
            )
    n = max((len(records) for records in groups.values()), default=0)
    return Figure(
        name=name,
        title=title,
        caption=(
            f"Mean over up to {n} seeds, each start at its tuned rate; bands from the lowest to the highest seed; "
            f"{how_counted([values])} from then on."
        ),
        mark="line",
        x=STEP,
        y=Axis(field="value", title=y_title, scale=scale),
        color=START,
        facet=Axis(field="facet", title="task", kind="nominal"),
        rows=tuple(rows),
        reference=reference,
    )


def sweep(
    name: str,
    title: str,
    records: Iterable[RunRecord],
    *,
    metric: str = "train_loss",
    y_title: str = "final training loss",
    scale: Literal["linear", "log", "symlog"] = "linear",
    series: Callable[[RunRecord], str] = lambda record: record.run.start.label,
    reference: float | None = None,
) -> Figure:
    """Median of a final number against the learning rate, for each task and series (the start, unless told)."""
    found: dict[tuple[str, str, float], list[float]] = {}
    for record in records:
        found.setdefault((record.run.task, series(record), record.run.lr), []).append(counted(record, metric))
    rows = [
        {"task": task, "start": start, "lr": lr, "value": median(numbers)}
        for (task, start, lr), numbers in sorted(found.items())
    ]
    return Figure(
        name=name,
        title=title,
        caption=f"Median over the seeds that ran at each rate; {how_counted([metric])}.",
        mark="line",
        x=Axis(field="lr", title="learning rate", scale="log"),
        y=Axis(field="value", title=y_title, scale=scale),
        color=START,
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple(rows),
        reference=reference,
    )


def gradients(
    name: str,
    title: str,
    caption: str,
    groups: Mapping[tuple[str, str], Sequence[RunRecord]],
    *,
    measurement: int = 0,
) -> Figure:
    """Norm of each map's weight gradient, median over seeds; groups by (facet, series).

    Exact zeros are kept: the axis shows them beside the powers of ten.

    Args:
        measurement: Which of the measured steps: 0 the first, -1 the last.
    """
    rows: list[Mapping[str, Value]] = []
    for (facet, series), records in groups.items():
        for index, layer in enumerate(records[0].layers if records else ()):
            norms = [record.gradient_norm[measurement][index] for record in records]
            if all(isfinite(norm) for norm in norms):
                rows.append({"facet": facet, "start": series, "layer": index + 1, "map": layer, "norm": median(norms)})
    return Figure(
        name=name,
        title=title,
        caption=caption,
        mark="line",
        x=Axis(field="layer", title="map, from the input (1) to the head", kind="ordinal"),
        y=Axis(field="norm", title="gradient norm", scale="log"),
        color=START,
        facet=Axis(field="facet", title="", kind="nominal"),
        rows=tuple(rows),
    )


def intervals(
    name: str, title: str, caption: str, cells: Iterable[Cell], *, x_title: str, reference: float = 0.0
) -> Figure:
    """One dot and whisker for each cell that has an estimate."""
    rows = [
        {
            "where": cell.where,
            "estimate": cell.estimate,
            "low": cell.interval[0] if isfinite(cell.interval[0]) else None,
            "high": cell.interval[1] if isfinite(cell.interval[1]) else None,
            "says": {True: "supports", False: "refutes", None: "open"}[cell.supports],
        }
        for cell in cells
        if cell.estimate is not None and cell.interval is not None
    ]
    return Figure(
        name=name,
        title=title,
        caption=caption,
        mark="interval",
        x=Axis(field="estimate", title=x_title),
        y=Axis(field="where", title="", kind="nominal"),
        color=Axis(field="says", title="the cell", kind="nominal"),
        rows=tuple(rows),
        reference=reference,
    )
