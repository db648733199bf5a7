"""The sign-flip test and Holm's procedure, against enumeration, scipy, convolution and closed testing."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from exnihilo.errors import InvalidValueError
from exnihilo.lab.statistics import holm, holm_levels, sign_flip, sign_flip_interval, sign_flip_p

small_integers = st.lists(st.integers(-5, 5), min_size=1, max_size=9)
scores = st.lists(st.integers(-1000, 1000).map(lambda k: k / 360), min_size=1, max_size=9)


def p_by_enumeration(differences: list[Fraction], center: Fraction = Fraction(0)) -> Fraction:
    """All sign vectors, in exact arithmetic."""
    moved = [d - center for d in differences]
    observed = abs(sum(moved))
    signs = list(itertools.product((1, -1), repeat=len(moved)))
    return Fraction(sum(abs(sum(s * d for s, d in zip(v, moved, strict=True))) >= observed for v in signs), len(signs))


@given(small_integers)
def test_p_value_equals_the_share_of_sign_vectors_as_extreme(values):
    assert sign_flip_p(values) == float(p_by_enumeration([Fraction(v) for v in values]))


@given(small_integers, st.integers(-8, 8))
def test_p_value_of_any_center_equals_enumeration_of_the_shifted_differences(values, halves):
    expected = p_by_enumeration([Fraction(v) for v in values], Fraction(halves, 2))
    assert sign_flip(values).p_value(halves / 2) == float(expected)


@pytest.mark.parametrize("n", [2, 5, 8, 11])
def test_p_value_equals_the_exact_permutation_test_of_scipy(n):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0.4, 1.0, n), rng.normal(0.0, 1.0, n)
    found = stats.permutation_test(
        (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip_p(a - b) == pytest.approx(found.pvalue, abs=1e-12)


@given(st.lists(st.integers(-20, 20), min_size=1, max_size=9), st.sampled_from([360, 569, 1797, 1e9, 7e-9]))
def test_scores_that_tie_but_for_rounding_count_as_equal(counts, rows):
    # Differences of accuracies carry rounding errors; the p-value must be that of the whole numbers behind them.
    differences = [(300 + k) / rows - 300 / rows for k in counts]
    assert sign_flip_p(differences) == float(p_by_enumeration([Fraction(k) for k in counts]))


@pytest.mark.parametrize("n", [1, 6, 12, 20, 30])
def test_zero_differences_give_p_one(n):
    assert sign_flip_p([0.0] * n) == 1.0


@pytest.mark.parametrize("n", [1, 2, 6, 15])
def test_equal_differences_give_the_smallest_p_value_and_an_interval_of_zero_width(n):
    flip = sign_flip([0.1] * n)
    assert flip.p_value() == 2.0 ** (1 - n)
    assert flip.interval(0.05) == (pytest.approx((0.1, 0.1)) if n >= 6 else (-math.inf, math.inf))


@pytest.mark.parametrize("n", [21, 25])
def test_drawn_splits_agree_with_the_exact_law_of_integer_differences(n):
    counts = np.random.default_rng(n).integers(-9, 13, n)
    # The law of the signed sum, exactly, by convolution: an oracle that enumerates nothing.
    law = np.ones(1)
    for size in np.abs(counts):
        step = np.zeros(2 * size + 1)
        step[0] += 0.5
        step[-1] += 0.5
        law = np.convolve(law, step)
    support = np.arange(len(law)) - len(law) // 2
    expected = law[np.abs(support) >= abs(counts.sum())].sum()
    flip = sign_flip(counts)
    assert not flip.is_exact
    assert flip.num_splits == 2**19
    assert flip.p_value() == pytest.approx(expected, abs=5 * math.sqrt(expected / 2**19))


def test_drawn_splits_are_the_same_in_every_call_and_leave_the_global_generator_alone():
    values = np.linspace(-1.0, 2.0, 23)
    np.random.seed(7)  # noqa: NPY002 - the global state is what is watched
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert sign_flip_p(values) == sign_flip_p(values)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@settings(max_examples=40)
@given(st.lists(st.integers(-5, 5), min_size=1, max_size=6), st.sampled_from([0.01, 0.05, 0.0625, 0.125, 0.3]))
def test_interval_holds_exactly_the_centers_that_enumeration_does_not_reject(values, alpha):
    low, high = sign_flip_interval(values, alpha)
    exact = [Fraction(v) for v in values]
    # p changes only at means of subsets, so these and the gaps between them are all that can differ.
    means = {sum(c, Fraction(0)) / len(c) for k in range(1, len(exact) + 1) for c in itertools.combinations(exact, k)}
    ends = sorted(means)
    probes = [*ends, *((a + b) / 2 for a, b in itertools.pairwise(ends)), ends[0] - 1, ends[-1] + 1]
    rounding = 1e-12
    for probe in probes:
        is_inside = low - rounding <= float(probe) <= high + rounding
        assert is_inside == (p_by_enumeration(exact, probe) > alpha), (probe, low, high)


@given(scores, st.sampled_from([0.01, 0.05, 0.1, 0.25]))
def test_p_value_is_at_most_alpha_exactly_where_the_interval_excludes_zero(values, alpha):
    low, high = sign_flip_interval(values, alpha)
    assert (sign_flip_p(values) <= alpha) == (low > 0.0 or high < 0.0)


@given(scores, st.integers(-50, 50))
def test_shifting_the_differences_shifts_the_interval(values, shift):
    low, high = sign_flip_interval(values, 0.1)
    moved = sign_flip_interval([v + shift for v in values], 0.1)
    assert moved == pytest.approx((low + shift, high + shift), abs=1e-7)


@given(scores, st.sampled_from([1e-6, 0.5, 3.0, 1e6]))
def test_scaling_the_differences_scales_the_interval_and_keeps_p(values, factor):
    low, high = sign_flip_interval(values, 0.1)
    scaled = [v * factor for v in values]
    assert sign_flip_p(scaled) == sign_flip_p(values)
    assert sign_flip_interval(scaled, 0.1) == pytest.approx((low * factor, high * factor), rel=1e-9, abs=1e-9 * factor)


@given(scores)
def test_swapping_the_two_sides_mirrors_everything(values):
    low, high = sign_flip_interval(values, 0.1)
    mirrored = [-v for v in values]
    assert sign_flip_p(mirrored) == sign_flip_p(values)
    assert sign_flip_interval(mirrored, 0.1) == pytest.approx((-high, -low), abs=1e-9)


@given(scores, st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_does_not_matter(values, random):
    shuffled = random.sample(values, len(values))
    assert sign_flip_p(shuffled) == sign_flip_p(values)


@pytest.mark.parametrize(("n", "alpha"), [(1, 0.5), (5, 0.05), (8, 0.05 / 7), (10, 0.05 / 28)])
def test_interval_is_the_whole_line_where_the_seeds_are_too_few(n, alpha):
    assert sign_flip_interval(np.arange(1.0, n + 1), alpha) == (-math.inf, math.inf)


@pytest.mark.parametrize("n", [6, 8, 10, 12])
@pytest.mark.parametrize("law", ["normal", "cauchy", "three values"])
def test_interval_covers_the_center_of_any_symmetric_law_at_least_at_its_level(n, law):
    rng = np.random.default_rng([n, len(law)])
    draws = {
        "normal": rng.normal(size=(2000, n)),
        "cauchy": rng.standard_cauchy(size=(2000, n)),
        "three values": rng.integers(-1, 2, size=(2000, n)).astype(float),
    }[law]
    misses = 0
    for row in draws:
        low, high = sign_flip_interval(0.3 + row, 0.05)
        misses += not low <= 0.3 + 1e-9 or not high >= 0.3 - 1e-9
    assert stats.binomtest(misses, 2000, 0.05, alternative="greater").pvalue > 1e-3


@pytest.mark.parametrize("n", [8, 12])
def test_interval_is_not_wastefully_wide_for_normal_noise(n):
    rng = np.random.default_rng(n)
    rows = rng.normal(size=(400, n))
    widths = [np.diff(sign_flip_interval(row, 0.05))[0] for row in rows]
    t_widths = 2 * stats.t.isf(0.025, n - 1) * rows.std(axis=1, ddof=1) / math.sqrt(n)
    assert np.mean(widths) < 1.1 * np.mean(t_widths)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_difference_that_is_not_finite_is_named_with_its_fix(bad):
    with pytest.raises(InvalidValueError) as caught:
        sign_flip_p([0.1, bad, 0.2])
    assert f"Paired difference 1 is {bad}; 1 of 3 are not finite." in str(caught.value)
    assert "worst" in caught.value.fix


def test_no_difference_is_an_error():
    with pytest.raises(InvalidValueError, match=r"shape \(0,\); one number per seed"):
        sign_flip_p([])


@pytest.mark.parametrize("alpha", [0.0, 1.0, -0.05, math.nan])
def test_an_alpha_outside_its_range_is_an_error(alpha):
    with pytest.raises(InvalidValueError, match="it must be between 0 and 1"):
        sign_flip_interval([1.0, 2.0], alpha)


probabilities = st.lists(st.sampled_from([0.0, 1e-4, 0.001, 0.01, 0.02, 0.03, 0.04, 0.2, 1.0]), min_size=1, max_size=6)


def rejected_by_closed_testing(p_values: list[float], index: int, alpha: float) -> bool:
    """Every intersection that contains the hypothesis is rejected by Bonferroni: the definition that Holm shortens."""
    others = [p for i, p in enumerate(p_values) if i != index]
    return all(
        min([p_values[index], *chosen]) <= alpha / (len(chosen) + 1)
        for size in range(len(others) + 1)
        for chosen in itertools.combinations(others, size)
    )


@given(probabilities)
def test_holm_rejects_what_closed_testing_rejects(p_values):
    alpha = 0.055
    adjusted = holm(p_values)
    for index in range(len(p_values)):
        assert (adjusted[index] <= alpha) == rejected_by_closed_testing(p_values, index, alpha)


@given(probabilities)
def test_holm_keeps_the_order_and_never_lowers_a_p_value(p_values):
    adjusted = holm(p_values)
    assert all(raw <= later <= 1.0 for raw, later in zip(p_values, adjusted, strict=True))
    for (p, a), (q, b) in itertools.product(zip(p_values, adjusted, strict=True), repeat=2):
        assert a <= b or p > q


@given(probabilities, st.sampled_from([0.05, 0.11]))
def test_p_is_at_most_its_level_exactly_where_holm_rejects(p_values, alpha):
    levels = holm_levels(p_values, alpha)
    for p, adjusted, level in zip(p_values, holm(p_values), levels, strict=True):
        assert (p <= level) == (adjusted <= alpha)
        assert alpha / len(p_values) <= level <= alpha


@pytest.mark.parametrize("bad", [[], [1.2], [-0.1], [math.nan]])
def test_holm_refuses_what_is_no_family_of_p_values(bad):
    with pytest.raises(InvalidValueError, match="a family needs at least one, each in"):
        holm(bad)
