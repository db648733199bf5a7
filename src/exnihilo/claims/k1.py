"""K1: when a zero is the right start."""

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import mean

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, factor_of
from exnihilo.claims.presets import ALPHA, PRESETS, Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, RunRecord, Start, Verdict
from exnihilo.lab.schedule import Comparison
from exnihilo.lab.study import Place, Study

STUDY = "K1 zeros in a residual network"
DEPTHS = (2, 12)
WIDTH = 16
HE = Start(name="he_normal")
ZEROS = tuple(Start(name=name) for name in ("zeros", "zeros_noise", "zero_head", "zero_residual", "zero_gate"))
# Rates reach lower than elsewhere: without a norm, He's weights double the signal's variance at every branch.
LRS = (0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03)
# One look at as many seeds as a family of thirty comparisons needs.
SEEDS = 11
# Its 36 test rows are too few to tell two or three points apart.
LEFT_OUT = "wine"
# Of the preset's steps: deep networks cost the most, and these have learned by then.
STEPS_SHARE = 1 / 2

Groups = Mapping[tuple[str, int, str], Sequence[RunRecord]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Five places for a zero against He's weights, in a shallow and in a deep residual network without a norm."""
    return (
        preset.study(
            STUDY,
            "Which zeros train a residual network as well as He's weights, by depth?",
            seed=seed,
            # The gate is there for zero_gate; the others begin with it at 1, so that all have the same network.
            networks=tuple(Network(depth=depth, width=WIDTH, residual=True, gate=True) for depth in DEPTHS),
            starts=ZEROS,
            baseline=HE,
            tasks=tuple(task for task in preset.tasks if task != LEFT_OUT),
            lrs=LRS,
            tuning_seeds=2,
            looks=(max(SEEDS, preset.looks[0]),),
            steps=round(STEPS_SHARE * preset.steps),
            extend=0,
        ),
    )


def read(found: Found) -> Reading:
    """A cell for each zero, depth and task: as good as He's weights or better supports, worse refutes."""
    verdicts = found.verdicts(STUDY)
    cells = tuple(_cell(comparison, verdict) for comparison, verdict in verdicts)
    groups: Groups = {
        (place.task, place.network.depth, start.label): found.judged(STUDY, place, start)
        for place in found.studies[STUDY].places
        for start in (HE, *ZEROS)
    }
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, groups),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(verdicts, groups),),
            figures=(_accuracies(groups), _map(verdicts), _curves(groups)),
        ),
    )


def _cell(comparison: Comparison, verdict: Verdict) -> Cell:
    supports = {"better": True, "equivalent": True, "worse": False, "undecided": None}
    return cell_of(
        f"{comparison.start.label} · {_branches(comparison.place.network.depth)} · {comparison.place.task}",
        verdict,
        f"Test accuracy {100 * verdict.estimate:+.1f} points against He's weights ({verdict.outcome}).",
        supports=supports[verdict.outcome],
    )


def _branches(depth: int) -> str:
    return f"{depth} branches"


def _accuracy(record: RunRecord) -> float:
    return tables.counted(record, "test_score")


def _mean(groups: Groups, depth: int, start: Start) -> float:
    """Mean test accuracy over the tasks, in percent."""
    return 100 * mean(
        mean(map(_accuracy, records))
        for (_, at, label), records in groups.items()
        if (at, label) == (depth, start.label)
    )


def _finding(cells: Sequence[Cell], groups: Groups) -> str:
    by_start = {
        start.label: [cell.supports for cell in cells if cell.where.startswith(f"{start.label} · ")] for start in ZEROS
    }
    viable = ", ".join(f"{label} in {says.count(True)} of {len(says)}" for label, says in by_start.items())
    accuracies = "; ".join(
        f"{start.label} {' and '.join(f'{_mean(groups, depth, start):.0f}' for depth in DEPTHS)} %"
        for start in (HE, *ZEROS)
    )
    return (
        f"As good as He's weights or better, by start and number of places (depth and task): {viable}. "
        f"Mean test accuracy with {' and with '.join(_branches(depth) for depth in DEPTHS)}: {accuracies}."
    )


def _table(verdicts: Sequence[tuple[Comparison, Verdict]], groups: Groups) -> Table:
    rows: list[tuple[Value, ...]] = []
    for depth in DEPTHS:
        for start in (HE, *ZEROS):
            outcomes = Counter(
                verdict.outcome
                for comparison, verdict in verdicts
                if (comparison.start, comparison.place.network.depth) == (start, depth)
            )
            runs = [
                r for (_, at, label), records in groups.items() if (at, label) == (depth, start.label) for r in records
            ]
            rows.append(
                (
                    depth,
                    start.label,
                    _mean(groups, depth, start) / 100,
                    sum(run.diverged for run in runs),
                    sum(not run.moved for run in runs),
                    len(runs),
                    *(outcomes[outcome] if start != HE else None for outcome in ("better", "equivalent", "worse")),
                )
            )
    return Table(
        title=(
            "Test accuracy of residual networks without a norm, and verdicts against He's weights; "
            f"{tables.how_counted(['test_score'])}"
        ),
        columns=(
            "branches",
            "start",
            "test accuracy",
            "runs that diverged",
            "runs that never moved a weight",
            "runs",
            "better",
            "equivalent",
            "worse",
        ),
        rows=tuple(rows),
    )


def _accuracies(groups: Groups) -> Figure:
    return Figure(
        name="k1-accuracy",
        title="Test accuracy by where the zero stands, and by depth",
        caption=(
            f"Mean over tasks and paired seeds, each start at its own tuned rate; {tables.how_counted(['test_score'])}."
        ),
        mark="bar",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="accuracy", title="test accuracy"),
        color=Axis(field="depth", title="depth", kind="nominal"),
        rows=tuple(
            {"start": start.label, "depth": _branches(depth), "accuracy": _mean(groups, depth, start) / 100}
            for start in (HE, *ZEROS)
            for depth in DEPTHS
        ),
    )


def _map(verdicts: Sequence[tuple[Comparison, Verdict]]) -> Figure:
    def where(place: Place) -> str:
        return f"{place.network.depth}, {place.task}"

    return Figure(
        name="k1-difference",
        title="Test accuracy minus that of He's weights",
        caption="Mean paired difference over seeds; above 0 the zero is better.",
        mark="heatmap",
        x=Axis(field="where", title="branches, task", kind="nominal"),
        y=Axis(field="start", title="start", kind="nominal"),
        color=Axis(field="difference", title="difference of test accuracy"),
        rows=tuple(
            {
                "where": where(comparison.place),
                "start": comparison.start.label,
                "difference": verdict.estimate,
                "outcome": verdict.outcome,
            }
            for comparison, verdict in verdicts
        ),
        reference=0.0,
    )


def _curves(groups: Groups) -> Figure:
    deepest = {(task, label): records for (task, depth, label), records in groups.items() if depth == max(DEPTHS)}
    return figures.curves(
        "k1-curves",
        f"Training loss with {_branches(max(DEPTHS))}",
        deepest,
        y_title="training loss, log scale",
        scale="log",
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
x = torch.randn(256, 64)
for depth in (2, 12, 48):
    for last in (torch.nn.init.kaiming_normal_, torch.nn.init.zeros_):
        h = x
        for _ in range(depth):  # h + branch(h), without a norm
            inner, outer = torch.nn.Linear(64, 64), torch.nn.Linear(64, 64)
            torch.nn.init.kaiming_normal_(inner.weight)
            last(outer.weight)
            torch.nn.init.zeros_(outer.bias)
            h = h + outer(torch.relu(inner(h)))
        print(f"{depth} branches, {last.__name__}: mean square {h.square().mean().item():.3g}")
"""

CLAIM = Claim(
    id="K1",
    title="Where zero is right",
    statement="Zero initialization is a viable tool that is worth exploring, and helps under the right conditions.",
    basis="measured",
    rule=(
        f"Residual networks of {' and '.join(map(str, DEPTHS))} branches without a norm. Five zeros (everywhere; "
        "everywhere with noise of 0.001 on top; in the head; at the end of each branch; in the gate of each branch) "
        f"against He's weights, each at its own tuned rate, on paired fresh seeds, at least {SEEDS}, in each task but "
        f"{LEFT_OUT} (exact sign-flip, Holm over all, alpha {ALPHA:g}). Better on test data, or equivalent within "
        f"{100 * PRESETS['quick'].margin:g} points, supports: zero is viable there. Worse refutes."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
