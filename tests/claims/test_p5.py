"""The verdict on P5 follows which gates learn at which depth, and who is sooner."""

from dataclasses import replace

import pytest
from worlds import SMALL, found_in

from exnihilo.claims.presets import preset_named
from exnihilo.claims.published.rezero import CLAIM, NEXT_TARGET, OPEN, TARGET, ZERO
from exnihilo.lab.records import Model

SLOW = 0.75  # of a run's evaluations
# Long enough that one start can be sooner than another.
LONG = replace(SMALL, steps=120, deep_steps=16)


def answer_in(world):
    return CLAIM.answer(found_in(CLAIM, world, preset=LONG))


def curve(run, reached, target):
    """A training loss that falls below the target at this share of the evaluations."""
    last = run.evaluations
    return tuple(target - 0.5 if index >= reached * last else target + 1 for index in range(last + 1))


def world_of(*, zero_learns=True, open_learns=False, gated=0.25, rezero=0.25):
    """``gated`` and ``rezero`` say when these runs reach the target, where runs with norms do at ``SLOW``."""

    def world(run):
        if isinstance(run.network, Model):
            return {"train_loss": curve(run, rezero if run.network.norm == "none" else SLOW, NEXT_TARGET)}
        is_normed = run.network.norm == "layer"
        learns = zero_learns if run.start == ZERO else open_learns or is_normed
        return {
            "train_score": 0.9 if learns else 0.1,
            "train_loss": curve(run, SLOW if is_normed else gated, TARGET),
        }

    return world


def test_as_the_paper_has_it_supports_the_claim() -> None:
    answer = answer_in(world_of())
    assert answer.verdict == "supported"
    assert [cell.supports for cell in answer.evidence.cells] == [True] * 7


def test_everything_otherwise_refutes_it() -> None:
    world = world_of(zero_learns=False, open_learns=True, gated=1.0, rezero=1.0)
    answer = answer_in(world)
    assert answer.verdict == "refuted"
    assert [cell.supports for cell in answer.evidence.cells] == [False] * 7


@pytest.mark.parametrize(
    ("change", "clause"),
    [
        ({"zero_learns": False}, "'gates at zero learn' fails"),
        ({"open_learns": True}, "'open gates do not learn' fails"),
        ({"gated": 1.0}, "fails at 32 branches"),
        ({"gated": SLOW}, "fails at 32 branches"),
        ({"rezero": 1.0}, "fails at transformer, norm before the sums and transformer, norm after"),
    ],
)
def test_one_clause_that_fails_makes_it_depend_on_it(change, clause) -> None:
    answer = answer_in(world_of(**change))
    assert answer.verdict == "depends"
    assert clause in answer.factor


@pytest.mark.parametrize("late", [2.0, SLOW])
def test_seeds_that_disagree_or_tie_leave_a_transformer_open(late) -> None:
    def world(run):
        return world_of(rezero=0.25 if late == 2.0 and run.seed % 2 else late)(run)

    cells = answer_in(world).evidence.cells[-2:]
    assert [cell.supports for cell in cells] == [None, None]
    assert cells[0].n == SMALL.deep_seeds


def test_gates_of_both_starts_are_judged_at_both_depths() -> None:
    [deep, *_] = CLAIM.studies(SMALL, 0)
    assert [network.depth for network in deep.networks] == [32, 128] and set(deep.arms) == {ZERO, OPEN}


@pytest.mark.parametrize("name", ["quick", "full"])
def test_studies_stand_in_every_preset_and_another_seed_asks_for_other_runs(name) -> None:
    here, there = (CLAIM.studies(preset_named(name), seed) for seed in (0, 3))
    assert len({study.name for study in here}) == 6
    assert not {study.declaration().hash for study in here} & {study.declaration().hash for study in there}


def test_never_getting_there_where_norms_do_is_no_success() -> None:
    sides = [cell.supports for cell in answer_in(world_of(gated=2.0, rezero=2.0)).evidence.cells]
    assert sides[-3:] == [False, False, False]
