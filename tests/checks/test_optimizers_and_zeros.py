"""Known bad pairs of an optimizer and a zero, measured on real optimizers, beside pairs that are fine."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from gated_networks import CRITERION, Residual, vectors
from torchvision_shim import define_missing_operators

_OPERATORS = define_missing_operators()


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


class LARS(torch.optim.Optimizer):
    """Steps of a thousandth of each parameter's own length, as published: none where that is zero."""

    def __init__(self, params, lr):
        super().__init__(params, {"lr": lr})

    def ratio(self, p, direction):
        return 1e-3 * p.norm() / (direction.norm() + 1e-9)

    def direction(self, p):
        return p.grad

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    direction = self.direction(p)
                    p.add_(direction * self.ratio(p, direction), alpha=-group["lr"])


class LAMB(LARS):
    """The same along Adam's direction, which is the gradient's sign at the first step."""

    def ratio(self, p, direction):
        return p.norm().clamp(0, 10) / (direction.norm() + 1e-9)

    def direction(self, p):
        return p.grad / (p.grad.abs() + 1e-8)


@pytest.mark.parametrize("kind", [LARS, LAMB])
@pytest.mark.parametrize(("recipe", "leaf"), [("zero-residual", "weight"), ("rezero", "branch_gate")])
def test_steps_in_proportion_to_a_length_of_zero_are_told(kind, recipe, leaf):
    _, model = model_of(recipe)
    finding = codes(model, kind(model.parameters(), lr=0.1))["slowed-zeros"]
    assert set(finding.parameters) == {f"blocks.{i}.last.{leaf}" for i in range(6)}
    _, small = model_of(f"{recipe}(epsilon=0.1)")
    assert "slowed-zeros" not in codes(small, kind(small.parameters(), lr=0.1))


@pytest.mark.parametrize("kind", ["Lars", "Lamb"])
def test_those_of_timm_spare_zeros(kind):
    optimizers = pytest.importorskip("timm.optim")
    _, model = model_of("zero-residual")
    assert "slowed-zeros" not in codes(model, getattr(optimizers, kind)(model.parameters(), lr=1e-3))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_gates_under_those_that_do_not_ask_are_fine(name):
    _, model = model_of("rezero")
    assert "slowed-zeros" not in codes(model, OPTIMIZERS[name](model.parameters()))
