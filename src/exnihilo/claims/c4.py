"""C4: whether the best start changes with the task, the network and the activation."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from statistics import mean

from exnihilo.claims.claim import Claim, Found, Reading, conclude
from exnihilo.claims.clauses import factor_by_clause, listed, num_holding, of_clause, place
from exnihilo.claims.networks import deep, shallow, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, RunRecord, Start, Verdict
from exnihilo.lab.study import Cell as Place
from exnihilo.lab.study import Study

STUDY = "C4 starts by cell"
BASELINE = Start(name="xavier_normal")
# Wide weights are the wrong start of a ReLU network, and keep the signal of a deep sigmoid network alive.
STARTS = (Start(name="he_normal"), Start(name="normal", value=1.0))
SHALLOW, DEEP, OTHER = shallow(), deep(), deep("sigmoid")
LOOKS = (12,)
TASK, NETWORK, ACTIVATION = "with the task", "with the network", "with the activation"

Verdicts = Mapping[tuple[Place, Start], Verdict]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """He and wide normal weights against Xavier in every cell, each at its own rate."""
    return (
        preset.study(
            STUDY,
            "Does the better of two starts change with the task, the network or the activation?",
            seed=seed,
            networks=(SHALLOW, DEEP, OTHER),
            starts=STARTS,
            baseline=BASELINE,
            looks=LOOKS,
        ),
    )


def read(found: Found) -> Reading:
    """A contrast that is better in one cell and worse in another supports its part of the statement."""
    verdicts = {(comparison.cell, comparison.start): verdict for comparison, verdict in found.verdicts(STUDY)}
    places = found.studies[STUDY].cells
    tasks = list(dict.fromkeys(spot.task for spot in places))
    cells = (
        *(_cell(TASK, short_label(net), verdicts, [s for s in places if s.network == net]) for net in _networks(found)),
        *(_cell(NETWORK, task, verdicts, _spots(places, task, (SHALLOW, DEEP))) for task in tasks),
        *(_cell(ACTIVATION, task, verdicts, _spots(places, task, (DEEP, OTHER))) for task in tasks),
    )
    means = {
        (spot, start): mean(_score(record) for record in found.judged(STUDY, spot, start))
        for spot in places
        for start in found.studies[STUDY].arms
    }
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, verdicts, means),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_accuracies(found, means), _contrasts(verdicts)),
            figures=(_heatmap(means), _intervals(verdicts)),
        ),
    )


def _score(record: RunRecord) -> float:
    return 0.0 if record.diverged else record.test_score


def _networks(found: Found) -> tuple[Network, ...]:
    return found.studies[STUDY].networks


def _spots(places: Iterable[Place], task: str, networks: Sequence[Network]) -> list[Place]:
    return [spot for spot in places if spot.task == task and spot.network in networks]


def _cell(clause: str, where: str, verdicts: Verdicts, places: Sequence[Place]) -> Cell:
    """Whether some contrast changes sides among these places."""
    flips = [
        f"{start.label} is {verdicts[one, start].outcome} than {BASELINE.label} at {_label(one)} and "
        f"{verdicts[other, start].outcome} at {_label(other)}"
        for start in STARTS
        for one, other in combinations(places, 2)
        if {verdicts[one, start].outcome, verdicts[other, start].outcome} == {"better", "worse"}
    ]
    outcomes = [verdicts[spot, start].outcome for start in STARTS for spot in places]
    num_open = outcomes.count("undecided")
    return Cell(
        where=place(clause, where),
        supports=True if flips else None if num_open else False,
        n=min(verdicts[spot, start].n for start in STARTS for spot in places),
        finding=f"{flips[0]}." if flips else f"No contrast changes sides; {num_open} of {len(outcomes)} are undecided.",
    )


def _label(spot: Place) -> str:
    return f"{spot.task} {short_label(spot.network)}"


def _finding(cells: Sequence[Cell], verdicts: Verdicts, means: Mapping[tuple[Place, Start], float]) -> str:
    held = {clause: of_clause(cells, clause) for clause in (TASK, NETWORK, ACTIVATION)}
    counts = {clause: f"{num_holding(asked)} of {len(asked)}" for clause, asked in held.items()}
    spots = list(dict.fromkeys(spot for spot, _ in means))
    winners = [_winner(spot, means) for spot in spots]
    highest = [f"{start.label} in {winners.count(start.label)}" for start in (BASELINE, *STARTS)]
    sides = [
        f"{start.label} is better than {BASELINE.label} in {_count(verdicts, start, 'better')} cells and worse in "
        f"{_count(verdicts, start, 'worse')}"
        for start in STARTS
    ]
    return (
        f"Which of two starts is better changes between tasks in {counts[TASK]} networks, between the shallow and the "
        f"deep network in {counts[NETWORK]} tasks, and between activations in {counts[ACTIVATION]} tasks. The highest "
        f"mean test accuracy belongs to {listed(highest)} of {len(spots)} cells; tested, {'; '.join(sides)}."
    )


def _count(verdicts: Verdicts, start: Start, outcome: str) -> int:
    return sum(verdict.outcome == outcome for (_, of), verdict in verdicts.items() if of == start)


def _winner(spot: Place, means: Mapping[tuple[Place, Start], float]) -> str:
    return max(((value, start.label) for (where, start), value in means.items() if where == spot))[1]


def _accuracies(found: Found, means: Mapping[tuple[Place, Start], float]) -> Table:
    arms = found.studies[STUDY].arms
    rows: list[tuple[Value, ...]] = [
        (short_label(spot.network), spot.task, *(means[spot, start] for start in arms), _winner(spot, means))
        for spot in found.studies[STUDY].cells
    ]
    return Table(
        title=f"Test accuracy, mean over {LOOKS[0]} seeds, each start at its tuned rate; a diverged run counts as 0",
        columns=("network", "task", *(start.label for start in arms), "highest mean"),
        rows=tuple(sorted(rows, key=lambda row: str(row[0]))),
    )


def _contrasts(verdicts: Verdicts) -> Table:
    return Table(
        title=f"Difference of test accuracy from {BASELINE.label}, and its verdict",
        columns=("network", "task", "start", "difference", "verdict"),
        rows=tuple(
            (short_label(spot.network), spot.task, start.label, verdict.estimate, verdict.outcome)
            for (spot, start), verdict in sorted(verdicts.items(), key=lambda item: short_label(item[0][0].network))
        ),
    )


def _heatmap(means: Mapping[tuple[Place, Start], float]) -> Figure:
    return Figure(
        name="c4-cells",
        title="Test accuracy of each start in each cell",
        caption=(
            f"Mean over {LOOKS[0]} seeds, each start at the rate tuned for it in the cell; a diverged run counts as 0."
        ),
        mark="heatmap",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="cell", title="network and task", kind="nominal"),
        color=Axis(field="accuracy", title="test accuracy"),
        rows=tuple(
            {"start": start.label, "cell": f"{short_label(spot.network)}, {spot.task}", "accuracy": value}
            for (spot, start), value in sorted(means.items(), key=lambda item: short_label(item[0][0].network))
        ),
    )


def _intervals(verdicts: Verdicts) -> Figure:
    rows = [
        {
            "where": f"{short_label(spot.network)}, {spot.task}",
            "estimate": verdict.estimate,
            "low": verdict.interval[0],
            "high": verdict.interval[1],
            "start": start.label,
            "verdict": verdict.outcome,
        }
        for (spot, start), verdict in sorted(verdicts.items(), key=lambda item: short_label(item[0][0].network))
    ]
    return Figure(
        name="c4-contrasts",
        title="The same contrast in different cells",
        caption="Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
        mark="interval",
        x=Axis(field="estimate", title=f"test accuracy minus that of {BASELINE.label}"),
        y=Axis(field="where", title="", kind="nominal"),
        color=Axis(field="verdict", title="against Xavier", kind="nominal"),
        facet=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(rows),
        reference=0.0,
    )


CLAIM = Claim(
    id="C4",
    title="The best start",
    statement="Which start is best depends on the task, the network and the activation.",
    basis="measured",
    rule=(
        f"{listed([start.label for start in STARTS])} against {BASELINE.label}, each at its own tuned rate on "
        f"{LOOKS[0]} fresh seeds, in {listed([short_label(net) for net in (SHALLOW, DEEP, OTHER)])} networks and "
        "every task, all comparisons one family (exact sign-flip, Holm, alpha 0.05). A part of the statement is "
        "supported where a contrast is better in one cell and worse in another that differs in that part alone; it "
        "is refuted where every contrast of such cells is decided and none changes sides; else it is open."
    ),
    read=read,
    studies=studies,
)
