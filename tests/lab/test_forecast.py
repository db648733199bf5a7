"""A forecast counts the runs that a study then makes, and never tells too few at most."""

import time
from collections.abc import Sequence

import pytest
from fake_engine import record_of
from test_study import SMALL, XAVIER, ZEROS, finished, study_with

from exnihilo.lab.arms import arms_of
from exnihilo.lab.forecast import forecast, measured_costs
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import Task

STUDIES = [
    study_with(margin=0.2),
    study_with(starts=(XAVIER, ZEROS), margin=0.001),
    study_with(starts=(SMALL, XAVIER)),
    study_with(lrs=(0.1,)),
    study_with(policy="grid", lrs=(0.01, 0.1)),
    study_with(policy="grid", baseline=None),
    study_with(tasks=("digits", "wine"), networks=(Network(depth=1), Network()), optimizers=(Optimizer(name="adam"),)),
]


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_runs_at_least_the_first_look_and_at_most_what_was_told(study: Study) -> None:
    expected = forecast(study)
    rounds, records = finished(study)
    assert expected.num_first <= len(records) <= expected.num_most
    assert expected.num_tuning in (0, rounds[0])
    assert forecast(study, records).num_finished == len(records)


def test_a_study_that_is_decided_at_once_runs_exactly_its_first_look() -> None:
    study = study_with(margin=0.2)
    _, records = finished(study)
    assert forecast(study).num_first == len(records) == 2 * 3 * 2 + 2 * 7


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


def test_what_is_in_the_ledger_costs_nothing() -> None:
    study = study_with(margin=0.2)
    _, records = finished(study)
    costs = measured_costs([study], train=slow_engine)
    assert forecast(study, records, costs=costs).seconds == 0.0


def test_each_arm_is_summed_up_with_its_failures() -> None:
    study = study_with(starts=(ZEROS, SMALL), lrs=(0.1, 10.0), extend=0, policy="grid", looks=(7,))
    _, records = finished(study)
    arms = {(arm.start.name, arm.lr): arm for arm in arms_of(study, records)}
    assert (arms["zeros", 0.1].num_unmoved, arms["zeros", 0.1].num_diverged) == (7, 0)
    assert (arms["he_normal", 10.0].num_diverged, arms["he_normal", 10.0].mean) == (7, 0.0)
    assert arms["he_normal", 0.1].mean == pytest.approx(0.9, abs=0.03)
    assert {arm.n for arm in arms.values()} == {7}
