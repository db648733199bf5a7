"""The verdict on M2 follows the bits and the first steps."""

import pytest
import torch
from torch import nn
from worlds import SMALL, found_in

from exnihilo.claims.clauses import of_clause
from exnihilo.claims.m2 import CLAIM, SEEDS, Bits, Outcome, measure

N = SEEDS


def outcome(*, zeros: int = 1, same: int = N, patterns: int = N) -> Outcome:
    return Outcome(
        zeros=(Bits(name="zeros", patterns=zeros, same_after_zeros=None),),
        schemes=(Bits(name="xavier", patterns=patterns, same_after_zeros=same),),
    )


def stuck(run):
    return {"train_loss": 2.0, "moved": False} if run.start.name == "zeros" else {"train_loss": 0.1}


def ahead(run):
    return {"train_loss": 0.05} if run.start.name == "zeros" else {"train_loss": 0.1}


@pytest.mark.parametrize(
    ("world", "measured", "verdict"),
    [
        (stuck, outcome(), "supported"),
        (ahead, outcome(zeros=2, same=0), "refuted"),
        (ahead, outcome(), "depends"),
        (stuck, outcome(zeros=N), "depends"),
    ],
)
def test_the_verdict_follows_bits_and_steps(world, measured, verdict) -> None:
    assert CLAIM.answer(found_in(CLAIM, world, measured=measured)).verdict == verdict


@pytest.mark.parametrize(("same", "patterns"), [(N - 1, N), (N, N - 1), (N, 1)])
def test_a_scheme_must_be_untouched_and_random(same: int, patterns: int) -> None:
    answer = CLAIM.answer(found_in(CLAIM, stuck, measured=outcome(same=same, patterns=patterns)))
    [cell] = of_clause(answer.evidence.cells, "another scheme afterwards")
    assert cell.supports is False


def test_a_zero_run_that_moves_leaves_its_task_open() -> None:
    def world(run):
        return stuck(run) | ({"moved": True} if run.task == "wine" else {})

    cells = of_clause(
        CLAIM.answer(found_in(CLAIM, world, measured=outcome())).evidence.cells, "random starts learn faster"
    )
    assert [cell.supports for cell in cells] == [True, None, True, True]


def test_what_is_measured_holds_and_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    found = measure(SMALL, 0)
    assert torch.equal(torch.get_rng_state(), before)
    assert {bits.patterns for bits in found.zeros} == {1}
    assert {(bits.patterns, bits.same_after_zeros) for bits in found.schemes} == {(N, N)}


def test_a_way_that_reads_what_was_there_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def added(weight, generator):
        values = weight.detach().nan_to_num(1.0) + torch.randn(weight.shape, generator=generator)
        return nn.init.zeros_(weight).data.copy_(values)

    monkeypatch.setattr("exnihilo.claims.m2.TORCH_FILLS", {"added": added})
    monkeypatch.setattr("exnihilo.claims.m2.OWN_SCHEMES", ())
    assert measure(SMALL, 0).schemes == (Bits(name="added", patterns=N, same_after_zeros=0),)
