"""Known bad pairs of an optimizer and a zero, measured on real optimizers, beside pairs that are fine."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from gated_networks import CRITERION, Residual, vectors


def model_of(recipe):
    torch.manual_seed(0)
    model, (x, _) = Residual(), vectors()
    plan = xn.plan(model, recipe, example=x)
    xn.apply(plan, model, seed=0)
    return plan, model


def codes(model, optimizer):
    found = xn.check(model, vectors(), criterion=CRITERION, optimizer=optimizer)
    return {finding.code: finding for finding in found.with_severity("FAIL", "WARN")}


def test_decay_on_gates_is_told_and_its_groups_mend_it():
    plan, model = model_of("rezero")
    finding = codes(model, torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1))["decayed-gates"]
    assert set(finding.parameters) == {f"blocks.{i}.last.branch_gate" for i in range(6)}
    groups = xn.param_groups(plan, model, lr=1e-3, weight_decay=0.1)
    assert "decayed-gates" not in codes(model, torch.optim.AdamW(groups))


def test_no_decay_is_no_finding():
    _, model = model_of("rezero")
    assert "decayed-gates" not in codes(model, torch.optim.Adam(model.parameters(), lr=1e-3))


OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=1e-2),
    "SGD with momentum": lambda p: torch.optim.SGD(p, lr=1e-2, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=1e-3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers_that_do_not_ask_for_the_size_are_fine(name):
    _, model = model_of("zero-residual")
    assert "slowed-zeros" not in codes(model, OPTIMIZERS[name](model.parameters()))


def test_adafactor_hardly_moves_zeros():
    _, model = model_of("zero-residual")
    maps = [p for p in model.parameters() if p.dim() > 1]
    finding = codes(model, torch.optim.Adafactor(maps, lr=1e-2))["slowed-zeros"]
    assert set(finding.parameters) == {f"blocks.{i}.last.weight" for i in range(6)}


def test_it_moves_small_numbers():
    _, model = model_of("zero-residual")
    for block in model.blocks:
        nn.init.normal_(block.last.weight, std=0.02)
    maps = [p for p in model.parameters() if p.dim() > 1]
    assert "slowed-zeros" not in codes(model, torch.optim.Adafactor(maps, lr=1e-2))
