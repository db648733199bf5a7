"""What the claims of papers share: each start in each place at its best rate, as a table, and as cells."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from exnihilo.claims.claim import Found, cell_of
from exnihilo.claims.presets import ALPHA
from exnihilo.claims.records import Axis, Cell, Figure, Table, Value
from exnihilo.claims.tables import counted, how_counted, num_diverged
from exnihilo.lab.metrics import metric_named
from exnihilo.lab.records import RunRecord, Start, Verdict
from exnihilo.lab.study import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """A start in a place, at one rate.

    Args:
        place: The place.
        start: The start.
        lr: Its tuned rate, or the rate of the grid with the best median of a metric.
        records: Its judging runs at that rate, by seed.
    """

    place: Place
    start: Start
    lr: float
    records: Sequence[RunRecord]


def arms(found: Found, *studies: str, metric: str = "train_loss", target: float | None = None) -> tuple[Arm, ...]:
    """Every start in every place of the studies, place by place.

    Args:
        found: What the claim found.
        studies: By name.
        metric: By whose median the rate of a grid is chosen, a key of ``exnihilo.lab.metrics.METRICS``.
        target: Of a metric that counts steps to one.
    """
    return tuple(
        _arm(found, name, place, start, metric, target)
        for name in studies
        for place in found.studies[name].places
        for start in found.studies[name].arms
    )


def _arm(found: Found, name: str, place: Place, start: Start, metric: str, target: float | None) -> Arm:
    of = found.studies[name]
    if of.policy == "tuned":
        return Arm(
            place=place, start=start, lr=found.rate(name, place, start), records=found.judged(name, place, start)
        )
    runs = {lr: found.judged(name, place, start, lr) for lr in of.lrs}
    sign = -1.0 if metric_named(metric).higher_is_better else 1.0
    best = min(runs, key=lambda lr: sign * median(counted(record, metric, target) for record in runs[lr]))
    return Arm(place=place, start=start, lr=best, records=runs[best])


def table(of: Iterable[Arm], title: str, metrics: Mapping[str, str]) -> Table:
    """Median over the seeds of each arm.

    Args:
        of: The arms.
        title: Of the table.
        metrics: Keys of ``exnihilo.lab.metrics.METRICS`` by the column's name.
    """
    rows: list[tuple[Value, ...]] = []
    for arm in of:
        medians = (median(counted(record, metric) for record in arm.records) for metric in metrics.values())
        where = (arm.place.network.label, arm.place.optimizer.label, arm.start.label, arm.lr)
        rows.append((*where, *medians, len(arm.records), num_diverged(arm.records)))
    return Table(
        title=f"{title}; {how_counted(metrics.values())}",
        columns=("network", "optimizer", "start", "rate", *metrics, "seeds", "of which diverged"),
        rows=tuple(rows),
    )


def all_or_none(
    where: str, records: Sequence[RunRecord], holds: Callable[[RunRecord], bool], told: str, *, wanted: bool = True
) -> Cell:
    """A cell that asks one thing of every run: it supports where all are as wanted, refutes where none is.

    Args:
        where: The place.
        records: The runs.
        holds: What is asked of one.
        told: What it is for a run to hold, such as ``learn``.
        wanted: Whether the claim wants it to hold, or not to.
    """
    holding = sum(map(holds, records))
    side = {len(records): wanted, 0: not wanted}.get(holding) if records else None
    return Cell(where=where, supports=side, n=len(records), finding=f"{holding} of {len(records)} runs {told}.")


def curves(name: str, title: str, of: Iterable[Arm], *, facet: Callable[[Arm], str], y_max: float = 10.0) -> Figure:
    """Median training loss against the step, with the band from the lowest to the highest seed, one facet a place."""
    rows: list[Mapping[str, Value]] = []
    for arm in of:
        for index, step in enumerate(arm.records[0].evaluation_steps):
            losses = [min(_finite(record.train_loss[index], y_max), y_max) for record in arm.records]
            rows.append(
                {
                    "facet": facet(arm),
                    "start": f"{arm.start.label}",
                    "step": step,
                    "value": median(losses),
                    "low": min(losses),
                    "high": max(losses),
                }
            )
    return Figure(
        name=name,
        title=title,
        caption=(
            "Median of the seeds, each start at its best rate; bands from the lowest to the highest seed. "
            f"A loss above {y_max:g}, or one that is not finite, is drawn at {y_max:g}."
        ),
        mark="line",
        x=Axis(field="step", title="optimizer step"),
        y=Axis(field="value", title="training loss"),
        color=Axis(field="start", title="start", kind="nominal"),
        facet=Axis(field="facet", title="", kind="nominal"),
        rows=tuple(rows),
    )


def _finite(loss: float, worst: float) -> float:
    return loss if loss == loss else worst  # NaN alone differs from itself


def span(arm: Arm, metric: str) -> str:
    """The lowest and the highest of an arm's runs, in words.

    A run that diverged counts as the metric's worst.
    """
    values = [counted(record, metric) for record in arm.records]
    low, high = min(values), max(values)
    return f"{low:.2f}" if f"{low:.2f}" == f"{high:.2f}" else f"{low:.2f} to {high:.2f}"


def compared(where: str, verdict: Verdict, unit: str) -> Cell:
    """A cell that asks for more, or for less where less is better: better supports; worse or equivalent refutes.

    Args:
        where: The place.
        verdict: On the side that shall be better, against the other.
        unit: What is compared, such as ``of test loss``.
    """
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}[verdict.outcome]
    more = f"Better by {verdict.estimate:.3f}" if verdict.estimate > 0 else f"Not better ({verdict.estimate:.3f})"
    return cell_of(where, verdict, f"{more} {unit} ({verdict.outcome}).", supports=supports)


def median_interval(values: Sequence[float]) -> tuple[float, float]:
    """The exact 95 % interval of a median, whatever the values' law: two of the sorted values.

    The whole range of fewer than 6 values has a lower level, and is taken all the same.

    Example:
        >>> median_interval([3, 1, 2]), median_interval(range(12))
        ((1, 3), (2, 9))
    """
    ordered, outside, missed = sorted(values), 0, 0.0
    while 2 * (missed := missed + math.comb(len(ordered), outside) / 2 ** len(ordered)) <= ALPHA:
        outside += 1
    outside = max(outside - 1, 0)
    return ordered[outside], ordered[-1 - outside]
