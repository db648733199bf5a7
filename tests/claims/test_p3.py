"""The verdict on P3 follows how much slower the deepest linear networks are."""

import math
from dataclasses import replace

import pytest
from worlds import SMALL, found_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.arms import arms
from exnihilo.claims.published.orthogonal_linear import CLAIM, DEPTHS, ORTHOGONAL, RATES, STUDY, TARGET
from exnihilo.lab.recording import evenly

STEPS, BEST = 200, 0.04


def world_of(orthogonal, gaussian, *, seeds=lambda seed: 1.0):
    """Runs that reach the target after so many steps at one rate, by depth; at a lower one later, and lower still."""

    def world(run):
        law = orthogonal if run.start == ORTHOGONAL else gaussian
        slower = {BEST: 1.0, min(RATES): 3.0}.get(run.lr, math.inf)
        reached, least = law(run.network.depth) * seeds(run.seed) * slower, TARGET if slower == 1.0 else 0.01
        steps = evenly(run.steps, run.evaluations)
        return {"train_loss": tuple(least if step >= reached else 2.3 for step in steps)}

    return world


@pytest.fixture(scope="module")
def preset():
    return replace(SMALL, steps=STEPS, looks=(3,))


def answer(preset, *args, **kwargs):
    return CLAIM.answer(found_in(CLAIM, world_of(*args, **kwargs), preset=preset))


def says(found):
    return {cell.where: cell.supports for cell in found.evidence.cells}


def test_times_that_stay_from_orthogonal_and_grow_from_gaussian_support_the_claim(preset) -> None:
    found = answer(preset, lambda depth: 20, lambda depth: 5 * depth)
    assert found.verdict == "supported"
    assert "orthogonal 20, 20, 20, 20; lecun_normal 20, 40, 80, 160." in found.finding
    assert all(row[2] == BEST for row in found.evidence.tables[0].rows)


def test_the_other_way_around_refutes_it(preset) -> None:
    assert answer(preset, lambda depth: 5 * depth, lambda depth: 20).verdict == "refuted"


def test_starts_alike_make_it_depend(preset) -> None:
    found = answer(preset, lambda depth: 20, lambda depth: 20)
    assert found.verdict == "depends"
    assert found.factor == "which of these is asked: orthogonal supports the claim; lecun_normal refutes it"


def test_half_of_the_claim_does_not_support_it(preset) -> None:
    found = answer(preset, lambda depth: 20 if depth < DEPTHS[-1] else 999, lambda depth: 5 * depth)
    assert says(found)["lecun_normal"] is True and found.verdict != "supported"
    late = answer(preset, lambda depth: 999, lambda depth: 5 * depth)
    assert says(late) == {"orthogonal": None, "lecun_normal": True} and late.verdict == "undecided"


def test_exactly_twice_is_not_slower(preset) -> None:
    found = answer(preset, lambda depth: 40 if depth == DEPTHS[-1] else 20, lambda depth: 5 * depth)
    assert says(found)["orthogonal"] is True


def test_seeds_that_differ_leave_it_open(preset) -> None:
    found = answer(preset, lambda depth: depth, lambda depth: depth, seeds=lambda seed: 5.0 if seed == 1 else 1.0)
    assert says(found)["orthogonal"] is False  # a factor of a seed is in both of its times
    late = answer(
        preset, lambda depth: 5 * depth, lambda depth: 5 * depth, seeds=lambda seed: 100.0 if seed == 1 else 1.0
    )
    assert set(says(late).values()) == {None} and late.verdict == "undecided"
    assert "take 0 or more times" in late.evidence.cells[0].finding


def test_of_twelve_seeds_two_on_each_side_may_differ(preset) -> None:
    def told(late):
        def world(run):
            slow = run.network.depth == DEPTHS[-1] and run.seed < late
            return world_of(lambda depth: 100 if slow else 20, lambda depth: 5 * depth)(run)

        found = CLAIM.answer(found_in(CLAIM, world, preset=replace(preset, looks=(12,))))
        return says(found)["orthogonal"]

    assert [told(late) for late in (0, 2, 3, 9, 10)] == [True, True, None, None, False]


def test_runs_that_never_get_there_bound_the_ratio(preset) -> None:
    found = answer(preset, lambda depth: 20 if depth < DEPTHS[-1] else 999, lambda depth: 150 if depth == 4 else 999)
    assert says(found) == {"orthogonal": False, "lecun_normal": None}
    assert "take 1.3 or more times" in found.evidence.cells[1].finding
    assert "lecun_normal 152, more than 200" in found.finding  # 150, looked at every four steps


def test_runs_that_are_there_at_once_are_as_fast_as_each_other(preset) -> None:
    found = answer(preset, lambda depth: 0, lambda depth: 0)
    assert says(found) == {"orthogonal": True, "lecun_normal": False}


def test_the_rate_of_each_is_the_fastest_one(preset) -> None:
    found = found_in(CLAIM, world_of(lambda depth: 20, lambda depth: 20), preset=preset)
    assert {arm.lr for arm in arms(found, STUDY, metric="steps_to_train_loss", target=TARGET)} == {BEST}


@pytest.mark.parametrize("name", ["quick", "full"])
def test_every_depth_and_rate_is_asked(name) -> None:
    [study] = CLAIM.studies(preset_named(name), 3)
    assert study.seed == 3 and study.lrs == RATES
    assert [place.network.depth for place in study.places] == list(DEPTHS)
    assert study.steps / study.evaluations == 4
