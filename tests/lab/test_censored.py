"""Steps to target: never reached is later than any, and never dropped."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from exnihilo.errors import InvalidValueError
from exnihilo.lab.censored import compare_steps, median_steps, restricted_mean

steps = st.lists(st.one_of(st.integers(0, 100).map(float), st.just(math.inf)), min_size=1, max_size=12)


@given(steps)
def test_median_equals_the_kaplan_meier_median_of_scipy(values):
    times = [min(value, 100.5) for value in values]
    is_censored = [math.isinf(value) for value in values]
    if all(is_censored):
        assert median_steps(values) is None
        return
    data = stats.CensoredData.right_censored(times, is_censored)
    survival = stats.ecdf(data).sf
    reached = [t for t, s in zip(survival.quantiles, survival.probabilities, strict=True) if s <= 0.5 + 1e-12]
    expected = min((t for t in reached if t <= 100.0), default=None)
    assert median_steps(values) == expected


@given(steps)
def test_restricted_mean_equals_the_area_under_the_survival_curve(values):
    area = sum(sum(value > t for value in values) / len(values) for t in range(100))
    assert restricted_mean(values, 100) == pytest.approx(area)


def test_never_reached_loses_to_the_last_step_and_ties_with_itself():
    found = compare_steps([100, math.inf, math.inf, 50], [math.inf, 100, math.inf, 50], horizon=100)
    assert (found.sooner, found.tied, found.later) == (1, 2, 1)
    assert found.reached == (2, 2)


def test_a_diverged_run_counts_as_never_reached():
    assert compare_steps([math.nan], [10], horizon=100) == compare_steps([math.inf], [10], horizon=100)


def test_two_starts_that_never_get_there_are_not_told_apart():
    found = compare_steps([math.inf] * 8, [math.inf] * 8, horizon=200)
    assert found.p_value == 1.0
    assert found.medians == (None, None)
    assert found.difference == 0.0
    assert found.restricted_means == (200.0, 200.0)
    assert found.superiority[0] == 0.5


def test_order_decides_where_times_are_censored_and_the_restricted_mean_cannot():
    # All of the baseline is censored and the start gets there at the very last step: 8 wins, no difference in means.
    found = compare_steps([100.0] * 8, [math.inf] * 8, horizon=100)
    assert found.p_value == 2.0**-7
    assert found.difference == 0.0


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=10))
def test_p_value_is_that_of_the_exact_sign_test(pairs):
    starts, baselines = zip(*pairs, strict=True)
    sooner, later = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
    expected = stats.binomtest(sooner, sooner + later, 0.5).pvalue if sooner + later else 1.0
    assert compare_steps(starts, baselines, horizon=9).p_value == pytest.approx(expected, abs=1e-12)


def test_bad_input_is_named():
    with pytest.raises(InvalidValueError, match="2 runs of the start and 1 of the baseline"):
        compare_steps([1, 2], [1], horizon=5)
    with pytest.raises(InvalidValueError, match="horizon is 0"):
        compare_steps([1], [1], horizon=0)
    with pytest.raises(InvalidValueError, match="at step 7, outside its 5 steps"):
        compare_steps([7], [1], horizon=5)
