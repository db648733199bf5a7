"""What a study will cost, and whether it can decide anything, before any of it is spent."""

import math
import time
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

from exnihilo.lab import engine
from exnihilo.lab.driver import Train
from exnihilo.lab.planning import can_decide
from exnihilo.lab.records import Run
from exnihilo.lab.schedule import Records, by_run, tunings_of
from exnihilo.lab.study import Cell, Study
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
        num_first: All runs to the end of the first look, without rates that edge optima add.
        num_most: All runs, if every grid is extended as far as it may be and every comparison takes every look.
        num_finished: Runs of it that are in the ledger.
        seconds: Expected time of what is missing of ``num_first``; None where nothing was measured.
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
        costs: Seconds of one run by cell, from ``measured_costs``; None leaves the time open.
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
        (18, 30, 66, True)
        >>> forecast(replace(study, looks=(4,))).can_decide
        False
    """
    num_cells, num_arms = len(study.cells), len(study.arms)
    is_tuned = study.policy == "tuned" and len(study.lrs) > 1
    num_rates = len(study.lrs) if study.policy == "grid" else min(JUDGED_RATES, len(study.lrs))
    judged = num_cells * num_arms * num_rates
    tuned = num_cells * num_arms * study.tuning_seeds if is_tuned else 0
    num_first = tuned * len(study.lrs) + judged * study.looks[0]
    last = study.looks[0] if study.baseline is None else study.looks[-1]
    num_comparisons = 0 if study.baseline is None else num_cells * (num_arms - 1)
    num_comparisons *= len(study.lrs) if study.policy == "grid" else 1
    num_finished = _num_finished(study, records)
    share = max(0, num_first - num_finished) / num_first
    seconds = None
    if costs is not None:
        in_all = sum(costs[_kind(study, cell)] for cell in study.cells) * num_first / num_cells
        seconds = in_all * share / workers
    return Forecast(
        study=study.name,
        num_comparisons=num_comparisons,
        num_tuning=tuned * len(study.lrs),
        num_first=num_first,
        num_most=tuned * (len(study.lrs) + 2 * study.extend) + judged * last,
        num_finished=num_finished,
        seconds=seconds,
        can_decide=can_decide(last, num_comparisons, study.alpha, study.looks) if num_comparisons else None,
    )


def measured_costs(studies: Sequence[Study], *, train: Train = engine.train) -> Mapping[Hashable, float]:
    """Seconds of one run of each cell of the studies, on one thread, measured on a few steps of it.

    Where the cells are many, some are measured, and their neighbors in the list are taken to cost as much.
    """
    kinds: dict[Hashable, tuple[Study, Cell]] = {}
    for study in studies:
        for cell in study.cells:
            kinds.setdefault(_kind(study, cell), (study, cell))
    stride = max(1, math.ceil(len(kinds) / _STACKS_MEASURED))
    costs: dict[Hashable, float] = {}
    seconds = 0.0
    for index, (kind, (study, cell)) in enumerate(kinds.items()):
        if index % stride == 0:
            seconds = _seconds_of_a_run(study, cell, train)
        costs[kind] = seconds
    return costs


def _kind(study: Study, cell: Cell) -> Hashable:
    return engine.stack_key(study.run(cell, study.arms[0], study.lrs[0], study.judging_seed(0)))


def _seconds_of_a_run(study: Study, cell: Cell, train: Train) -> float:
    task = next(task for task in study.task_records if task.name == cell.task)
    first = study.run(cell, study.arms[0], study.lrs[0], study.tuning_seed(0))
    num_runs = min(_RUNS_MEASURED, engine.MAX_STACK)

    def seconds(steps: int) -> float:
        runs: tuple[Run, ...] = tuple(
            replace(first, seed=study.tuning_seed(index), steps=steps, evaluations=1, measurements=1)
            for index in range(num_runs)
        )
        began = time.perf_counter()
        train_chunk(train, task, runs)
        return time.perf_counter() - began

    few = 2
    seconds(few)  # loads the task
    short, long = seconds(few), seconds(_STEPS_MEASURED)
    a_step = max(0.0, long - short) / (_STEPS_MEASURED - few)
    # What is left of a short stack is its begin, and two evaluations with measurements: taken as two evaluations.
    an_evaluation = max(0.0, short - few * a_step) / 2
    return (study.steps * a_step + (study.evaluations + 1) * an_evaluation) / num_runs


def _num_finished(study: Study, records: Records) -> int:
    found = by_run(records)
    if not found:
        return 0
    tunings = tunings_of(study, found)
    tuning = {
        study.run(tuning.cell, start, lr, study.tuning_seed(index))
        for tuning in tunings
        for start in study.arms
        for lr in tuning.rates
        for index in range(study.tuning_seeds if len(study.lrs) > 1 else 0)
    }
    rates = {(tuning.cell, start): (lr,) for tuning in tunings for start, lr in tuning.chosen.items()}
    if study.policy == "grid":
        rates = {(cell, start): study.lrs for cell in study.cells for start in study.arms}
    judging = {
        study.run(cell, start, lr, study.judging_seed(index))
        for (cell, start), of in rates.items()
        for lr in of
        for index in range(study.looks[-1])
    }
    return len((tuning | judging) & found.keys())
