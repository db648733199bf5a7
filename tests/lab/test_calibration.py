"""The whole procedure, tuning, looks and Holm included, on studies whose truth is known: as rarely wrong as it says?

Each test fails where the errors are significantly more than alpha, by an exact binomial test at 1 in 1,000.
"""

import math

import numpy as np
import pytest
from scipy import stats

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab import verdict
from exnihilo.lab.calibration import NOISES, Design, Tally, simulate, tally

EQUAL = (0.0, 0.0, 0.0, 0.0)
AT_MARGIN = (2.0, -2.0, 2.0, -2.0)
MIXED = (0.0, 2.0, 0.0, -2.0)


def is_above_alpha(false: int, found: Tally, alpha: float = 0.05) -> bool:
    return stats.binomtest(false, found.num_studies, alpha, alternative="greater").pvalue < 1e-3


@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_equal_starts_are_told_apart_no_more_often_than_declared(curvature):
    found = tally(Design(effects=EQUAL, curvature=curvature), range(60))
    assert not is_above_alpha(found.false_differences, found)


def test_effects_of_the_margin_are_called_equivalent_no_more_often_than_declared():
    found = tally(Design(effects=AT_MARGIN, margin=2.0), range(60))
    assert not is_above_alpha(found.false_equivalences, found)


def test_judging_at_the_chosen_rates_alone_would_be_wrong_too_often():
    # The reason for the neighboring rates, and proof that this file can see an error rate that is too high.
    found = tally(Design(effects=EQUAL, curvature=1.0, neighbors=False), range(60))
    assert is_above_alpha(found.false_differences, found)


def test_judging_without_holm_would_be_wrong_too_often(monkeypatch):
    monkeypatch.setattr(verdict, "holm_levels", lambda p_values, alpha: (alpha,) * len(p_values))
    design = Design(effects=(0.0,) * 8, curvature=0.0, num_rates=1, looks=(10,), neighbors=False)
    found = tally(design, range(200))
    assert is_above_alpha(found.false_differences, found)


def test_spending_all_of_alpha_at_each_look_would_be_wrong_too_often(monkeypatch):
    monkeypatch.setattr(verdict, "alpha_spent", lambda looks, alpha: (alpha,) * len(looks))
    design = Design(effects=(0.0,), curvature=0.0, num_rates=1, looks=(6, 9, 12), neighbors=False, margin=1e-6)
    found = tally(design, range(600))
    assert is_above_alpha(found.false_differences, found)


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [0.0, 0.5, 1.0])
def test_two_thousand_null_studies_hold_alpha_with_tuning_and_looks(curvature):
    found = tally(Design(effects=EQUAL, curvature=curvature), range(2000))
    assert not is_above_alpha(found.false_differences, found)


@pytest.mark.slow
@pytest.mark.parametrize("curvature", [0.0, 1.0])
def test_two_thousand_studies_at_the_margin_hold_alpha(curvature):
    found = tally(Design(effects=AT_MARGIN, margin=2.0, curvature=curvature), range(2000))
    assert not is_above_alpha(found.false_equivalences, found)


@pytest.mark.slow
def test_two_thousand_mixed_families_hold_alpha_for_all_false_verdicts_together():
    found = tally(Design(effects=MIXED, margin=2.0), range(2000))
    assert not is_above_alpha(found.any_false, found)


@pytest.mark.slow
def test_two_thousand_single_comparisons_without_tuning_come_close_to_alpha():
    # Not only safe but sharp: without rates to choose, one look of ten seeds errs as often as its test allows.
    design = Design(effects=(0.0,), curvature=0.0, num_rates=1, looks=(10,), neighbors=False, margin=0.01)
    found = tally(design, range(2000))
    assert not is_above_alpha(found.false_differences, found)
    assert found.false_differences / found.num_studies > 0.03


@pytest.mark.parametrize("name", NOISES)
def test_every_noise_has_mean_zero_and_unit_variance(name):
    draws = NOISES[name](np.random.default_rng(0), (200_000,))
    assert abs(draws.mean()) < 0.015
    assert draws.std() == pytest.approx(1.0, abs=0.1)


def test_a_simulated_study_depends_on_its_number_alone():
    design = Design(effects=(1.0, 0.0))
    assert [simulate(design, study) for study in (3, 4)] == [simulate(design, study) for study in (4, 3)][::-1]
    assert len({simulate(design, study) for study in range(20)}) > 1


def test_power_grows_with_the_effect():
    shares = [
        tally(Design(effects=(effect,), num_rates=1, neighbors=False), range(60)).outcomes["better"]
        for effect in (0.5, 1.0, 2.0)
    ]
    assert shares[0] < shares[1] < shares[2] == 1.0


def test_bad_designs_are_named():
    with pytest.raises(UnknownNameError, match=r"Unknown noise 'norml'\. Did you mean 'normal'"):
        Design(noise="norml")
    with pytest.raises(InvalidValueError, match=r"6 rates and correlation 0\.5"):
        Design(num_rates=6)


def test_the_tally_counts_what_happened():
    found = tally(Design(effects=(9.0,), curvature=3.0), range(5))
    assert found.outcomes == {"better": 1.0, "worse": 0.0, "equivalent": 0.0, "undecided": 0.0}
    assert (found.any_false, found.num_studies) == (0, 5)
    assert math.isclose(found.seeds, 8.0)
