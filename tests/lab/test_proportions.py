"""Counts: rates, paired failures and superiority, against scipy's own tests and exact enumeration."""

import math

import pytest
from scipy import stats

from exnihilo.errors import InvalidValueError
from exnihilo.lab.proportions import clopper_pearson, mcnemar_p, superiority


@pytest.mark.parametrize("trials", [1, 5, 12, 40])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 28])
def test_clopper_pearson_equals_the_exact_interval_of_scipy(trials, alpha):
    for successes in range(trials + 1):
        expected = stats.binomtest(successes, trials).proportion_ci(confidence_level=1 - alpha, method="exact")
        assert clopper_pearson(successes, trials, alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_a_rate_of_no_trials_is_unknown():
    assert clopper_pearson(0, 0) == (0.0, 1.0)


def test_more_successes_than_trials_is_an_error():
    with pytest.raises(InvalidValueError, match="4 successes of 3 trials"):
        clopper_pearson(4, 3)


@pytest.mark.parametrize("only_start", range(7))
@pytest.mark.parametrize("only_baseline", range(7))
def test_mcnemar_equals_the_binomial_test_of_the_discordant_pairs(only_start, only_baseline):
    total = only_start + only_baseline
    expected = stats.binomtest(only_start, total, 0.5).pvalue if total else 1.0
    assert mcnemar_p(only_start, only_baseline) == pytest.approx(expected, abs=1e-12)


def test_mcnemar_refuses_negative_counts():
    with pytest.raises(InvalidValueError, match="-1 and 3; counts cannot be negative"):
        mcnemar_p(-1, 3)


@pytest.mark.parametrize("n", [3, 6, 10])
def test_superiority_covers_at_its_level_whatever_the_rate_of_ties(n):
    # Exact coverage: every outcome of three categories, weighted by its probability; no simulation.
    alpha = 0.1
    outcomes = [(wins, ties, n - wins - ties) for wins in range(n + 1) for ties in range(n + 1 - wins)]
    intervals = {outcome: superiority(*outcome, alpha)[1:] for outcome in outcomes}
    for win in (0.0, 0.05, 0.2, 0.5, 0.7, 0.9):
        for tie in (0.0, 0.1, 0.25, 0.5, 0.8):
            if win + tie > 1.0:
                continue
            truth = win + tie / 2
            law = stats.multinomial(n, [win, tie, max(0.0, 1 - win - tie)])
            covered = sum(
                law.pmf(outcome) for outcome, (low, high) in intervals.items() if low - 1e-9 <= truth <= high + 1e-9
            )
            assert covered >= 1 - alpha - 2e-3, (win, tie)


@pytest.mark.parametrize(("wins", "losses"), [(6, 0), (9, 1), (5, 5), (0, 8)])
def test_superiority_without_ties_holds_the_clopper_pearson_interval_and_little_more(wins, losses):
    estimate, low, high = superiority(wins, 0, losses)
    expected = clopper_pearson(wins, wins + losses)
    assert estimate == wins / (wins + losses)
    assert expected[0] - 0.03 < low < expected[0] + 1e-9
    assert expected[1] - 1e-9 < high < expected[1] + 0.03


def test_superiority_of_nothing_but_ties_is_a_half():
    estimate, low, high = superiority(0, 8, 0)
    assert estimate == 0.5
    assert low < 0.5 < high
    assert low == pytest.approx(1 - high, abs=1e-9)


def test_superiority_of_one_tie_is_bounded_by_the_rate_of_ties_that_makes_it_likeliest():
    # By hand: P(tie or win) = superiority + ties / 2 is at most 2 * superiority, which is alpha / 2 at alpha / 4.
    assert superiority(0, 1, 0, 0.1) == pytest.approx((0.5, 0.025, 0.975), abs=1e-9)


def test_superiority_swaps_with_the_sides():
    one, other = superiority(5, 2, 1), superiority(1, 2, 5)
    assert one == pytest.approx((1 - other[0], 1 - other[2], 1 - other[1]), abs=1e-9)


def test_superiority_is_cached_by_value_and_finite():
    assert all(map(math.isfinite, superiority(40, 0, 0, 0.05 / 190)))


@pytest.mark.parametrize("counts", [(0, 0, 0), (-1, 2, 3)])
def test_superiority_needs_at_least_one_seed(counts):
    with pytest.raises(InvalidValueError, match="at least one seed"):
        superiority(*counts)
