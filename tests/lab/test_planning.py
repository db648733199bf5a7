"""Planning before compute: what a number of seeds can decide."""

import math

import numpy as np
import pytest
from scipy import stats

from exnihilo.errors import InvalidValueError
from exnihilo.lab.planning import alpha_spent, can_decide, seeds_needed_for_family, seeds_to_see, smallest_p
from exnihilo.lab.statistics import sign_flip_p


@pytest.mark.parametrize("n", [1, 2, 6, 13, 20, 24])
def test_smallest_p_is_reached_by_differences_of_one_sign(n):
    found = sign_flip_p(np.arange(1.0, n + 1))
    assert found == smallest_p(n) if n <= 20 else found <= 2 * smallest_p(n)


@pytest.mark.parametrize(("family", "seeds"), [(1, 6), (7, 9), (28, 11), (190, 13)])
def test_seeds_needed_for_a_family_are_the_fewest_whose_best_outcome_passes_bonferroni(family, seeds):
    assert seeds_needed_for_family(family) == seeds
    assert sign_flip_p([1.0] * seeds) * family <= 0.05 < sign_flip_p([1.0] * (seeds - 1)) * family


def test_a_family_beyond_the_splits_is_refused_with_the_largest_that_fits():
    with pytest.raises(InvalidValueError) as caught:
        seeds_needed_for_family(30_000)
    assert "A family of 30000 comparisons at alpha 0.05" in str(caught.value)
    assert "largest family at this alpha: 26214" in str(caught.value)


def test_ten_seeds_cannot_decide_all_pairs_of_eight_starts():
    assert not can_decide(10, 28)
    assert can_decide(11, 28)


def test_looks_that_lie_beyond_the_seeds_decide_nothing():
    assert can_decide(12, 7, looks=(8, 12, 16))
    assert not can_decide(8, 7, looks=(8, 12, 16))
    assert not can_decide(7, 1, looks=(8, 12))


@pytest.mark.parametrize("looks", [(9,), (8, 16), (8, 12, 16), (6, 20, 21)])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_the_looks_together_spend_exactly_alpha(looks, alpha):
    shares = alpha_spent(looks, alpha)
    assert math.fsum(shares) == pytest.approx(alpha, rel=1e-12)
    assert shares[0] == pytest.approx(alpha * looks[0] / looks[-1])
    assert all(share > 0.0 for share in shares)


@pytest.mark.parametrize("looks", [(), (8, 8), (12, 8), (0, 4), (4, 8, 12, 16)])
def test_looks_that_are_no_schedule_are_refused(looks):
    with pytest.raises(InvalidValueError, match="one to 3 increasing numbers of seeds"):
        alpha_spent(looks)


@pytest.mark.parametrize("effect", [0.8, 1.0, 2.0])
def test_seeds_to_see_an_effect_give_about_the_declared_power(effect):
    n = seeds_to_see(effect, 1.0, 0.05)
    rng = np.random.default_rng(n)
    hits = sum(sign_flip_p(row) <= 0.05 for row in effect + rng.normal(size=(300, n)))
    # Power 0.8; the exact test's few levels at small n make it a little more or less.
    assert 0.68 < hits / 300 < 0.97


def test_seeds_to_see_follow_the_power_of_the_t_test():
    n = seeds_to_see(0.3, 1.0, 0.05)
    noncentral = stats.nct.sf(stats.t.isf(0.025, n - 1), n - 1, 0.3 * math.sqrt(n))
    assert noncentral == pytest.approx(0.8, abs=0.01)


def test_without_spread_only_the_smallest_p_value_limits():
    assert seeds_to_see(0.1, 0.0, 0.05) == 6
    assert seeds_to_see(0.1, 0.0, 0.05 / 28) == 11


def test_no_number_of_seeds_sees_no_effect():
    assert seeds_to_see(0.0, 1.0, 0.05) is None
    assert seeds_to_see(-1.0, 1.0, 0.05) is None
    assert seeds_to_see(1e-6, 1.0, 0.05) is None


@pytest.mark.parametrize("call", [lambda: smallest_p(0), lambda: can_decide(8, 0), lambda: seeds_needed_for_family(0)])
def test_nothing_to_plan_is_an_error(call):
    with pytest.raises(InvalidValueError):
        call()
