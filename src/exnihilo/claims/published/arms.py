"""What the claims of papers share: each start in each place at its best rate, as a table, and as cells."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from exnihilo.claims.claim import Found, cell_of, conclude
from exnihilo.claims.clauses import SEPARATOR
from exnihilo.claims.presets import ALPHA
from exnihilo.claims.records import Axis, Cell, ClaimVerdict, Figure, Table, Value
from exnihilo.claims.tables import counted, how_counted, num_diverged
from exnihilo.lab.metrics import metric_named
from exnihilo.lab.records import RunRecord, Start, Verdict
from exnihilo.lab.study import Place

# Of ten classes: halfway from chance to perfect.
LEARNED = 0.55


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


def conclude_all(cells: Sequence[Cell]) -> ClaimVerdict:
    """The verdict on a claim that says several things at once, each the first part of its cells' ``where``.

    As ``conclude``, but supported only where each of them has a cell that supports it: one half carries no whole.

    Example:
        >>> cells = [Cell(where=where, supports=says, finding="") for where, says in
        ...          (("learns · wine", True), ("stalls · wine", None), ("stalls · digits", True))]
        >>> conclude_all(cells), conclude_all(cells[:2])
        ('supported', 'undecided')
    """
    verdict = conclude(cells)
    sides: dict[str, set[bool | None]] = {}
    for cell in cells:
        sides.setdefault(cell.where.split(SEPARATOR)[0], set()).add(cell.supports)
    is_partial = any(True not in seen for seen in sides.values())
    return "undecided" if verdict == "supported" and is_partial else verdict


def has_learned(record: RunRecord) -> bool:
    """Whether a run on ten classes got halfway from chance to perfect on its training data."""
    return not record.diverged and record.train_score[-1] >= LEARNED


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


def median_interval(values: Sequence[float], alpha: float = ALPHA) -> tuple[float, float]:
    """The interval of a median at a level of ``1 - alpha``, whatever the values' law: two of the sorted values.

    Where the values are too few for the level (fewer than 6 at 95 %), it is their whole range.

    Example:
        >>> median_interval([3, 1, 2]), median_interval(range(12))
        ((1, 3), (2, 9))
    """
    ordered, outside, missed = sorted(values), 0, 0.0
    while 2 * (missed := missed + math.comb(len(ordered), outside) / 2 ** len(ordered)) <= alpha:
        outside += 1
    outside = max(outside - 1, 0)
    return ordered[outside], ordered[-1 - outside]
