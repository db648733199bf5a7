"""F1 explains, and takes its numbers from the runs."""

import math
import re

from worlds import found_in

from exnihilo.claims.f1 import CLAIM


def answer_of(**changes):
    def world(run):
        is_zero = run.start.name == "zeros"
        return {
            "test_score": 0.11 if is_zero else 0.93,
            "moved": not is_zero,
            "effective_width_relative": 1 if is_zero else 29,
            **changes,
        }

    return CLAIM.answer(found_in(CLAIM, world))


def test_the_answer_is_an_explanation() -> None:
    assert answer_of().verdict == "explained"


def test_its_numbers_come_from_the_runs() -> None:
    words = " ".join(answer_of().finding.split())
    assert "not one weight had moved in 3 of 3" in words and "11 % of the test digits" in words
    assert "count as 1, by" in words and "count as 29, and" in words
    other = " ".join(answer_of(moved=True, test_score=0.5, effective_width_relative=7).finding.split())
    assert "0 of 3" in other and "50 % of the test digits" in other and "count as 7, by" in other


def test_every_picture_stands_in_the_text() -> None:
    answer = answer_of()
    placed = re.findall(r"\[figure: (.+)\]", answer.finding)
    assert placed == [figure.name for figure in answer.evidence.figures]


def test_it_opens_with_the_answer_itself() -> None:
    assert answer_of().finding.startswith("Zero initialization means")


def test_a_loss_that_is_not_finite_counts_as_the_worst_one() -> None:
    losses = answer_of(diverged=True, train_loss=math.nan).evidence.figures[2]
    assert {row["loss"] for row in losses.rows} == {10.0}
