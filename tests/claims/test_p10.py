"""The verdict on P10 follows the powers of the width with which activations change."""

import itertools
import math

import pytest
import torch
from worlds import SMALL

from exnihilo.claims.claim import Found
from exnihilo.claims.published import mup_coordinates
from exnihilo.claims.published.mup_coordinates import CLAIM, MUP, PLACES, STANDARD, WIDTHS, Moved, measure, planned


def answer(power, seeds=range(6)):
    """Models whose activations change with a power of the width, given by recipe, place and seed."""
    outcome = [
        Moved(
            recipe=recipe,
            width=width,
            seed=seed,
            changes={place: 0.1 * (width / 32) ** power(recipe, place, seed) for place in PLACES.values()},
        )
        for recipe, width, seed in itertools.product((MUP, *STANDARD), WIDTHS, seeds)
    ]
    return CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=outcome))


def says(found):
    return {cell.where: cell.supports for cell in found.evidence.cells}


def published(recipe, place, seed):
    """What the paper says."""
    return 0.0 if recipe == MUP or place == "embedding" else 1.0


def test_flat_and_growing_activations_support_the_claim() -> None:
    found = answer(published)
    assert found.verdict == "supported" and found.n == 3 * len(WIDTHS) * 6
    assert "mup 0.00 to 0.00; gpt2 0.00 to 1.00; xavier 0.00 to 1.00." in found.finding.replace("-0.00", "0.00")
    assert "grows with the width at 5 of 6 places" in found.evidence.cells[-1].finding


def test_the_other_way_around_refutes_it() -> None:
    assert answer(lambda recipe, place, seed: 0.5 if recipe == MUP else 0.0).verdict == "refuted"
    shrinking = answer(lambda recipe, place, seed: -0.5 if recipe == MUP else 0.0)
    assert shrinking.verdict == "refuted" and set(says(shrinking).values()) == {False}


def test_one_place_that_grows_under_mup_is_named() -> None:
    found = answer(lambda *of: 0.5 if of[:2] == (MUP, "scores") else published(*of))
    assert found.verdict == "depends"
    assert says(found)["mup · scores"] is False and says(found)["mup · embedding"] is True


def test_standard_recipes_that_are_flat_everywhere_refute_it() -> None:
    found = answer(lambda recipe, place, seed: 0.0)
    assert {where for where, supports in says(found).items() if supports is False} == {
        "gpt2 · all places",
        "xavier · all places",
    }


@pytest.mark.parametrize("power", [0.4, -0.4])
def test_a_seed_that_differs_leaves_it_open(power) -> None:
    found = answer(lambda recipe, place, seed: power if seed == 0 else 0.0)
    assert set(says(found).values()) == {None} and found.verdict == "undecided"


def test_half_way_to_the_root_is_the_border() -> None:
    assert says(answer(lambda recipe, place, seed: 0.24))["mup · scores"] is True
    assert says(answer(lambda recipe, place, seed: 0.26))["mup · scores"] is False


def test_models_that_diverge_are_no_number() -> None:
    def power(recipe, place, seed):
        return math.nan if recipe == "gpt2" and seed == 0 else published(recipe, place, seed)

    found = answer(power)
    assert "gpt2 0.00 to 1.00" in found.finding.replace("-0.00", "0.00")
    assert all(row[4] is None for row in found.evidence.tables[0].rows if row[0] == "gpt2")
    assert {row["width"] for row in found.evidence.figures[0].rows if row["recipe"] == "gpt2"} == {32}
    lost = answer(lambda recipe, place, seed: math.nan)
    assert lost.verdict == "depends" and "inf" not in lost.finding and "all models diverged" in lost.finding


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mup_coordinates, "WIDTHS", WIDTHS[:2])
        return {seed: measure(SMALL, seed) for seed in (0, 1)}


def test_every_recipe_width_and_seed_is_measured(measured) -> None:
    assert len({(of.recipe, of.width, of.seed) for of in measured[0]}) == 3 * 2 * SMALL.looks[0]
    assert all(change > 0 for of in measured[0] for change in of.changes.values())
    assert {of.seed for of in measured[0]}.isdisjoint({of.seed for of in measured[1]})


def test_the_base_itself_is_trained_at_one_rate() -> None:
    assert {row.rate for row in planned(MUP, WIDTHS[0]).rows} == {1.0}
    assert {row.rate for row in planned(MUP, WIDTHS[1]).rows} == {1.0, 0.5}
    assert {row.rate for row in planned("gpt2", WIDTHS[1]).rows} == {1.0}


def test_what_is_watched_is_what_the_modules_give_out() -> None:
    from exnihilo.claims.published.mup_coordinates import TASK, _model, _outputs
    from exnihilo.lab.tasks import task_named

    module, symbols = _model(32), torch.zeros(2, task_named(TASK).num_inputs, dtype=torch.int64)
    found = _outputs(module, symbols)
    assert set(found) == set(PLACES)
    assert torch.equal(found["head"], module(symbols))
    assert not any(of._forward_hooks for of in module.modules())
