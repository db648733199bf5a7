"""Verdicts on families: the rule, failures, looks, and what tuned rates need."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exnihilo.errors import InvalidValueError
from exnihilo.lab.outcomes import PairedOutcomes, compare_failures, pair_records
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord, Start
from exnihilo.lab.statistics import sign_flip_interval
from exnihilo.lab.verdict import compare

nan = math.nan


def pair(differences, around=0.5):
    return PairedOutcomes.of([around + d for d in differences], [around] * len(differences))


def verdict_on(differences, **options):
    [verdict] = compare({"a vs b": pair(differences)}, **({"margin": 0.01} | options))
    return verdict


ABOVE = (0.10, 0.12, 0.09, 0.11, 0.13, 0.08, 0.10, 0.12)
WITHIN = (0.001, -0.002, 0.0, 0.001, -0.001, 0.002, -0.001, 0.0)
WIDE = (0.1, -0.09, 0.05, -0.04, 0.12, -0.11, 0.02, -0.06)


@pytest.mark.parametrize(
    ("differences", "outcome"),
    [(ABOVE, "better"), ([-d for d in ABOVE], "worse"), (WITHIN, "equivalent"), (WIDE, "undecided")],
)
def test_the_interval_decides_among_the_four_outcomes(differences, outcome):
    verdict = verdict_on(differences)
    assert verdict.outcome == outcome
    assert verdict.estimate == pytest.approx(np.mean(differences))
    assert verdict.interval == pytest.approx(sign_flip_interval(differences, 0.05), abs=1e-9)
    assert verdict.level == pytest.approx(0.95)
    assert verdict.n == 8


def test_a_difference_that_is_sure_but_inside_the_margin_is_equivalent():
    verdict = verdict_on([0.004, 0.005, 0.006, 0.005, 0.004, 0.006, 0.005, 0.005])
    assert verdict.outcome == "equivalent"
    assert verdict.interval[0] > 0.0
    assert verdict_on([0.004, 0.005, 0.006, 0.005, 0.004, 0.006, 0.005, 0.005], margin=0.001).outcome == "better"


def test_without_a_margin_nothing_is_equivalent():
    assert verdict_on([0.0] * 8, margin=0.0).outcome == "undecided"
    assert verdict_on([0.0] * 8, margin=0.0).more_seeds is None
    assert "equivalent" not in verdict_on(WITHIN, margin=0.0).rule


def test_differences_of_exactly_the_margin_are_not_equivalent():
    assert verdict_on([0.01] * 10, margin=0.01).outcome == "better"
    assert verdict_on([-0.01] * 10, margin=0.01).outcome == "worse"


def test_identical_runs_are_equivalent_once_there_are_enough_of_them():
    assert verdict_on([0.0] * 6).outcome == "equivalent"
    few = verdict_on([0.0] * 5)
    assert (few.outcome, few.interval, few.more_seeds) == ("undecided", (-math.inf, math.inf), 1)


def test_a_loss_is_better_where_it_is_lower():
    verdict = verdict_on(ABOVE, higher_is_better=False)
    assert verdict.outcome == "worse"
    assert verdict.estimate < 0.0


@given(st.lists(st.integers(-30, 30), min_size=6, max_size=9), st.sampled_from([0.005, 0.05, 0.2]))
def test_turning_the_metric_around_turns_the_verdict_around(counts, margin):
    differences = [k / 100 for k in counts]
    one, other = verdict_on(differences, margin=margin), verdict_on(differences, margin=margin, higher_is_better=False)
    mirror = {"better": "worse", "worse": "better"}
    assert other.outcome == mirror.get(one.outcome, one.outcome)
    assert other.interval == pytest.approx((-one.interval[1], -one.interval[0]))
    assert other.p_value == one.p_value


@given(st.lists(st.integers(-30, 30), min_size=6, max_size=9), st.sampled_from([0.02, 0.05, 0.2]))
def test_every_verdict_can_be_read_off_its_own_interval(counts, margin):
    verdict = verdict_on([k / 100 for k in counts], margin=margin)
    low, high = verdict.interval
    edge = margin * (1 - 1e-9)  # an end at the margin but for rounding is at the margin
    is_inside, excludes_zero = -edge < low and high < edge, low > 0.0 or high < 0.0
    expected = "equivalent" if is_inside else "undecided" if not excludes_zero else "better" if low > 0.0 else "worse"
    assert verdict.outcome == expected


def test_a_run_that_diverged_counts_as_the_declared_worst_and_is_reported():
    scores = (0.97, 0.96, nan, 0.98, 0.97, 0.96, 0.97, 0.98)
    [verdict] = compare({"hot vs he": PairedOutcomes.of(scores, (0.97,) * 8)}, margin=0.01, worst=0.0)
    assert verdict.n == 8
    assert verdict.failures == (1, 0)
    assert verdict.estimate == pytest.approx((-0.01 - 0.97 + 0.01 - 0.01 + 0.01) / 8)
    assert "counts as 0" in verdict.rule


def test_without_a_worst_value_a_failed_run_is_an_error_and_not_dropped():
    with pytest.raises(InvalidValueError) as caught:
        compare({"hot vs he": PairedOutcomes.of((0.9, nan), (0.9, 0.9))}, margin=0.01)
    assert "'hot vs he': the metric of seed number 1 is nan" in str(caught.value)
    assert "1 of 2 runs" in str(caught.value)


@pytest.mark.parametrize(("worst", "higher"), [(0.0, True), (10.0, False)])
def test_no_run_counts_as_worse_than_one_that_failed(worst, higher):
    awful = worst - 1e9 if higher else worst + 1e9
    failed, finite = PairedOutcomes.of((nan,) * 6, (0.9,) * 6), PairedOutcomes.of((awful,) * 6, (0.9,) * 6)
    options = {"margin": 0.01, "worst": worst, "higher_is_better": higher}
    [one], [other] = compare({"x": failed}, **options), compare({"x": finite}, **options)
    assert one.estimate == other.estimate
    assert one.outcome == other.outcome == "worse"


def test_two_sides_that_always_fail_are_equivalent_and_both_reported():
    [verdict] = compare({"x": PairedOutcomes.of((nan,) * 6, (nan,) * 6)}, margin=0.01, worst=0.0)
    assert verdict.outcome == "equivalent"
    assert verdict.failures == (6, 6)


def test_holm_gives_each_comparison_its_level_and_the_family_its_p_values():
    rng = np.random.default_rng(5)
    pairs = {f"start {i}": pair(0.2 * i + rng.normal(0, 0.1, 10)) for i in range(4)}
    verdicts = compare(pairs, margin=0.01)
    strong = [verdict for verdict in verdicts if verdict.outcome == "better"]
    assert [verdict.comparison for verdict in verdicts] == list(pairs)
    assert len(strong) == 3
    assert sorted(1 - verdict.level for verdict in strong) == pytest.approx([0.05 / 4, 0.05 / 3, 0.05 / 2])
    assert all(verdict.p_adjusted >= verdict.p_value for verdict in verdicts)


def test_seven_comparisons_need_nine_seeds():
    assert all(v.outcome == "undecided" for v in compare({f"{i}": pair([0.1] * 8) for i in range(7)}, margin=0.01))
    assert all(v.outcome == "better" for v in compare({f"{i}": pair([0.1] * 9) for i in range(7)}, margin=0.01))


def test_clear_differences_do_not_free_alpha_for_equivalence():
    # 27 effects far outside the margin are rejected as differences. Were Holm's divisor shared by both kinds, the last
    # comparison would be called equivalent at all of alpha; it needs its own family's first step instead.
    near = 0.011 * np.array([-1.0, -1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, 0.5, -0.5, 0.4, -0.4])
    alone = compare({"last": pair(near)}, margin=0.01)
    family = compare({f"{i}": pair([0.5 + i / 100] * 12) for i in range(27)} | {"last": pair(near)}, margin=0.01)
    assert alone[0].outcome == "equivalent"
    assert family[-1].outcome == "undecided"
    assert family[-1].level == pytest.approx(1 - 0.05 / 28)
    assert [verdict.outcome for verdict in family[:-1]] == ["better"] * 27


def test_scores_that_differ_by_rounding_tie():
    pairs = PairedOutcomes.of([0.1 + 0.2] * 6, [0.3] * 6)
    [verdict] = compare({"x": pairs}, margin=0.01)
    assert verdict.estimate == 0.0
    assert verdict.p_value == 1.0
    assert verdict.superiority[0] == 0.5


def test_more_seeds_shrink_as_the_effect_grows():
    noise = np.random.default_rng(3).normal(0, 0.1, 10)
    noise -= noise.mean()
    small, large = verdict_on(0.02 + noise, margin=1e-6), verdict_on(0.05 + noise, margin=1e-6)
    assert small.outcome == large.outcome == "undecided"
    assert small.more_seeds > large.more_seeds >= 1
    assert verdict_on(ABOVE).more_seeds is None


# Looks


def test_a_verdict_is_final_at_the_look_that_decided_it():
    turned = (*ABOVE, *(-5.0,) * 8)
    verdict = verdict_on(turned, looks=(8, 16))
    assert (verdict.outcome, verdict.n) == ("better", 8)
    assert verdict.level == pytest.approx(0.975)
    assert "look 1 of 2 spends 0.025" in verdict.rule


def test_an_undecided_comparison_goes_on_to_the_looks_that_its_seeds_reach():
    assert verdict_on(WIDE * 2, looks=(8, 16)).n == 16
    assert verdict_on((*WIDE, 0.1, 0.1), looks=(8, 16)).n == 8
    assert verdict_on((*WIDE, 0.1, 0.1), looks=(8,)).n == 8


def test_adjusted_p_values_carry_the_share_of_their_look():
    verdict = verdict_on([0.1] * 8, looks=(8, 16))
    assert verdict.p_adjusted == pytest.approx(2 * verdict.p_value)


def test_later_looks_wait_until_every_open_comparison_has_its_seeds():
    pairs = {"long": pair(WIDE * 2), "short": pair(WIDE)}
    assert [verdict.n for verdict in compare(pairs, margin=0.001, looks=(8, 16))] == [8, 8]
    pairs["short"] = pair([0.5] * 8)
    assert [verdict.n for verdict in compare(pairs, margin=0.001, looks=(8, 16))] == [16, 8]


def test_a_settled_comparison_leaves_its_share_to_those_of_its_own_kind_only():
    twice = (*WIDE, *[0.3] * 8)
    after_better = compare({"a": pair([0.5] * 8), "b": pair(twice)}, margin=0.001, looks=(8, 16))[1]
    after_equivalent = compare({"a": pair([0.0] * 8), "b": pair(twice)}, margin=0.001, looks=(8, 16))[1]
    assert after_better.outcome == after_equivalent.outcome == "better"
    # Divisor 1 after a rejected difference, 2 after a rejected non-equivalence: its difference may still be null.
    assert after_better.p_adjusted == pytest.approx(2 * after_better.p_value)
    assert after_equivalent.p_adjusted == pytest.approx(4 * after_equivalent.p_value)


def test_fewer_seeds_than_the_first_look_is_an_error():
    with pytest.raises(InvalidValueError, match="'a vs b' has 8 seeds; the first declared look needs 10"):
        verdict_on(ABOVE, looks=(10, 20))


# Neighboring learning rates


def test_a_start_must_beat_every_rate_of_the_baseline():
    base = pair(ABOVE)
    lucky = replace(base, baseline_near=(tuple(0.5 + d for d in ABOVE),))
    beaten = replace(base, baseline_near=((0.2,) * 8,))
    assert compare({"x": lucky}, margin=0.01)[0].outcome == "undecided"
    assert compare({"x": beaten}, margin=0.01)[0].outcome == "better"
    assert compare({"x": lucky}, margin=0.01)[0].estimate == compare({"x": base}, margin=0.01)[0].estimate


def test_a_baseline_must_beat_every_rate_of_the_start_for_the_start_to_be_worse():
    base = pair([-d for d in ABOVE])
    assert compare({"x": base}, margin=0.01)[0].outcome == "worse"
    rescued = replace(base, start_near=((0.5,) * 8,))
    assert compare({"x": rescued}, margin=0.01)[0].outcome == "undecided"


def test_equivalence_holds_only_if_no_neighbor_leaves_the_margin():
    base = pair(WITHIN)
    assert compare({"x": replace(base, start_near=((0.4,) * 8,))}, margin=0.01)[0].outcome == "equivalent"
    assert compare({"x": replace(base, start_near=((0.6,) * 8,))}, margin=0.01)[0].outcome == "undecided"
    assert compare({"x": replace(base, baseline_near=((0.6,) * 8,))}, margin=0.01)[0].outcome == "undecided"


def test_a_neighbor_that_diverged_counts_as_worst():
    base = replace(pair(ABOVE), baseline_near=((nan,) * 8,))
    [verdict] = compare({"x": base}, margin=0.01, worst=0.0)
    assert verdict.outcome == "better"
    assert "its neighbors (up to 2 rates a side)" in verdict.rule


def test_the_interval_runs_between_the_least_favorable_neighbors():
    base = pair(ABOVE)
    rescued, beaten = tuple(0.5 + d for d in WIDE), tuple(0.55 + d for d in WIDE)
    [verdict] = compare({"x": replace(base, baseline_near=(beaten,), start_near=(rescued,))}, margin=0.01)
    low = sign_flip_interval(np.array(base.start) - np.array(beaten), 0.05)[0]
    high = max(sign_flip_interval(values, 0.05)[1] for values in (ABOVE, WIDE))
    assert verdict.interval == pytest.approx((low, high), abs=1e-9)


@given(st.lists(st.integers(-30, 30), min_size=6, max_size=8), st.data())
def test_neighbors_can_only_widen_the_interval(counts, data):
    base = pair([k / 100 for k in counts])
    near = tuple(data.draw(st.tuples(*[st.integers(20, 80).map(lambda k: k / 100)] * len(counts))) for _ in range(2))
    plain = compare({"x": base}, margin=0.05)[0]
    wide = compare({"x": replace(base, start_near=near[:1], baseline_near=near[1:])}, margin=0.05)[0]
    assert wide.interval[0] <= plain.interval[0] + 1e-9
    assert wide.interval[1] >= plain.interval[1] - 1e-9
    assert wide.p_value >= plain.p_value


# Records and failures


def record(seed, score, *, diverged=False, moved=True):
    run = Run(
        task="digits",
        network=Network(),
        start=Start(name="he_normal"),
        optimizer=Optimizer(),
        lr=0.1,
        seed=seed,
        steps=10,
        batch_size=8,
    )
    empty = dict.fromkeys(RunRecord.__slots__, ())
    return RunRecord(**(empty | {"run": run, "test_score": score, "diverged": diverged, "moved": moved}))


def test_records_are_paired_by_seed_and_seeds_of_one_side_are_left_out():
    start = [record(3, 0.3), record(1, 0.1)]
    baseline = [record(1, 0.5), record(2, 0.6), record(3, 0.7)]
    found = pair_records(start, baseline)
    assert found.start == (0.1, 0.3)
    assert found.baseline == (0.5, 0.7)


def test_diverged_and_unmoved_runs_are_failures_and_only_the_diverged_lose_their_score():
    start = [record(0, 0.4, diverged=True), record(1, 0.1, moved=False)]
    found = pair_records(start, [record(0, 0.9), record(1, 0.9)], start_near=[[record(0, 0.2), record(1, 0.3)]])
    assert math.isnan(found.start[0])
    assert found.start[1] == 0.1
    assert found.start_failed == (True, True)
    assert found.baseline_failed == (False, False)
    assert found.start_near == ((0.2, 0.3),)


def test_failures_are_compared_by_mcnemar_with_holm_over_the_family():
    pairs = {
        "hot": PairedOutcomes.of((nan,) * 8, (0.9,) * 8),
        "same": PairedOutcomes.of((nan,) * 8, (nan,) * 8),
    }
    hot, same = compare_failures(pairs)
    assert (hot.failures, hot.discordant, hot.p_value) == ((8, 0), (8, 0), 2.0**-7)
    assert hot.p_adjusted == 2.0**-6
    assert (same.failures, same.p_value) == ((8, 8), 1.0)
    assert hot.start_rate[1] == 1.0
    assert hot.baseline_rate[0] == 0.0


def test_failures_at_a_later_look_count_by_its_share_of_alpha():
    # Looks at 4 and 8 spend half of alpha each: both p-values count twice, and Holm doubles the smaller one again.
    pairs = {
        "late": PairedOutcomes.of((nan,) * 8, (0.9,) * 8),
        "early": PairedOutcomes.of((nan,) * 4, (0.9,) * 4),
    }
    late, early = compare_failures(pairs, looks=(4, 8))
    assert (late.p_value, early.p_value) == (2.0**-7, 2.0**-3)
    assert (late.p_adjusted, early.p_adjusted) == (2 * 2 * 2.0**-7, 2 * 2.0**-3)


def test_bad_families_are_named():
    with pytest.raises(InvalidValueError, match="The family has no comparison"):
        compare({}, margin=0.01)
    with pytest.raises(InvalidValueError, match=r"margin is -0\.1"):
        compare({"x": pair(ABOVE)}, margin=-0.1)
    with pytest.raises(InvalidValueError, match="2 start and 1 baseline values"):
        PairedOutcomes.of((0.1, 0.2), (0.1,))


def test_the_rule_names_the_numbers_that_were_used():
    verdicts = compare({"a": pair(ABOVE), "b": pair(WIDE)}, margin=0.01, alpha=0.1, looks=(8, 16), worst=0.0)
    assert verdicts[1].rule == (
        "Paired sign-flip test (exact, n = 8), Holm over 2 comparisons, alpha = 0.1, of which look 1 of 2 spends 0.05: "
        "equivalent if the 97.5 % interval lies inside ±0.01; else better or worse if the 95 % interval excludes 0; "
        "else undecided. A run without a finite result counts as 0, and nothing counts as worse."
    )
