"""The choice of a learning rate: failures worst, ties to the middle, edges flagged."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exnihilo.errors import InvalidValueError
from exnihilo.lab.tuning import choose_rate, judged_rates

nan = math.nan


def test_the_best_mean_wins_in_the_metrics_direction():
    scores = {0.01: [0.2, 0.4], 0.1: [0.9, 0.3], 1.0: [0.1, 0.2]}
    assert choose_rate(scores) == (0.1, False)
    assert choose_rate(scores, higher_is_better=False) == (1.0, True)


@pytest.mark.parametrize("lost", [nan, math.inf, -math.inf])
def test_a_rate_with_a_failed_run_loses_to_every_rate_without(lost):
    assert choose_rate({0.01: [0.1, 0.1], 0.1: [0.2, 0.2], 1.0: [0.99, lost]})[0] == 0.1
    assert choose_rate({0.01: [9.0, 9.0], 0.1: [8.0, 8.0], 1.0: [0.1, lost]}, higher_is_better=False)[0] == 0.1


def test_where_every_rate_fails_somewhere_the_fewest_failures_win():
    assert choose_rate({0.01: [0.5, nan, 0.5], 0.1: [nan, nan, 0.9], 1.0: [nan, nan, nan]})[0] == 0.01


def test_where_every_run_failed_the_smallest_rate_asks_for_a_longer_grid():
    assert choose_rate({0.1: [nan], 1.0: [nan], 0.01: [math.inf]}) == (0.01, True)


def test_ties_take_the_middle_rate_and_of_two_the_gentler():
    assert choose_rate({0.01: [0.5], 0.1: [0.9], 0.3: [0.9], 1.0: [0.9]})[0] == 0.3
    assert choose_rate({0.01: [0.5], 0.1: [0.9], 0.3: [0.9], 1.0: [0.5]})[0] == 0.1


def test_means_that_differ_by_rounding_tie():
    scores = {0.01: [0.1, 0.2, 0.3], 0.1: [0.3, 0.2, 0.1], 1.0: [0.2, 0.2, 0.2 + 1e-16]}
    assert choose_rate(scores) == (0.1, False)


def test_tiny_losses_that_differ_are_no_ties():
    assert choose_rate({0.1: [1e-10], 0.3: [1e-12], 1.0: [1.0]}, higher_is_better=False) == (0.3, False)


@pytest.mark.parametrize("num_rates", [1, 2, 5])
def test_a_flat_grid_has_no_edge(num_rates):
    scores = {10.0**-power: [0.078, 0.081] for power in range(num_rates)}
    rate, at_edge = choose_rate(scores)
    assert not at_edge
    assert rate == sorted(scores)[(num_rates - 1) // 2]


@given(st.lists(st.floats(0.0, 1.0), min_size=3, max_size=7, unique=True), st.randoms(use_true_random=False))
def test_the_order_of_the_grid_does_not_matter(means, random):
    scores = {10.0**power: [mean, mean] for power, mean in enumerate(means)}
    shuffled = dict(random.sample(list(scores.items()), len(scores)))
    assert choose_rate(shuffled) == choose_rate(scores)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({}, "No learning rate has a score"),
        ({-0.1: [0.5]}, "Learning rate -0.1 is not positive and finite"),
        ({0.1: [0.5], 1.0: [0.5, 0.6]}, "budgets must be equal"),
        ({0.1: []}, "different numbers of tuning seeds, or none"),
    ],
)
def test_bad_scores_are_refused(scores, message):
    with pytest.raises(InvalidValueError, match=message):
        choose_rate(scores)


def test_the_neighbors_on_the_grid_are_judged_too():
    assert judged_rates(0.1, (1.0, 0.1, 0.01)) == (0.01, 0.1, 1.0)
    assert judged_rates(0.01, (1.0, 0.1, 0.01)) == (0.01, 0.1)
    assert judged_rates(0.1, (0.1,)) == (0.1,)


def test_a_rate_beside_the_grid_has_no_neighbors():
    with pytest.raises(InvalidValueError, match=r"Rate 0\.2 is not on the grid"):
        judged_rates(0.2, (0.1, 1.0))
