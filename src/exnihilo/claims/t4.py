"""T4: the generalization gap from zero and from random weights, with and without weight decay."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, factor_of
from exnihilo.claims.presets import ALPHA, PRESETS, Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, Optimizer, RunRecord, Start
from exnihilo.lab.study import Study

GAP, UNSEEN, BESIDE = "T4 generalization gap", "T4 accuracy on unseen data", "T4 Xavier beside"
ZERO, RANDOM, XAVIER = (Start(name=name) for name in ("zeros", "small_normal", "xavier_normal"))
WEIGHT_DECAY = 0.001
OPTIMIZERS = (Optimizer(name="momentum"), Optimizer(name="momentum", weight_decay=WEIGHT_DECAY))
# As the verdicts count it; otherwise a run that is right nowhere would have the smallest gap of all.
DIVERGED = "a run that diverged is right nowhere and has a gap of 1"

Groups = Mapping[tuple[str, Optimizer, str], Sequence[RunRecord]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The same runs judged twice: by the gap, and by the accuracy on test data."""

    def judged(name: str, question: str, metric: str) -> Study:
        return preset.study(
            name,
            question,
            seed=seed,
            networks=(Network(),),
            starts=(ZERO,),
            baseline=RANDOM,
            share=0.5,
            optimizers=OPTIMIZERS,
            metric=metric,
        )

    return (
        judged(GAP, "Is training accuracy closer to test accuracy from zero than from small random weights?", "gap"),
        judged(UNSEEN, "Is an all-zero start right more often on unseen data than small random weights?", "test_score"),
        preset.study(
            BESIDE,
            "What are the gap and the accuracy from Xavier's weights?",
            seed=seed,
            networks=(Network(),),
            starts=(XAVIER,),
            optimizers=OPTIMIZERS,
            looks=(preset.shown_seeds,),
        ),
    )


def read(found: Found) -> Reading:
    """Two clauses in each task, with and without weight decay: a smaller gap, and a higher accuracy on unseen data."""
    cells = (
        *_cells(found, GAP, "smaller gap", "the gap", ("smaller", "larger")),
        *_cells(found, UNSEEN, "higher test accuracy", "the test accuracy", ("higher", "lower")),
    )
    groups: Groups = {
        (place.task, place.optimizer, start.label): found.judged(study, place, start)
        for study, place, start in tables.places_and_starts(found, (GAP, BESIDE))
    }
    return Reading(
        verdict=conclude(cells),
        finding=_finding(groups),
        factor=factor_of(cells),
        evidence=Evidence(cells=cells, tables=(_table(groups),), figures=(_bars(groups), _intervals(cells))),
    )


def _cells(found: Found, study: str, clause: str, what: str, ways: tuple[str, str]) -> tuple[Cell, ...]:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return tuple(
        cell_of(
            f"{clause} · {comparison.place.task} · {_decay(comparison.place.optimizer)}",
            verdict,
            f"From zero {what} is {100 * abs(verdict.estimate):.1f} points {ways[verdict.estimate < 0]}"
            f" ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(study)
    )


def _decay(optimizer: Optimizer) -> str:
    return f"weight decay {optimizer.weight_decay:g}" if optimizer.weight_decay else "no weight decay"


def _train(record: RunRecord) -> float:
    return tables.counted(record, "train_score")


def _test(record: RunRecord) -> float:
    return tables.counted(record, "test_score")


def _gap(record: RunRecord) -> float:
    return tables.counted(record, "gap")


def _mean(groups: Groups, start: Start, optimizer: Optimizer, read: Callable[[RunRecord], float]) -> float:
    """Mean over the tasks of the means over seeds, in percent."""
    by_task = [
        mean(map(read, records))
        for (_, of, label), records in groups.items()
        if (of, label) == (optimizer, start.label)
    ]
    return 100 * mean(by_task)


def _finding(groups: Groups) -> str:
    plain, decayed = OPTIMIZERS
    zero, random = (
        f"{_mean(groups, start, plain, _train):.1f} % on training data and {_mean(groups, start, plain, _test):.1f} % "
        f"on test data, a gap of {_mean(groups, start, plain, _gap):.1f} points"
        for start in (ZERO, RANDOM)
    )
    change = _mean(groups, RANDOM, decayed, _gap) - _mean(groups, RANDOM, plain, _gap)
    of_zero = [
        records for (_, optimizer, label), records in groups.items() if (optimizer, label) == (plain, ZERO.label)
    ]
    still = tables.unmoved({(str(index), ZERO.label): records for index, records in enumerate(of_zero)}, ZERO)
    return (
        f"Averaged over the tasks, zero is right in {zero}; small random weights in {random}. {still} Weight decay "
        f"changes the gap of small random weights by {change:+.1f} points."
    )


def _table(groups: Groups) -> Table:
    rows: list[tuple[Value, ...]] = [
        (
            task,
            start,
            optimizer.weight_decay,
            mean(map(_train, records)),
            mean(tables.counted(record, "validation_score") for record in records),
            mean(map(_test, records)),
            mean(map(_gap, records)),
            tables.num_diverged(records),
        )
        for (task, optimizer, start), records in groups.items()
    ]
    columns = ("task", "start", "weight decay", "training accuracy", "validation accuracy", "test accuracy", "gap")
    return Table(
        title=f"Accuracies after the last step, means over seeds; {DIVERGED}",
        columns=(*columns, "diverged"),
        rows=tuple(rows),
    )


def _bars(groups: Groups) -> Figure:
    parts: Mapping[str, Callable[[RunRecord], float]] = {"training data": _train, "test data": _test}
    rows: list[Mapping[str, Value]] = []
    for start in (ZERO, RANDOM, XAVIER):
        for optimizer in OPTIMIZERS:
            rows += [
                {
                    "start": start.label,
                    "part": part,
                    "accuracy": _mean(groups, start, optimizer, read) / 100,
                    "decay": _decay(optimizer),
                }
                for part, read in parts.items()
            ]
    return Figure(
        name="t4-accuracy",
        title="Accuracy on training data and on test data",
        caption=(
            "Mean over tasks and paired seeds, each start at its own tuned rate; the gap is between the two bars, but "
            f"{DIVERGED}."
        ),
        mark="bar",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="accuracy", title="accuracy"),
        color=Axis(field="part", title="", kind="nominal"),
        facet=Axis(field="decay", title="", kind="nominal"),
        rows=tuple(rows),
    )


def _intervals(cells: Sequence[Cell]) -> Figure:
    return figures.intervals(
        "t4-differences",
        "What zero gains or loses against small random weights",
        "Mean paired difference with its interval, corrected for the number of comparisons; to the right is better.",
        cells,
        x_title="difference in favor of zero",
    )


CLAIM = Claim(
    id="T4",
    title="Training and validation accuracy",
    statement=(
        "A network generalizes better from zero (95 % on training data, 90 % on validation data) than from random "
        "weights (99 % and 85 %): a smaller gap, and a higher accuracy on unseen data."
    ),
    basis="measured",
    rule=(
        "Zero against small random weights N(0, 0.01²), each at its own tuned rate, on paired fresh seeds in each "
        f"task, without weight decay and with {WEIGHT_DECAY:g} (exact sign-flip, Holm, alpha {ALPHA:g}, half for each "
        "clause). The gap is training minus test accuracy, and 1.0 for a run that diverged: smaller supports. Test "
        "accuracy, 0 for a run that diverged: higher supports. The "
        f"opposite, or equivalence within {100 * PRESETS['quick'].margin:g} points, refutes. Rates are chosen on "
        "validation data, so unseen data is test data."
    ),
    read=read,
    studies=studies,
)
