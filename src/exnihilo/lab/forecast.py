"""What a study will cost, and whether it can decide anything, before any of it is spent."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from exnihilo.lab import engine, training
from exnihilo.lab.driver import Train
from exnihilo.lab.planning import can_decide
from exnihilo.lab.records import Run, RunRecord
from exnihilo.lab.schedule import Records, Tuning, by_run, runs_of, tunings_of
from exnihilo.lab.study import Place, Study
from exnihilo.lab.tuning import JUDGED_RATES
from exnihilo.lab.workers import train_chunk

# Stacks of a measurement are no larger than this, its runs no longer, and of many kinds of stacks so many are measured:
# a forecast takes a second or two, and is right to about a factor of two on a machine that others use too.
_RUNS_MEASURED = 16
_STEPS_MEASURED = 12
_STACKS_MEASURED = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What lies before a study.

    Args:
        study: Its name.
        num_comparisons: Comparisons of its family.
        num_tuning: Runs that choose the rates, on the declared grid.
        num_first: All runs to the end of the first look, where the declared grid suffices: each start is judged at its
            best rate and at both neighbors (at all rates of a smaller grid). A best rate at an edge changes that: each
            rate that it adds is tuned for every start of the place, and where the grid may grow no more, the start has
            one neighbor, and takes one first look less.
        num_most: No study takes more: every grid extended as far as it may be, every best rate with both neighbors,
            every comparison undecided to the last look.
        num_finished: Runs of it that are in the ledger, judged at neighbors and tuned at added rates among them.
        seconds: Expected time from the ledger to the end of the first look; None where nothing was measured. Cells
            whose rates are not chosen yet count as in ``num_first``, the others with what they miss.
        can_decide: Whether its seeds can decide a comparison at all; None where it compares nothing.
    """

    study: str
    num_comparisons: int
    num_tuning: int
    num_first: int
    num_most: int
    num_finished: int
    seconds: float | None
    can_decide: bool | None


def forecast(
    study: Study, records: Records = (), *, costs: Mapping[Hashable, float] | None = None, workers: int = 1
) -> Forecast:
    """What lies before a study.

    Args:
        study: The study.
        records: Finished runs, of this study and any others.
        costs: Seconds of one run by place, from ``measured_costs``; None leaves the time open.
        workers: Processes that will train.

    Example:
        >>> from exnihilo.lab.records import Network, Start
        >>> study = Study(
        ...     name="zero-head", question="Does a zero head start better than He?", tasks=("digits",),
        ...     networks=(Network(),), starts=(Start(name="zero_head"),), baseline=Start(name="he_normal"),
        ...     lrs=(0.01, 0.03, 0.1), looks=(6, 12), steps=200,
        ... )
        >>> expected = forecast(study)
        >>> expected.num_tuning, expected.num_first, expected.num_most, expected.can_decide
        (18, 54, 114, True)
        >>> forecast(replace(study, looks=(4,))).can_decide
        False
    """
    num_places, num_arms = len(study.places), len(study.arms)
    is_tuned = study.policy == "tuned" and len(study.lrs) > 1
    longest = len(study.lrs) + (2 * study.extend if is_tuned else 0)
    tuned = num_places * num_arms * study.tuning_seeds if is_tuned else 0
    judged = num_places * num_arms * study.looks[0] * _num_judged(study, len(study.lrs))
    last = study.looks[0] if study.baseline is None else study.looks[-1]
    num_comparisons = 0 if study.baseline is None else num_places * (num_arms - 1)
    num_comparisons *= len(study.lrs) if study.policy == "grid" else 1
    num_first = tuned * len(study.lrs) + judged
    found = by_run(records)
    tunings = tunings_of(study, found) if found else ()
    seconds = None
    if costs is not None:
        a_run = sum(costs[_kind(study, place)] for place in study.places) / num_places
        seconds = a_run * (_num_missing(study, found, tunings) if found else num_first) / workers
    return Forecast(
        study=study.name,
        num_comparisons=num_comparisons,
        num_tuning=tuned * len(study.lrs),
        num_first=num_first,
        num_most=tuned * longest + num_places * num_arms * last * _num_judged(study, longest),
        num_finished=len(runs_of(study, found)),
        seconds=seconds,
        can_decide=can_decide(last, num_comparisons, study.alpha, study.looks) if num_comparisons else None,
    )


def measured_costs(studies: Sequence[Study], *, train: Train = training.train) -> Mapping[Hashable, float]:
    """Seconds of one run of each place of the studies, on one thread, measured on a few steps of it.

    Where the places are many, some are measured, and their neighbors in the list are taken to cost as much.
    """
    kinds: dict[Hashable, tuple[Study, Place]] = {}
    for study in studies:
        for place in study.places:
            kinds.setdefault(_kind(study, place), (study, place))
    stride = max(1, math.ceil(len(kinds) / _STACKS_MEASURED))
    costs: dict[Hashable, float] = {}
    seconds = 0.0
    for index, (kind, (study, place)) in enumerate(kinds.items()):
        if index % stride == 0:
            seconds = _seconds_of_a_run(study, place, train)
        costs[kind] = seconds
    return costs


def _kind(study: Study, place: Place) -> Hashable:
    return engine.stack_key(study.run(place, study.arms[0], study.lrs[0], study.judging_seed(0)))


def _seconds_of_a_run(study: Study, place: Place, train: Train) -> float:
    task = next(task for task in study.task_records if task.name == place.task)
    first = study.run(place, study.arms[0], study.lrs[0], study.tuning_seed(0))
    num_runs = min(_RUNS_MEASURED, training.largest_chunk(first))
    few, many = (1, 3) if num_runs == 1 else (2, _STEPS_MEASURED)  # what trains alone may take a second a step

    def seconds(steps: int) -> float:
        runs: tuple[Run, ...] = tuple(
            replace(first, seed=study.tuning_seed(index), steps=steps, evaluations=1, measurements=1)
            for index in range(num_runs)
        )
        began = time.perf_counter()
        train_chunk(train, task, runs)
        return time.perf_counter() - began

    seconds(few)  # loads the task
    short, long = seconds(few), seconds(many)
    a_step = max(0.0, long - short) / (many - few)
    # What is left of a short stack is its begin, and two evaluations with measurements: taken as two evaluations.
    an_evaluation = max(0.0, short - few * a_step) / 2
    return (study.steps * a_step + (study.evaluations + 1) * an_evaluation) / num_runs


def _num_judged(study: Study, num_rates: int) -> int:
    """Rates of a grid of that length at which a start is judged, unless its best one is at an edge."""
    return num_rates if study.policy == "grid" else min(JUDGED_RATES, num_rates)


def _num_missing(study: Study, found: Mapping[Run, RunRecord], tunings: tuple[Tuning, ...]) -> int:
    """Runs to the end of the first look: those known to be missing, and the judging of untuned places."""
    num_untuned = sum(not tuning.chosen for tuning in tunings)
    later = num_untuned * len(study.arms) * study.looks[0] * _num_judged(study, len(study.lrs))
    missing = _first_look(study, tunings) - found.keys()
    return sum(len(tuning.missing) for tuning in tunings) + len(missing) + later


def _first_look(study: Study, tunings: tuple[Tuning, ...]) -> set[Run]:
    """The judging runs of the first look of every start at every rate, where the rates are known."""
    rates = {
        (tuning.place, start): (lr, *tuning.near(start)) for tuning in tunings for start, lr in tuning.chosen.items()
    }
    if study.policy == "grid":
        rates = {(place, start): study.lrs for place in study.places for start in study.arms}
    return {
        study.run(place, start, lr, study.judging_seed(index))
        for (place, start), of in rates.items()
        for lr in of
        for index in range(study.looks[0])
    }
