"""The verdict on D5 follows what is left of the zeros, and what zero branches reach."""

from dataclasses import replace

import pytest
import torch
from worlds import SMALL, found_in, verdict_in

from exnihilo.claims.d5 import CLAIM, SIDE, Repaired, measure

LOST = Repaired(num_weights=256, nan_after_norm=256, usable_after_scaling=0, nan_after_scaling=0, nan_after_own_std=256)
MENDED = Repaired(num_weights=256, nan_after_norm=0, usable_after_scaling=256, nan_after_scaling=0, nan_after_own_std=0)


def world_of(*, lost=True, gain=0.5):
    """Zeros under weight normalization are lost or not, and partly zero networks gain so much accuracy."""

    def world(run):
        if run.network.norm == "weight":
            return {"diverged": lost and run.start.name == "zeros"}
        score = 0.3 - (run.seed % 7) / 1e4
        return {"test_score": score if run.start.name == "zeros" else score + gain}

    return world


def test_it_depends_on_what_is_zero() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(), measured=LOST))
    assert answer.verdict == "depends"
    assert "'branches zero, the rest scaled' holds" in (answer.factor or "")
    assert "'all zero, weight normalization' fails" in (answer.factor or "")
    assert "256 of 256 weights become NaN in PyTorch, and 12 of 12 runs of the lab are lost" in answer.finding
    assert "better than all zeros in 8 of 8 comparisons (+50 to +50 points)" in answer.finding


def test_repairs_that_work_support_the_claim() -> None:
    assert verdict_in(CLAIM, world_of(lost=False), measured=MENDED) == "supported"


@pytest.mark.parametrize("gain", [0.0, -0.2])
def test_repairs_that_mend_nothing_refute_the_claim(gain) -> None:
    assert verdict_in(CLAIM, world_of(gain=gain), measured=LOST) == "refuted"


def test_a_scale_that_makes_weights_of_zeros_would_support_the_claim() -> None:
    world, measured = world_of(gain=0.0), replace(LOST, usable_after_scaling=1)
    assert verdict_in(CLAIM, world, measured=measured) == "depends"


def test_a_network_that_is_lost_from_any_start_says_nothing_about_zero() -> None:
    found = found_in(CLAIM, lambda run: {"diverged": True}, measured=LOST)
    cells = {cell.where: cell.supports for cell in CLAIM.answer(found).evidence.cells}
    assert cells["all zero, weight normalization · wine"] is None


def test_runs_that_never_move_are_lost_too() -> None:
    def world(run):
        still = run.network.norm == "weight" and run.start.name == "zeros"
        return world_of(lost=False)(run) | {"moved": not still}

    assert verdict_in(CLAIM, world, measured=LOST) == "depends"
    cells = CLAIM.answer(found_in(CLAIM, world, measured=MENDED)).evidence.cells
    assert [cell.supports for cell in cells if cell.where.endswith("normalization · wine")] == [False]


def test_pytorch_makes_nan_of_zeros_and_scales_leave_them() -> None:
    state = torch.get_rng_state()
    assert measure(SMALL, 0) == replace(LOST, num_weights=SIDE * SIDE)
    assert torch.equal(state, torch.get_rng_state())


def test_the_table_shows_the_nan_that_scaling_leaves() -> None:
    table = CLAIM.answer(found_in(CLAIM, world_of(), measured=replace(LOST, nan_after_scaling=7))).evidence.tables[0]
    assert {row[0]: row[3] for row in table.rows}["multiplied by a scale"] == 7
    assert measure(SMALL, 0).nan_after_scaling == 0
