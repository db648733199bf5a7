"""The verdicts on P1, P6, P8 and P9 follow which starts learn, at which rates."""

import math

import pytest
from worlds import SMALL, found_in, verdict_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.prior import prior_entropy
from exnihilo.claims.published import deepnorm, delta_orthogonal, fixup, he_depth
from exnihilo.claims.published.he_depth import HE, STALLED

DEEP = (fixup, delta_orthogonal, deepnorm)
LOST = {"train_loss": math.nan, "validation_loss": math.nan, "test_loss": math.nan, "test_score": 0.0, "diverged": True}


def world_of(module, learns, fails=None):
    """Runs that learn where ``learns`` says so; the others end as ``fails`` says, or know no more than frequencies."""

    def world(run):
        guessing = prior_entropy(module.ASKED.task)
        return {"train_loss": 0.5 * guessing} if learns(run) else fails or {"train_loss": 1.1 * guessing}

    return world


def wanted(module, run):
    return module.ASKED.wanted[run.start]


@pytest.mark.parametrize("module", DEEP, ids=lambda module: module.CLAIM.id)
def test_the_start_that_learns_alone_supports_the_claim(module) -> None:
    assert verdict_in(module.CLAIM, world_of(module, lambda run: wanted(module, run))) == "supported"
    lost = module.CLAIM.answer(found_in(module.CLAIM, world_of(module, lambda run: wanted(module, run), LOST)))
    assert lost.verdict == "supported"
    assert "diverged in all" in lost.finding and "at whatever rate" in lost.finding


@pytest.mark.parametrize("module", DEEP, ids=lambda module: module.CLAIM.id)
def test_the_other_starts_learning_alone_refute_it(module) -> None:
    assert verdict_in(module.CLAIM, world_of(module, lambda run: not wanted(module, run))) == "refuted"


@pytest.mark.parametrize("module", DEEP, ids=lambda module: module.CLAIM.id)
def test_all_starts_learning_make_it_depend(module) -> None:
    assert verdict_in(module.CLAIM, world_of(module, lambda run: True)) == "depends"


@pytest.mark.parametrize("module", DEEP, ids=lambda module: module.CLAIM.id)
def test_half_of_the_claim_does_not_support_it(module) -> None:
    """The start that is to learn does so on one seed only; the others fail as claimed."""
    world = world_of(module, lambda run: wanted(module, run) and run.seed == 0)
    assert verdict_in(module.CLAIM, world) == "undecided"


@pytest.mark.parametrize("module", DEEP, ids=lambda module: module.CLAIM.id)
def test_a_start_that_is_to_fail_must_fail_at_every_rate(module) -> None:
    def world(run):
        best = run.lr == max(module.ASKED.lrs)
        if wanted(module, run):
            return world_of(module, lambda run: True)(run)
        # At the highest rate one seed learns; at the others all are lost, so that the median prefers neither.
        return world_of(module, lambda run: best and run.seed == 0, LOST)(run)

    answer = module.CLAIM.answer(found_in(module.CLAIM, world))
    assert answer.verdict == "undecided"
    assert "diverged in all" not in answer.finding


@pytest.mark.parametrize("module", (*DEEP, he_depth), ids=lambda module: module.CLAIM.id)
@pytest.mark.parametrize("name", ["quick", "full"])
def test_studies_stand_in_every_preset_and_another_seed_asks_for_other_runs(module, name) -> None:
    here, there = (module.CLAIM.studies(preset_named(name), seed) for seed in (0, 3))
    assert not {study.declaration().hash for study in here} & {study.declaration().hash for study in there}


def test_he_alone_supports_p1_and_xavier_as_well_makes_it_depend() -> None:
    def world(he, xavier):
        return lambda run: {"train_score": he if run.start == HE else xavier}

    assert verdict_in(he_depth.CLAIM, world(0.9, STALLED)) == "supported"
    assert verdict_in(he_depth.CLAIM, world(0.9, 0.9)) == "depends"
    assert verdict_in(he_depth.CLAIM, world(0.1, 0.9)) == "refuted"
    assert verdict_in(he_depth.CLAIM, world(0.1, 0.1)) == "depends"


def test_a_xavier_run_that_diverges_does_not_learn_either() -> None:
    def world(run):
        return {"train_score": 0.9} if run.start == HE else {**LOST, "train_score": math.nan}

    assert verdict_in(he_depth.CLAIM, world) == "supported"


def test_the_deep_ones_take_the_seeds_and_steps_of_the_preset() -> None:
    for module in DEEP:
        [study] = module.CLAIM.studies(SMALL, 0)
        assert study.looks == (SMALL.deep_seeds,) and study.steps % SMALL.deep_steps == 0
