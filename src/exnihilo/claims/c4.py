"""C4: whether the best start changes with the task, the network and the activation."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from math import inf, isfinite
from statistics import mean
from typing import NamedTuple

from exnihilo.claims.claim import Claim, Found, Reading, conclude, contrast
from exnihilo.claims.clauses import factor_by_clause, family, listed, margin, of_clause, place, seeds_compared
from exnihilo.claims.networks import deep, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, Outcome, RunRecord, Start
from exnihilo.lab.study import Place, Study

RANKED, SHOWN = "C4 starts by place", "C4 zeros by place"
# Wide weights make a ReLU network explode and saturate a shallow sigmoid network of many inputs, and are what carries a
# signal through a deep one and bends the border between spirals, which have two inputs.
STARTS = (
    Start(name="xavier_normal"),
    Start(name="he_normal"),
    Start(name="small_normal"),
    Start(name="normal", value=2.0),
)
ZERO = Start(name="zeros")  # shown beside the ranking, and not tested: other claims do
ACTIVATIONS = ("relu", "sigmoid")
# With sigmoid, whose slope at zero is a quarter, He's weights hand on a third of a signal at each layer: three layers
# still learn from the rest, and six do not.
SHALLOW_DEPTH = 3
NETWORKS = (
    *(Network(depth=SHALLOW_DEPTH, activation=name) for name in ACTIVATIONS),
    *(deep(name) for name in ACTIVATIONS),
)
TASK, NETWORK, ACTIVATION = "with the task", "with the network", "with the activation"


class Contrast(NamedTuple):
    """One start against another in one place, from the first one's side."""

    estimate: float
    interval: tuple[float, float]
    outcome: Outcome
    more_seeds: int | None


Contrasts = Mapping[tuple[Place, Start, Start], Contrast]


class Ranking(NamedTuple):
    """The starts of one place.

    Args:
        order: By mean test accuracy, the highest first.
        winners: Those that the first of them is not better than, by the tests; a start that is best stays among them.
        safe: Those that are better than, or equivalent to, each other start.
    """

    order: tuple[Start, ...]
    winners: frozenset[Start]
    safe: frozenset[Start]


Rankings = Mapping[Place, Ranking]
Means = Mapping[tuple[Place, Start], float]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Every start in every place, each at its own rate; zeros beside them on fewer seeds."""

    def study(name: str, starts: Sequence[Start], num_seeds: int) -> Study:
        return preset.study(
            name,
            "Does the best start change with the task, the network or the activation?",
            seed=seed,
            networks=NETWORKS,
            starts=starts,
            looks=(num_seeds,),
        )

    return study(RANKED, STARTS, preset.one_look), study(SHOWN, (ZERO,), preset.shown_seeds)


def read(found: Found) -> Reading:
    """A cell for each part: two places that differ in it alone and share no winner support it."""
    places = found.studies[RANKED].places
    means = {
        (spot, start): mean(map(_score, found.judged(study, spot, start)))
        for study, starts in ((RANKED, STARTS), (SHOWN, (ZERO,)))
        for spot in places
        for start in starts
    }
    contrasts = _contrasts(found)
    rankings = {spot: _ranking(spot, means, contrasts) for spot in places}
    cells = tuple(_cell(found, part, pairs, rankings, contrasts) for part, pairs in _pairs(places).items())
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, rankings),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_ranks(found, rankings, means), _outcomes(contrasts)),
            figures=(_heatmap(found, means), _intervals(rankings, contrasts)),
        ),
    )


def _score(record: RunRecord) -> float:
    return 0.0 if record.diverged else record.test_score


def _contrasts(found: Found) -> Contrasts:
    """Each start against each other in each place, as one family, from both sides."""
    names = {
        (spot, one, other): f"{one.label} vs {other.label}: {_label(spot)}"
        for spot in found.studies[RANKED].places
        for one, other in combinations(STARTS, 2)
    }
    sides = {
        name: (found.judged(RANKED, spot, one), found.judged(RANKED, spot, other))
        for (spot, one, other), name in names.items()
    }
    verdicts = contrast(found, sides, num_seeds=found.preset.one_look)
    turned: Mapping[Outcome, Outcome] = {"better": "worse", "worse": "better"}
    contrasts: dict[tuple[Place, Start, Start], Contrast] = {}
    for (spot, one, other), name in names.items():
        verdict = verdicts[name]
        low, high = verdict.interval
        contrasts[spot, one, other] = Contrast(verdict.estimate, (low, high), verdict.outcome, verdict.more_seeds)
        outcome: Outcome = turned.get(verdict.outcome) or verdict.outcome
        contrasts[spot, other, one] = Contrast(-verdict.estimate, (-high, -low), outcome, verdict.more_seeds)
    return contrasts


def _ranking(spot: Place, means: Means, contrasts: Contrasts) -> Ranking:
    order = tuple(sorted(STARTS, key=lambda start: -means[spot, start]))
    first, *rest = order
    safe = (
        start
        for start in STARTS
        if all(contrasts[spot, start, other].outcome in ("better", "equivalent") for other in STARTS if other != start)
    )
    return Ranking(
        order=order,
        winners=frozenset({first, *(start for start in rest if contrasts[spot, first, start].outcome != "better")}),
        safe=frozenset(safe),
    )


def _pairs(places: Iterable[Place]) -> Mapping[str, list[tuple[Place, Place]]]:
    """The pairs of places that differ in one part of the statement alone."""
    parts: Mapping[str, Callable[[Place], object]] = {
        TASK: lambda spot: spot.task,
        NETWORK: lambda spot: (spot.network.depth, spot.network.width),
        ACTIVATION: lambda spot: spot.network.activation,
    }
    both = list(combinations(places, 2))
    differing = [(pair, [part for part, of in parts.items() if of(pair[0]) != of(pair[1])]) for pair in both]
    return {part: [pair for pair, differs in differing if differs == [part]] for part in parts}


def _cell(
    found: Found, part: str, pairs: Sequence[tuple[Place, Place]], rankings: Rankings, contrasts: Contrasts
) -> Cell:
    """One pair whose winners change is enough; that there is none takes a start that stays one in every pair."""
    changed = [(a, b) for a, b in pairs if not rankings[a].winners & rankings[b].winners]
    stays = all(rankings[a].safe & rankings[b].safe for a, b in pairs)
    example = ""
    if changed:
        a, b = changed[0]
        example = (
            f", such as from {_named(rankings[a].winners)} ({_label(a)}) to {_named(rankings[b].winners)} ({_label(b)})"
        )
    return Cell(
        where=place(part, f"{len(pairs)} pairs of places"),
        supports=True if changed else False if stays else None,
        n=found.preset.one_look,
        more_seeds=None if changed or stays else _more_seeds(pairs, rankings, contrasts, found.preset.margin),
        finding=(
            f"The winner changes in {len(changed)} of {len(pairs)} pairs of places that differ in it alone{example}."
        ),
    )


def _more_seeds(
    pairs: Sequence[tuple[Place, Place]], rankings: Rankings, contrasts: Contrasts, within: float
) -> int | None:
    """About how many more seeds would decide an open part, at the observed means and spreads; None where none would.

    It takes one pair in which every winner that is shared is beaten in one of the two places, or in every pair a start
    that turns out better than, or equivalent to, each other start in both.
    """

    def apart(spot: Place, loser: Start) -> float:
        first = rankings[spot].order[0]
        return inf if first == loser else _needed(contrasts[spot, first, loser], settles=lambda of: of > within)

    def safe(spot: Place, start: Start) -> float:
        others = (contrasts[spot, start, other] for other in STARTS if other != start)
        return max(_needed(of, settles=lambda estimate: estimate > -within) for of in others)

    changes = (
        max(min(apart(a, loser), apart(b, loser)) for loser in rankings[a].winners & rankings[b].winners)
        for a, b in pairs
    )
    stays = (min(max(safe(a, start), safe(b, start)) for start in STARTS) for a, b in pairs)
    needed = min(min(changes), max(stays))
    return int(needed) if isfinite(needed) else None


def _needed(of: Contrast, *, settles: Callable[[float], bool]) -> float:
    """More seeds until a contrast is settled as asked; infinite where its estimate says that it will not be."""
    if of.outcome != "undecided":
        return 0.0 if of.outcome != "worse" and settles(of.estimate) else inf
    return of.more_seeds if of.more_seeds is not None and settles(of.estimate) else inf


def _label(spot: Place) -> str:
    return f"{short_label(spot.network)}, {spot.task}"


def _named(starts: Iterable[Start]) -> str:
    chosen = set(starts)
    return listed([start.label for start in STARTS if start in chosen])


def _finding(cells: Sequence[Cell], rankings: Rankings) -> str:
    parts = [_told(part, *of_clause(cells, part)) for part in (TASK, NETWORK, ACTIVATION)]
    counts = [f"{start.label} in {sum(start in of.winners for of in rankings.values())}" for start in STARTS]
    alone = sum(len(of.winners) == 1 for of in rankings.values())
    return (
        f"The best start {listed(parts)}. Of {len(rankings)} places, each start is a winner, not worse than the "
        f"highest mean by the tests, so often: {listed(counts)}; in {alone} places there is just one winner."
    )


def _told(part: str, cell: Cell) -> str:
    if cell.supports is not None:
        return f"{'changes' if cell.supports else 'does not change'} {part}"
    needs = "more seeds like these would not tell"
    needs = needs if cell.more_seeds is None else f"about {cell.more_seeds:,} more seeds would tell"
    return f"is not shown to change {part} ({needs})"


def _by_network(places: Iterable[Place]) -> list[Place]:
    return sorted(places, key=lambda spot: NETWORKS.index(spot.network))


def _ranks(found: Found, rankings: Rankings, means: Means) -> Table:
    rows: list[tuple[Value, ...]] = [
        (
            short_label(spot.network),
            spot.task,
            *(_with_rank(means[spot, start], rankings[spot].order.index(start) + 1) for start in STARTS),
            f"{means[spot, ZERO]:.3f}",
            _named(rankings[spot].winners),
        )
        for spot in _by_network(rankings)
    ]
    return Table(
        title=(
            f"Test accuracy and its rank, mean over {_seeds(found)}, not ranked), "
            "each start at its tuned rate; a diverged run counts as 0"
        ),
        columns=("network", "task", *(start.label for start in STARTS), ZERO.label, "winners"),
        rows=tuple(rows),
    )


def _seeds(found: Found) -> str:
    return f"{found.preset.one_look} seeds ({found.preset.shown_seeds} of {ZERO.label}"


def _with_rank(value: float, rank: int) -> str:
    return f"{value:.3f} ({rank})"


def _outcomes(contrasts: Contrasts) -> Table:
    names: tuple[Outcome, ...] = ("better", "equivalent", "worse", "undecided")
    rows: list[tuple[Value, ...]] = []
    for one, other in combinations(STARTS, 2):
        seen = [of.outcome for (_, a, b), of in contrasts.items() if (a, b) == (one, other)]
        rows.append((one.label, other.label, *(seen.count(name) for name in names)))
    return Table(
        title="Each start against each other: in how many places its test accuracy is better, equivalent or worse",
        columns=("start", "against", *names),
        rows=tuple(rows),
    )


def _heatmap(found: Found, means: Means) -> Figure:
    return Figure(
        name="c4-places",
        title="Test accuracy of each start in each place",
        caption=(
            f"Mean over {_seeds(found)}), each start at the rate tuned for it in the place; a diverged run counts as 0."
        ),
        mark="heatmap",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="place", title="network and task", kind="nominal"),
        color=Axis(field="accuracy", title="test accuracy"),
        rows=tuple(
            {"start": start.label, "place": _label(spot), "accuracy": means[spot, start]}
            for spot in _by_network(dict.fromkeys(spot for spot, _ in means))
            for start in (*STARTS, ZERO)
        ),
    )


def _intervals(rankings: Rankings, contrasts: Contrasts) -> Figure:
    rows = [
        {
            "where": _label(spot),
            "estimate": of.estimate,
            "low": of.interval[0],
            "high": of.interval[1],
            "start": f"minus {start.label}",
            "verdict": of.outcome,
        }
        for spot in _by_network(rankings)
        for first, *rest in (rankings[spot].order,)
        for start in STARTS
        if start in rest
        for of in (contrasts[spot, first, start],)
    ]
    return Figure(
        name="c4-contrasts",
        title="The start with the highest mean in each place against each other start",
        caption=(
            "Mean paired difference over seeds with its interval, corrected for all pairs of starts in all places. "
            "Where it is not better, the other start is a winner too."
        ),
        mark="interval",
        x=Axis(field="estimate", title="test accuracy of the highest mean, minus the other start's"),
        y=Axis(field="where", title="", kind="nominal"),
        color=Axis(field="verdict", title="verdict", kind="nominal"),
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
        f"{listed([start.label for start in STARTS])} are ranked by test accuracy, each at its own tuned rate on "
        f"{seeds_compared()}, in {listed([short_label(net) for net in NETWORKS])} networks on every task. Each is "
        f"tested against each other in every place, as one family ({family()}; equivalent within "
        f"{margin()}). The winners of a place are the start with the highest mean and all that it "
        "is not better than. A part of the statement is supported if two places that differ in that part alone share "
        "no winner; it is refuted if every two such places share a start that is better than, or equivalent to, each "
        "other start in both; else it is open."
    ),
    read=read,
    studies=studies,
)
