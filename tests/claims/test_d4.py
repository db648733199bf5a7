"""The verdict on D4 follows where zero ends, and whether others end above it."""

import math

import pytest
from worlds import found_in, verdict_in

from exnihilo.claims.d4 import CLAIM, TOLERANCE
from exnihilo.claims.prior import class_shares, prior_entropy


def world_of(*, loss=0.0, dead=1.0, gain=0.5):
    """All-zero runs end ``loss`` above the entropy, and other starts ``gain`` of accuracy above them."""

    def world(run):
        # Not all seeds alike, and the loss exactly where it is wanted: the worlds add their own jitter to it.
        score = 0.3 - (run.seed % 7) / 1e4
        if run.start.name != "zeros":
            return {"test_score": score + gain}
        return {"train_loss": (prior_entropy(run.task) + loss,) * 21, "dead_units": dead, "test_score": score}

    return world


def test_a_floor_below_all_other_starts_supports_the_claim() -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of()))
    assert answer.verdict == "supported"
    assert "In 4 of 4 tasks" in answer.finding
    assert "better in 12 of 12 comparisons (+50 to +50 points)" in answer.finding
    assert [cell.supports for cell in answer.evidence.cells].count(None) == 1


@pytest.mark.parametrize("change", [{"loss": 2 * TOLERANCE}, {"loss": -2 * TOLERANCE}, {"dead": 0.9}])
def test_runs_that_end_otherwise_than_the_class_shares_are_no_floor(change) -> None:
    assert verdict_in(CLAIM, world_of(**change)) == "depends"
    assert verdict_in(CLAIM, world_of(**change, gain=0.0)) == "refuted"


@pytest.mark.parametrize("gain", [0.0, -0.2])
def test_starts_that_are_not_better_make_it_depend(gain) -> None:
    answer = CLAIM.answer(found_in(CLAIM, world_of(gain=gain)))
    assert answer.verdict == "depends"
    assert "better in 0 of 12" in answer.finding
    assert "floor" in (answer.factor or "")


def test_how_common_it_is_never_counts() -> None:
    common = CLAIM.answer(found_in(CLAIM, world_of())).evidence.cells[-1]
    assert (common.where, common.supports) == ("commonly used", None)


def test_the_floor_is_the_entropy_of_scikit_learn_s_own_labels() -> None:
    from sklearn.datasets import load_wine

    # What two fifths of each class, each rounded, leave for training.
    labels = load_wine().target.tolist()
    left = [n - 2 * round(0.2 * n) for n in map(labels.count, range(3))]
    assert class_shares("wine") == pytest.approx([n / sum(left) for n in left])
    assert prior_entropy("wine") == pytest.approx(-sum(n / sum(left) * math.log(n / sum(left)) for n in left))
    assert prior_entropy("spirals") == pytest.approx(math.log(3), abs=1e-6)
