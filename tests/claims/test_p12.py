"""The verdict on P12 follows the steps at which parameters open."""

import itertools

import pytest
import torch
from worlds import SMALL

from exnihilo.claims.claim import Found
from exnihilo.claims.published import adaln_chain
from exnihilo.claims.published.adaln_chain import (
    CLAIM,
    CLAIMED,
    DEPTHS,
    GATE_ALONE,
    GROUPS,
    INSIDE,
    MODULATIONS,
    PUBLISHED,
    SEEDS,
    TWICE,
    Opened,
    batch,
    measure,
    zeroed,
)
from exnihilo.claims.published.dit import WIDTH, DiT


def answer(**changes):
    """Models that open as is claimed, but for some groups of one start: given by the group's place in ``GROUPS``."""
    outcome = [
        Opened(
            start=start,
            depth=depth,
            seed=0,
            steps={
                group: frozenset({CLAIMED.get((start, group), 1)}) | changes.get(start, {}).get(group, frozenset())
                for group in GROUPS
            },
        )
        for start, depth in itertools.product((PUBLISHED, GATE_ALONE, TWICE), (1, 2))
    ]
    return CLAIM.answer(Found(preset=SMALL, studies={}, records={}, measured=outcome))


def test_the_claimed_steps_support_the_claim() -> None:
    found = answer()
    assert found.verdict == "supported"
    assert "9 of 9 counts" in found.finding
    assert "comes at step 2 with the gates alone zero, and never with" in found.finding


@pytest.mark.parametrize(("start", "group"), CLAIMED)
def test_one_parameter_that_opens_otherwise_refutes_its_count(start, group) -> None:
    found = answer(**{start: {group: {4}}})
    assert found.verdict == "depends"
    assert [cell.where for cell in found.evidence.cells if cell.supports is False] == [f"{group} · {start}"]
    assert "8 of 9 counts" in found.finding


def test_a_group_that_stays_closed_is_empty_in_the_picture() -> None:
    [figure] = answer().evidence.figures
    steps = {(row["start"], row["group"]): row["step"] for row in figure.rows}
    assert steps[TWICE, INSIDE] is None and steps[PUBLISHED, INSIDE] == 3
    [figure] = answer(**{PUBLISHED: {INSIDE: {None}}}).evidence.figures
    assert [row["step"] for row in figure.rows if (row["start"], row["group"]) == (PUBLISHED, INSIDE)] == [None]


@pytest.fixture(scope="module")
def measured():
    return measure(SMALL, 0)


def test_every_depth_and_seed_is_measured(measured) -> None:
    assert len(measured) == 3 * len(DEPTHS) * SEEDS
    assert all(set(of.steps) == set(GROUPS) and all(of.steps.values()) for of in measured)


def test_gradients_of_plain_steps_agree_with_the_probes(measured) -> None:
    """Three steps of SGD by autograd, from the values that the measured model had."""
    from exnihilo.plans.apply import initialize

    [of] = [of for of in measured if of.start == PUBLISHED and of.depth == 2 and of.seed == 0]
    model, (inputs, targets) = DiT(2), batch(0)
    initialize(model, "adaln-zero", inputs, 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    first = {}
    for step in (1, 2, 3):
        optimizer.zero_grad()
        (model(*inputs) - targets).square().mean().backward()
        for name, parameter in model.named_parameters():
            if parameter.grad is not None and parameter.grad.any() and not name.endswith("key.bias"):
                first.setdefault(name, step)
        optimizer.step()
    assert {first["head.weight"]} == of.steps["head"]
    assert {first["modulation.bias"], first["embed.weight"]} == of.steps["last modulation"]
    assert {first[f"blocks.{k}.modulation.weight"] for k in (0, 1)} == of.steps[MODULATIONS]
    assert {step for name, step in first.items() if ".mlp." in name or ".query." in name} == of.steps[INSIDE]


def test_the_variants_zero_what_they_say() -> None:
    model = DiT(1)
    gates = zeroed(GATE_ALONE, model)
    assert set(gates) == {"blocks.0.modulation.weight", "blocks.0.modulation.bias"}
    rows = gates["blocks.0.modulation.weight"].any(1).view(6, WIDTH)
    assert rows.any(1).tolist() == [True, True, False, True, True, False]
    twice = zeroed(TWICE, model)
    assert not any(value.any() for value in twice.values())
    names = {f"blocks.0.{name}" for name in ("modulation", "out", "mlp.2")}
    assert {name.rpartition(".")[0] for name in twice} == names and len(twice) == 6
    assert zeroed(PUBLISHED, model) == {}


def test_another_seed_draws_another_batch_and_other_models(monkeypatch) -> None:
    monkeypatch.setattr(adaln_chain, "DEPTHS", (1,))
    assert not torch.equal(batch(0)[1], batch(1)[1])
    assert {of.seed for of in measure(SMALL, 1)}.isdisjoint({0, 1, 2})
