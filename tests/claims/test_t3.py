"""The verdict on T3 follows the clock and the steps to the target."""

from dataclasses import replace

import pytest
from worlds import SMALL as WORLD_PRESET
from worlds import found_in

from exnihilo.claims.t3 import AGAIN, BLOCKS, CLAIM, SMALL, TINY, ZEROS, measure
from exnihilo.lab.timing import Timing


def timing_of(zero: float, *, noise: float = 0.0) -> Timing:
    """Random steps of 300 µs, and zero ones of that times ``zero``."""
    wobble = [1 + (noise if block % 2 else -noise) for block in range(24)]
    others = dict.fromkeys((SMALL, AGAIN, TINY), (0.0003,) * 24)
    return Timing(seconds={ZEROS: tuple(3e-4 * zero * w for w in wobble), **others})


def answer(timing: Timing, zero: float, random: float):
    def world(run):
        return {"train_loss": zero if run.start.name == "zeros" else random}

    return CLAIM.answer(found_in(CLAIM, world, measured=timing))


@pytest.mark.parametrize(
    ("cost", "zero", "random", "verdict"),
    [
        (1.0, 2.4, 0.1, "refuted"),
        (0.7, 0.1, 2.4, "supported"),
        (1.3, 2.4, 2.4, "refuted"),
        (0.7, 2.4, 0.1, "depends"),
    ],
)
def test_the_verdict_follows_the_clock_and_the_steps(cost: float, zero: float, random: float, verdict: str) -> None:
    assert answer(timing_of(cost), zero, random).verdict == verdict


def test_a_noisy_clock_and_no_arrival_leave_it_undecided() -> None:
    assert answer(timing_of(1.0, noise=0.5), 2.4, 2.4).verdict == "undecided"


def test_the_finding_follows_the_clock() -> None:
    assert "the values do not matter" in answer(timing_of(1.0), 2.4, 0.1).finding
    assert "zero is faster" in answer(timing_of(0.7), 2.4, 0.1).finding


def test_a_target_that_is_never_reached_has_no_time() -> None:
    ways = answer(timing_of(1.0), 2.4, 0.1).evidence.tables[1]
    assert {row[6] for row in ways.rows if row[1] == "zeros"} == {None}
    assert None not in {row[6] for row in ways.rows if row[1] == "small_normal"}


def test_the_ways_are_shown_as_censored_data() -> None:
    def world(run):
        # Of ten seeds from zero four are there at the first evaluation, and six never.
        arrives = run.start.name != "zeros" or run.seed % 10 < 4
        return {"train_loss": (2.4, *(0.1 if arrives else 2.4,) * run.evaluations)}

    found = CLAIM.answer(found_in(CLAIM, world, measured=timing_of(1.0))).evidence.tables[1]
    rows = {row[1]: dict(zip(found.columns, row, strict=True)) for row in found.rows if row[0] == "wine"}
    zero, random = rows["zeros"], rows["small_normal"]
    assert (zero["runs that get there"], zero["of"]) == (4, 10)
    assert zero["Kaplan-Meier median of steps"] is None
    assert zero["restricted mean of steps"] == pytest.approx((4 * 1 + 6 * 20) / 10)
    assert (random["Kaplan-Meier median of steps"], random["restricted mean of steps"]) == (1.0, 1.0)


def test_nothing_that_is_not_read_asks_for_a_later_look() -> None:
    preset = replace(WORLD_PRESET, looks=(10, 16))
    found = found_in(CLAIM, lambda run: {}, measured=timing_of(1.0), preset=preset)
    [study] = found.studies.values()
    assert study.baseline is None
    assert {len(found.judged(study.name, place, start)) for place in study.places for start in study.arms} == {10}


def test_every_alternative_is_timed_in_every_block() -> None:
    timing = measure(WORLD_PRESET, 0)
    assert set(timing.seconds) == {ZEROS, SMALL, AGAIN, TINY}
    assert all(len(seconds) == BLOCKS and min(seconds) > 0 for seconds in timing.seconds.values())
