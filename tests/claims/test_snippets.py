"""Every snippet runs by itself in plain PyTorch, and shows something."""

import contextlib
import io
import random

import numpy as np
import pytest
import torch

from exnihilo.claims.catalog import every_claim

SNIPPETS = {claim.id: claim.snippet for claim in every_claim() if claim.snippet is not None}
MOST_LINES = 15


def output_of(snippet: str) -> str:
    """What a snippet prints; the global random states are left as they were."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 (a snippet may use it; we restore it)
    printed = io.StringIO()
    with torch.random.fork_rng(), contextlib.redirect_stdout(printed):
        torch.manual_seed(0)
        exec(compile(snippet, "<snippet>", "exec"), {"__name__": "__main__"})
    random.setstate(python)
    np.random.set_state(numpy)  # noqa: NPY002
    return printed.getvalue()


@pytest.mark.parametrize("claim_id", SNIPPETS)
def test_a_snippet_runs_and_prints(claim_id: str) -> None:
    assert output_of(SNIPPETS[claim_id]).strip()


@pytest.mark.parametrize("claim_id", SNIPPETS)
def test_a_snippet_is_short_and_needs_pytorch_alone(claim_id: str) -> None:
    snippet = SNIPPETS[claim_id]
    assert len(snippet.strip().splitlines()) <= MOST_LINES
    assert "exnihilo" not in snippet
    assert all(len(line) <= 120 for line in snippet.splitlines())


def test_running_a_snippet_leaves_the_global_random_states() -> None:
    before = torch.get_rng_state()
    output_of("import torch, random\nprint(torch.rand(3), random.random())")
    assert torch.equal(before, torch.get_rng_state())


def numbers(text: str) -> list[float]:
    """The numbers between brackets, in order."""
    inside = text.replace("[", " ").replace("]", " ").replace(",", " ").replace("(", " ").replace(")", " ").split()
    found: list[float] = []
    for word in inside:
        with contextlib.suppress(ValueError):
            found.append(float(word))
    return found


def test_the_snippet_of_t1_shows_three_equal_columns() -> None:
    shown = numbers(output_of(SNIPPETS["T1"]))
    rows = [shown[i : i + 3] for i in range(0, len(shown), 3)]
    assert rows[:3] == [[0.5] * 3] * 3
    assert len(rows) == 6 and all(len(set(row)) == 1 for row in rows) and len({row[0] for row in rows[3:]}) == 3


def test_the_snippet_of_t6_shows_relu_at_the_class_share_and_sigmoid_above() -> None:
    relu, sigmoid = (float(line.split()[-1]) for line in output_of(SNIPPETS["T6"]).splitlines())
    assert relu == 40 / 64 and sigmoid > 0.9


def test_the_snippet_of_k1_shows_he_explode_and_the_zero_stand() -> None:
    squares = [float(line.split()[-1]) for line in output_of(SNIPPETS["K1"]).splitlines()]
    assert squares[0] < squares[2] < squares[4] and squares[4] > 1e6
    assert squares[1] == squares[3] == squares[5] == pytest.approx(1, abs=0.1)


def test_the_snippet_of_f1_shows_what_is_pulled() -> None:
    plain, one_zero = (numbers(line) for line in output_of(SNIPPETS["F1"]).splitlines())
    assert plain[:3] == [0, 0, 0] and plain[3] > 0
    assert one_zero[:2] == [0, 0] and min(one_zero[2:]) > 0
