"""The verdict on P11 follows what moves, what learns, and which start ends lower."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.lora_zeros import A_ZERO, B_ZERO, BOTH, CLAIM, LEARNING, NEITHER


def world_of(*, both_moves=False, learning=LEARNING, loss_of_a=0.5, loss_of_neither=0.3, largest=None):
    """Both zero stands still; A zero ends at ``loss_of_a``; a start learns up to its largest rate."""
    largest = {B_ZERO: 0.1, A_ZERO: 0.03, NEITHER: 0.03} if largest is None else largest

    def world(run):
        if run.start == BOTH:
            return {"moved": both_moves, "train_score": 0.1, "test_loss": 7.0}
        is_learned = run.start in learning and run.lr <= largest[run.start]
        loss = {B_ZERO: 0.4, A_ZERO: loss_of_a, NEITHER: loss_of_neither}[run.start]
        return {"train_score": 0.9 if is_learned else 0.2, "test_loss": loss, "validation_loss": abs(run.lr - 0.03)}

    return world


def cells_in(world):
    """What each clause says, by its name (and the start)."""
    return {cell.where: cell.supports for cell in CLAIM.answer(found_in(CLAIM, world)).evidence.cells}


def test_as_the_papers_have_it_supports_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of()))
    assert answer.verdict == "supported"
    assert [cell.supports for cell in answer.evidence.cells] == [True] * 7
    assert "Left open: none." in answer.finding


def test_one_factor_that_moves_from_two_zeros_refutes_that_clause() -> None:
    assert cells_in(world_of(both_moves=True))["never moves · lora_both_zero"] is False


def test_a_start_that_never_learns_refutes_its_clause() -> None:
    sides = cells_in(world_of(learning=(B_ZERO, NEITHER)))
    assert sides["learns · lora_A_zero"] is False and sides["learns · lora_B_zero"] is True


@pytest.mark.parametrize("loss", [0.3, 0.4])
def test_a_zero_as_good_or_better_refutes_its_clause(loss) -> None:
    assert cells_in(world_of(loss_of_a=loss))["B zero beats A zero · each at its best rate"] is False


def test_the_larger_rate_is_the_largest_at_which_a_seed_learns() -> None:
    where = "B zero bears larger rates than A zero · where it learns"
    equal = {B_ZERO: 0.03, A_ZERO: 0.03, NEITHER: 0.03}
    assert cells_in(world_of(largest=equal))[where] is False
    assert cells_in(world_of(largest={**equal, A_ZERO: 0.01}))[where] is True


def test_neither_zero_is_judged_ten_times_below_the_best_rate_of_b_zero() -> None:
    assert cells_in(world_of(loss_of_neither=0.6))["neither zero bears a small rate · rate 0.003"] is False


def test_everything_otherwise_refutes_the_claim() -> None:
    world = world_of(
        both_moves=True, learning=(), loss_of_a=0.3, loss_of_neither=0.5, largest=dict.fromkeys(LEARNING, 0.1)
    )
    assert verdict_in(CLAIM, world) == "refuted"


@pytest.mark.parametrize("name", ["quick", "full"])
def test_studies_stand_in_every_preset_and_another_seed_asks_for_other_runs(name) -> None:
    here, there = (CLAIM.studies(preset_named(name), seed) for seed in (0, 3))
    assert {study.seed for study in here} == {0} and {study.seed for study in there} == {3}
    assert not {study.declaration().hash for study in here} & {study.declaration().hash for study in there}
