"""Which runs a study needs next, and what it says when there are none: pure functions of the records so far.

Tuning runs come first, then the rates that an optimum at the edge adds, then the judging runs of the first look, then
those of the next look for the comparisons that are still undecided. A tuned start is judged at its chosen rate and at
the rates next to it, for the reason that ``exnihilo.lab.bracket`` gives. A study that was killed has no other state.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from exnihilo.errors import InvalidValueError
from exnihilo.lab.records import Run, RunRecord, Start, Verdict
from exnihilo.lab.study import Place, Study
from exnihilo.lab.tuning import choose_rate, judged_rates
from exnihilo.lab.verdict import FailureComparison, PairedOutcomes, compare, compare_failures, pair_records

Records = Mapping[Run, RunRecord] | Iterable[RunRecord]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """How far the choice of the learning rates of one place has come.

    Args:
        place: The place.
        rates: The grid, with the rates that edge optima added so far.
        chosen: The rate of each start; empty while runs are missing.
        at_edge: Starts whose best rate is the last of a grid that may grow no more: a better one may lie beyond.
        missing: Runs that are needed before anything more can be said.
    """

    place: Place
    rates: tuple[float, ...]
    chosen: Mapping[Start, float]
    at_edge: frozenset[Start]
    missing: tuple[Run, ...]

    def near(self, start: Start) -> tuple[float, ...]:
        """The rates next to the chosen one."""
        chosen = self.chosen[start]
        return tuple(lr for lr in judged_rates(chosen, self.rates) if lr != chosen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """A start against the baseline in one place, each at its own rate.

    Args:
        place: The place.
        start, baseline: What is compared.
        lr, baseline_lr: The rate of each.
        near, baseline_near: The rates next to it, which are judged too; none where the rate was not tuned.
    """

    place: Place
    start: Start
    baseline: Start
    lr: float
    baseline_lr: float
    near: tuple[float, ...] = ()
    baseline_near: tuple[float, ...] = ()

    def name(self, study: Study) -> str:
        """What is compared with what, and where; unique in the study."""
        where = [self.place.task, self.place.network.label, self.place.optimizer.label]
        where += [f"lr {self.lr:g}"] if study.policy == "grid" else []
        return f"{self.start.label} vs {self.baseline.label}: {', '.join(where)}"


def pending(study: Study, records: Records) -> tuple[Run, ...]:
    """The runs that the study needs next, each once; empty when it is done.

    Args:
        study: The study.
        records: Finished runs, of this study and any others.
    """
    return _replay(study, by_run(records)).missing


def runs_of(study: Study, records: Records) -> tuple[Run, ...]:
    """The finished runs of the study, in the order in which it asked for them.

    The schedule is replayed: a run that another study trained counts once this study asks for it, and never before.
    So what a study says does not depend on which others ran beside it.

    Args:
        study: The study.
        records: Finished runs, of this study and any others.
    """
    return tuple(_replay(study, by_run(records)).own)


def judge(study: Study, records: Records) -> tuple[Verdict, ...]:
    """The verdicts on all comparisons of the study, as one family; none where it has no baseline.

    Raises:
        InvalidValueError: Runs of the tuning or of the first look are missing.
    """
    replay = _replay(study, by_run(records))
    num_missing = sum(run not in replay.own for run in _first_runs(study, replay.tunings))
    if num_missing:
        raise InvalidValueError(
            f"Study '{study.name}' cannot be judged yet: at least {num_missing} runs are missing.",
            fix="run all that pending(study, records) names, until it is empty",
        )
    return _verdicts(study, comparisons_of(study, replay.tunings), replay.own)


def judge_failures(study: Study, records: Records) -> tuple[FailureComparison, ...]:
    """How often each side of every comparison fails, on the seeds of its verdict and at the chosen rates; as ``judge``.

    Raises:
        InvalidValueError: Runs of the tuning or of the first look are missing.
    """
    verdicts = judge(study, records)
    replay = _replay(study, by_run(records))
    pairs = _pairs(study, comparisons_of(study, replay.tunings), replay.own)
    seen = {name: pair.first(verdict.n) for (name, pair), verdict in zip(pairs.items(), verdicts, strict=True)}
    return compare_failures(seen, alpha=study.alpha, looks=study.looks) if seen else ()


def chosen_rates(study: Study, records: Records) -> Mapping[tuple[Place, Start], float]:
    """The learning rate of each start in each place whose tuning is finished; empty for the policy ``"grid"``."""
    tunings = tunings_of(study, by_run(records))
    return {(tuning.place, start): lr for tuning in tunings for start, lr in tuning.chosen.items()}


def by_run(records: Records) -> Mapping[Run, RunRecord]:
    """The records by their runs."""
    if isinstance(records, Mapping):
        return cast(Mapping[Run, RunRecord], records)
    return {record.run: record for record in records}


def tunings_of(study: Study, found: Mapping[Run, RunRecord]) -> tuple[Tuning, ...]:
    """How far each place's tuning has come; none for the policy ``"grid"``."""
    return tuple(_tuning(study, place, found) for place in study.places) if study.policy == "tuned" else ()


def comparisons_of(study: Study, tunings: Iterable[Tuning]) -> tuple[Comparison, ...]:
    """Every comparison of the places that are tuned (of all places, for the policy ``"grid"``)."""
    if study.baseline is None:
        return ()
    rivals = [start for start in study.arms if start != study.baseline]
    if study.policy == "grid":
        return tuple(
            Comparison(place=place, start=start, baseline=study.baseline, lr=lr, baseline_lr=lr)
            for place in study.places
            for lr in study.lrs
            for start in rivals
        )
    return tuple(
        Comparison(
            place=tuning.place,
            start=start,
            baseline=study.baseline,
            lr=tuning.chosen[start],
            baseline_lr=tuning.chosen[study.baseline],
            near=tuning.near(start),
            baseline_near=tuning.near(study.baseline),
        )
        for tuning in tunings
        if tuning.chosen
        for start in rivals
    )


class _Replay(NamedTuple):
    """What a study asked for and got, in its order, and what it asks for next."""

    tunings: tuple[Tuning, ...]
    own: Mapping[Run, RunRecord]
    missing: tuple[Run, ...]


def _replay(study: Study, found: Mapping[Run, RunRecord]) -> _Replay:
    tunings = tunings_of(study, found)
    asked = _first_runs(study, tunings)
    own: dict[Run, RunRecord] = {}
    while asked:
        own |= {run: found[run] for run in asked if run in found}
        missing = tuple(run for run in asked if run not in own)
        if missing or study.baseline is None:
            return _Replay(tunings, own, missing)
        asked = _next_look(study, tunings, own)
    return _Replay(tunings, own, ())


def _first_runs(study: Study, tunings: tuple[Tuning, ...]) -> tuple[Run, ...]:
    """All runs of the tunings so far, and of the first look where the rates are chosen."""
    runs = [
        study.run(tuning.place, start, lr, study.tuning_seed(index))
        for tuning in tunings
        for start in study.arms
        for lr in tuning.rates
        for index in range(study.tuning_seeds if len(study.lrs) > 1 else 0)  # one rate leaves nothing to choose
    ]
    runs += [run for arm in _arms(study, tunings) for run in _judging_runs(study, *arm, study.looks[0])]
    return tuple(dict.fromkeys(runs))


def _tuning(study: Study, place: Place, found: Mapping[Run, RunRecord]) -> Tuning:
    rates = study.lrs
    seeds = [study.tuning_seed(index) for index in range(study.tuning_seeds)]
    scores: dict[Start, dict[float, list[float]]] = {start: {} for start in study.arms}
    if len(rates) == 1:  # nothing to choose from
        return Tuning(
            place=place, rates=rates, chosen=dict.fromkeys(study.arms, rates[0]), at_edge=frozenset(), missing=()
        )
    while True:
        missing: list[Run] = []
        for start, of_rate in scores.items():
            for lr in rates:
                if lr in of_rate:
                    continue
                runs = [study.run(place, start, lr, seed) for seed in seeds]
                missing += [run for run in runs if run not in found]
                if not missing:
                    of_rate[lr] = [study.tuned_by.of(found[run], study.target) for run in runs]
        if missing:
            return Tuning(place=place, rates=rates, chosen={}, at_edge=frozenset(), missing=tuple(missing))
        best = {
            start: choose_rate(of_rate, higher_is_better=study.tuned_by.higher_is_better)
            for start, of_rate in scores.items()
        }
        at_edge = {start: lr for start, (lr, is_edge) in best.items() if is_edge}
        grown = _extended(study, rates, at_edge.values())
        if grown == rates:
            chosen = {start: lr for start, (lr, _) in best.items()}
            return Tuning(place=place, rates=rates, chosen=chosen, at_edge=frozenset(at_edge), missing=())
        rates = grown


def _extended(study: Study, rates: tuple[float, ...], edges: Iterable[float]) -> tuple[float, ...]:
    """The grid, one rate longer on each side that some start's optimum lies at and that may still grow."""
    wanted = set(edges)
    num_below, num_above = rates.index(study.lrs[0]), len(rates) - 1 - rates.index(study.lrs[-1])
    below = [_next(rates[0], study.lrs[0] / study.lrs[1])] if rates[0] in wanted and num_below < study.extend else []
    above = (
        [_next(rates[-1], study.lrs[-1] / study.lrs[-2])] if rates[-1] in wanted and num_above < study.extend else []
    )
    return (*below, *rates, *above)


def _next(lr: float, ratio: float) -> float:
    readable = float(f"{lr * ratio:.3g}")  # 0.3 and not 0.30000000000000004: rates are read by people
    return readable if (readable > lr) == (ratio > 1.0) and readable != lr else lr * ratio


def _arms(study: Study, tunings: Iterable[Tuning]) -> list[tuple[Place, Start, float]]:
    """Every (place, start, rate) that is judged, of the places that are tuned."""
    if study.policy == "grid":
        return [(place, start, lr) for place in study.places for start in study.arms for lr in study.lrs]
    return [
        (tuning.place, start, lr)
        for tuning in tunings
        for start, chosen in tuning.chosen.items()
        for lr in (chosen, *tuning.near(start))
    ]


def _judging_runs(study: Study, place: Place, start: Start, lr: float, n: int) -> list[Run]:
    return [study.run(place, start, lr, study.judging_seed(index)) for index in range(n)]


def _next_look(study: Study, tunings: tuple[Tuning, ...], found: Mapping[Run, RunRecord]) -> tuple[Run, ...]:
    comparisons = comparisons_of(study, tunings)
    wanted: dict[Run, None] = {}
    for comparison, verdict in zip(comparisons, _verdicts(study, comparisons, found), strict=True):
        size = next((look for look in study.looks if look > verdict.n), None)
        if verdict.outcome == "undecided" and size is not None:
            for lr in (comparison.lr, *comparison.near):
                wanted |= dict.fromkeys(_judging_runs(study, comparison.place, comparison.start, lr, size))
            for lr in (comparison.baseline_lr, *comparison.baseline_near):
                wanted |= dict.fromkeys(_judging_runs(study, comparison.place, comparison.baseline, lr, size))
    return tuple(run for run in wanted if run not in found)


def _verdicts(study: Study, comparisons: tuple[Comparison, ...], found: Mapping[Run, RunRecord]) -> tuple[Verdict, ...]:
    if not comparisons:
        return ()
    verdicts = compare(
        _pairs(study, comparisons, found),
        margin=study.margin,
        alpha=study.alpha,
        looks=study.looks,
        higher_is_better=study.judged_by.higher_is_better,
        worst=study.judged_by.worst_of(study.steps),
    )
    if study.vary_split:
        return verdicts
    return tuple(replace(verdict, rule=f"{verdict.rule} On one data split.") for verdict in verdicts)


def _pairs(
    study: Study, comparisons: tuple[Comparison, ...], found: Mapping[Run, RunRecord]
) -> Mapping[str, PairedOutcomes]:
    """What each comparison has to go by, by its name."""
    metric = study.judged_by

    def value(record: RunRecord) -> float:
        return metric.of(record, study.target)

    def records_of(place: Place, start: Start, lr: float) -> list[RunRecord]:
        runs = _judging_runs(study, place, start, lr, study.looks[-1])
        return [found[run] for run in runs if run in found]

    return {
        comparison.name(study): pair_records(
            records_of(comparison.place, comparison.start, comparison.lr),
            records_of(comparison.place, comparison.baseline, comparison.baseline_lr),
            value,
            start_near=[records_of(comparison.place, comparison.start, lr) for lr in comparison.near],
            baseline_near=[records_of(comparison.place, comparison.baseline, lr) for lr in comparison.baseline_near],
        )
        for comparison in comparisons
    }
