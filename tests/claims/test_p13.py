"""The verdict on P13 follows whether zero output maps of attention end lower than drawn ones."""

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.attention_outputs import ATTENTION, BOTH, CLAIM, MARGIN, PAIRS


def world_of(*, alone=-0.1, beside=-0.1):
    """Zero output maps change the test loss by ``alone``, and beside zero maps of the MLPs by ``beside``."""
    return lambda run: {"test_loss": 2.0 + {ATTENTION: alone, BOTH: beside}.get(run.start, 0.0)}


def test_lower_in_both_comparisons_supports_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of()))
    assert answer.verdict == "supported"
    assert "+0.100 with MLPs drawn" in answer.finding


@pytest.mark.parametrize("change", [0.1, MARGIN / 10, 0.0])
def test_higher_or_the_same_refutes_it(change) -> None:
    assert verdict_in(CLAIM, world_of(alone=change, beside=change)) == "refuted"


@pytest.mark.parametrize(("alone", "beside"), [(-0.1, 0.1), (0.1, -0.1)])
def test_one_of_each_makes_it_depend_on_the_maps_of_the_mlps(alone, beside) -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(alone=alone, beside=beside)))
    assert answer.verdict == "depends"
    assert all(name in answer.factor for name in PAIRS)


def test_seeds_that_disagree_leave_it_open() -> None:
    def world(run):
        return world_of(alone=0.3 * (-1) ** run.seed, beside=0.3 * (-1) ** run.seed)(run)

    assert verdict_in(CLAIM, world) == "undecided"


@pytest.mark.parametrize("name", ["quick", "full"])
def test_the_study_stands_in_every_preset_and_another_seed_asks_for_other_runs(name) -> None:
    [here], [there] = (CLAIM.studies(preset_named(name), seed) for seed in (0, 3))
    assert here.declaration().hash != there.declaration().hash
