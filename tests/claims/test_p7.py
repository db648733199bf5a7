"""The verdict on P7 follows whether He's start fails without a norm, and how far SkipInit gets."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.skipinit import CLAIM, CNN, KINDS, LEARNED, MLP


def world_of(*, bare=0.1, gated=0.0, kinds=KINDS):
    """He's runs without norm end at ``bare``, SkipInit's ``gated`` above batch norm; in the other kinds as claimed."""
    bare_arms, gated_arms = ({getattr(kind, arm)[:2] for kind in KINDS} for arm in ("bare", "gated"))
    kind_of = {arm[0]: kind for kind in KINDS for arm in (kind.batch, kind.gated, kind.bare)}

    def world(run):
        arm, is_meant = (run.network, run.start), kind_of[run.network] in kinds
        score = 0.9 + (run.seed % 5) / 1e4
        if arm in bare_arms:
            return {"train_score": bare if is_meant else 0.1, "test_score": 0.1}
        return {"train_score": 0.95, "test_score": score + (gated if is_meant and arm in gated_arms else 0.0)}

    return world


@pytest.mark.parametrize("gated", [0.0, 0.1])
def test_gates_that_keep_up_where_he_fails_support_the_claim(gated) -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(gated=gated)))
    assert answer.verdict == "supported"
    assert [cell.supports for cell in answer.evidence.cells] == [None, True, True, True]


def test_he_learning_and_gates_behind_refute_it() -> None:
    assert verdict_in(CLAIM, world_of(bare=LEARNED, gated=-0.1)) == "refuted"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_one_kind_of_network_makes_it_depend_on_the_kind(kind) -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(gated=-0.1, kinds=(kind,))))
    assert answer.verdict == "depends"
    assert f"fails at {kind.name}" in answer.factor


def test_he_learning_in_some_runs_leaves_its_cells_open() -> None:
    def world(run):
        is_first = run.seed % 2 == 0
        return world_of(bare=0.9 if is_first else 0.1)(run)

    sides = {cell.where: cell.supports for cell in CLAIM.answer(found_in(CLAIM, world)).evidence.cells}
    assert [sides[f"He fails without norm · {kind.name}"] for kind in KINDS] == [None, None]


def test_where_batch_norm_does_not_learn_nothing_is_said() -> None:
    answer = CLAIM.answer(found_in(CLAIM, lambda run: {"train_score": 0.1, "test_score": 0.1}))
    assert answer.verdict == "undecided"


def test_the_two_comparisons_share_alpha() -> None:
    assert CNN.share + MLP.share == 1


@pytest.mark.parametrize("name", ["quick", "full"])
def test_studies_stand_in_every_preset_and_another_seed_asks_for_other_runs(name) -> None:
    here, there = (CLAIM.studies(preset_named(name), seed) for seed in (0, 3))
    assert len({study.name for study in here}) == 6
    assert not {study.declaration().hash for study in here} & {study.declaration().hash for study in there}
