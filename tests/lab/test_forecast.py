"""A forecast counts the runs that a study then makes, and never tells too few at most."""

import math
import time
from collections.abc import Sequence

import pytest
from fake_engine import noise, record_of
from test_study import HE, SMALL, XAVIER, ZEROS, finished, is_tuning, study_with

from exnihilo.lab.arms import arms_of
from exnihilo.lab.forecast import forecast, measured_costs
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord
from exnihilo.lab.schedule import tunings_of
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import Task

STUDIES = [
    study_with(margin=0.2),
    study_with(starts=(XAVIER, ZEROS), margin=0.001),
    study_with(starts=(SMALL, XAVIER)),
    study_with(starts=(SMALL,), extend=0),
    study_with(lrs=(0.1, 1.0), margin=0.001),  # the grid grows, and with it the rates that are judged
    study_with(lrs=(0.1,)),
    study_with(policy="grid", lrs=(0.01, 0.1)),
    study_with(policy="grid", baseline=None),
    study_with(tasks=("digits", "wine"), networks=(Network(depth=1), Network()), optimizers=(Optimizer(name="adam"),)),
]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_at_least_the_first_look_and_at_most_what_was_told(study: Study) -> None:
    expected = forecast(study)
    rounds, records = finished(study)
    num_stuck = sum(len(tuning.at_edge) for tuning in tunings_of(study, records))  # each has one neighbor only
    assert expected.num_first - num_stuck * study.looks[0] <= len(records) <= expected.num_most
    assert expected.num_tuning in (0, rounds[0])
    assert forecast(study, records).num_finished == len(records)


def test_a_study_that_is_decided_at_once_runs_exactly_its_first_look() -> None:
    study = study_with(margin=0.2)
    _, records = finished(study)
    assert forecast(study).num_first == len(records) == 2 * 3 * (2 + 7)


def test_a_best_rate_at_the_edge_of_a_grid_that_may_not_grow_takes_a_look_less() -> None:
    study = study_with(starts=(SMALL,), extend=0)
    _, records = finished(study)
    assert forecast(study).num_first == 2 * 3 * (2 + 7)
    assert len(records) == 2 * 3 * 2 + (3 + 2) * 7


def test_grids_that_grow_and_comparisons_that_stay_undecided_take_all_that_was_told() -> None:
    def record(run: Run) -> RunRecord:  # the best rates lie one step below and one step above the declared grid
        loss = 0.1 + 0.1 * abs(math.log10(run.lr / {HE: 0.01, XAVIER: 10.0}[run.start]))
        score = 0.9 + noise(run, "test")
        return record_of(run, validation_score=(0.0, 0.0, 1.0 - loss), test_score=score, diverged=False)

    study = study_with(lrs=(0.1, 1.0), extend=2, margin=0.001)
    _, records = finished(study, record)
    assert forecast(study).num_most == len(records) == 2 * (6 * 2 + 3 * 12)


def test_a_family_too_large_for_its_seeds_is_told_apart_from_one_that_is_not() -> None:
    networks = tuple(Network(width=width) for width in range(1, 29))
    assert forecast(study_with(networks=networks, looks=(11,))).can_decide is True
    assert forecast(study_with(networks=networks, looks=(10,))).can_decide is False
    assert forecast(study_with(baseline=None)).can_decide is None


def slow_engine(task: Task, runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    time.sleep(0.01 + 0.005 * runs[0].steps)
    return tuple(map(record_of, runs))


def test_the_time_is_that_of_the_steps() -> None:
    study = study_with(steps=1000, evaluations=1)
    (cost,) = measured_costs([study], train=slow_engine).values()
    assert cost == pytest.approx((0.01 + 0.005 * 1000) / 16, rel=0.5)  # a stack of 16 is measured
    costs = measured_costs([study], train=slow_engine)
    one, two = (forecast(study, costs=costs, workers=workers).seconds for workers in (1, 2))
    assert one is not None and two is not None
    assert one == pytest.approx(2 * two)


@pytest.mark.parametrize("study", STUDIES)
def test_what_is_in_the_ledger_costs_nothing(study: Study) -> None:
    costs = measured_costs([study], train=lambda task, runs: tuple(map(record_of, runs)))
    before = forecast(study, costs=costs).seconds
    _, records = finished(study)
    assert before is not None and before > 0.0
    assert forecast(study, records, costs=costs).seconds == 0.0


def test_the_time_that_is_left_is_that_of_the_missing_runs() -> None:
    study = study_with(margin=0.2)
    costs = measured_costs([study], train=slow_engine)
    _, records = finished(study)
    (a_run,) = costs.values()
    tuning = {run: record for run, record in records.items() if is_tuning(run)}
    chosen = {run: record for run, record in records.items() if is_tuning(run) or run.lr == 0.1}
    half = {run: record for run, record in tuning.items() if run.start == HE}
    for found, num_left in ((half, 6 + 42), (tuning, 42), (chosen, 28)):
        assert forecast(study, found, costs=costs).seconds == pytest.approx(num_left * a_run)


def test_each_arm_is_summed_up_with_its_failures() -> None:
    study = study_with(starts=(ZEROS, SMALL), lrs=(0.1, 10.0), extend=0, policy="grid", looks=(7,))
    _, records = finished(study)
    arms = {(arm.start.name, arm.lr): arm for arm in arms_of(study, records)}
    assert (arms["zeros", 0.1].num_unmoved, arms["zeros", 0.1].num_diverged) == (7, 0)
    assert (arms["he_normal", 10.0].num_diverged, arms["he_normal", 10.0].mean) == (7, 0.0)
    assert arms["he_normal", 0.1].mean == pytest.approx(0.9, abs=0.03)
    assert {arm.n for arm in arms.values()} == {7}
