"""The verdict on P2 follows the depths that train."""

import math
from dataclasses import replace

import pytest
from worlds import SMALL, found_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.mean_field import correlation_length
from exnihilo.claims.published.trainable_depth import CLAIM, DEPTHS, RATES, TRAINED, VARIANCES, Reach
from exnihilo.lab.starts import BIAS_VARIANCE


def world_of(reach):
    """Networks that train at the better rate as deep as ``reach`` says of six correlation lengths."""

    def world(run):
        lengths = 6 * correlation_length(run.start.value, BIAS_VARIANCE)
        trains = run.network.depth <= reach(lengths) and run.lr == RATES[0]
        score = TRAINED if trains else TRAINED - 0.01
        return {"train_score": (0.1, 0.1, score), "train_loss": 1.0}

    return world


def answer(reach):
    return CLAIM.answer(found_in(CLAIM, world_of(reach)))


def says(found):
    return [cell.supports for cell in found.evidence.cells]


def test_networks_that_train_to_six_lengths_support_the_claim() -> None:
    found = answer(lambda lengths: lengths)
    assert found.verdict == "supported"
    assert says(found) == [True] * 5
    assert "20 and 22 at σ_w² = 1;" in found.finding and "more than 1200 at σ_w² = 1.76" in found.finding


@pytest.mark.parametrize("factor", [0.2, 3.0])
def test_networks_that_train_far_less_deep_or_deeper_refute_it(factor) -> None:
    found = answer(lambda lengths: factor * lengths)
    assert found.verdict in {"refuted", "depends"}
    critical = VARIANCES.index(1.76)  # of endless lengths, every factor is endless
    assert says(found).pop(critical) is True
    assert False in says(found) and says(found).count(True) == 1


def test_networks_that_train_at_all_depths_leave_open_what_the_grid_hides() -> None:
    # Twice six lengths are 44, 129, 142 and 93: the deepest of the grid is beyond the first and the last.
    assert says(answer(lambda lengths: math.inf)) == [False, None, True, None, False]


def test_networks_that_train_at_no_depth() -> None:
    found = answer(lambda lengths: 0)
    assert says(found) == [False] * 5
    assert "None trains, and 10 does not" in found.evidence.cells[0].finding


@pytest.mark.parametrize(
    ("predicted", "deepest", "following", "agrees"),
    [
        (40.0, 20, 80, True),
        (40.0, 20, 81, None),
        (40.0, 10, 20, False),
        (40.0, 10, 30, None),
        (40.0, 80, 120, None),
        (40.0, 81, 120, False),
        (40.0, 40, math.inf, None),
        (130.0, 60, 120, None),
        (9.0, 10, 20, None),
        (math.inf, 120, math.inf, True),
        (math.inf, 60, 120, False),
        (130.0, 40, 60, False),
    ],
)
def test_a_variance_is_judged_by_the_range_between_two_depths(predicted, deepest, following, agrees) -> None:
    assert Reach(variance=1.0, predicted=predicted, deepest=deepest, following=following, n=1).agrees is agrees


def test_the_picture_shows_every_network_at_its_better_rate() -> None:
    [figure] = answer(lambda lengths: lengths).evidence.figures
    shown = {(row["variance"], row["depth"]): row["accuracy"] for row in figure.rows}
    assert len(shown) == len(VARIANCES) * len(DEPTHS)
    assert shown["1.76", DEPTHS[-1]] == TRAINED and shown["1", DEPTHS[-1]] < TRAINED


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_variance_depth_and_rate_is_asked(name) -> None:
    preset = preset_named(name)
    [study] = CLAIM.studies(preset, 2)
    assert (study.seed, study.lrs, study.looks) == (2, RATES, (preset.deep_seeds,))
    assert [place.network.depth for place in study.places] == list(DEPTHS)
    assert [start.value for start in study.starts] == list(VARIANCES)


def test_one_seed_of_three_decides_nothing() -> None:
    def world(run):
        return world_of(lambda lengths: math.inf if run.seed == 0 else lengths)(run)

    assert CLAIM.answer(found_in(CLAIM, world, preset=replace(SMALL, deep_seeds=3))).verdict == "supported"
