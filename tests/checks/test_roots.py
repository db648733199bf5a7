"""The parameter that was broken is named first, and its remedy makes the network learn as well as the healthy one."""

import copy

import injected
import pytest
import torch
import torch.nn.functional as F
from injected import CRITERION, INJECTIONS, NETS
from torch import nn

from exnihilo.checks.check import check
from exnihilo.checks.fix import fix
from exnihilo.errors import CheckError


def broken(name):
    net, inject, code, roots = INJECTIONS[name]
    make, batch = NETS[net]
    model = make()
    inject(model)
    return model, batch(), code, roots


def trained(model, batch, steps=150):
    """The loss after some steps of a plain loop on a copy."""
    torch.manual_seed(0)
    twin = copy.deepcopy(model).train()
    optimizer = torch.optim.Adam([p for p in twin.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = CRITERION(twin(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
    return float(loss.detach())


@pytest.mark.parametrize("name", NETS)
def test_a_network_that_learns_passes(name):
    make, batch = NETS[name]
    found = check(make(), batch(), criterion=CRITERION)
    assert found.ok
    assert not found.with_severity("WARN")
    assert trained(make(), batch()) < LEARNED


# All healthy nets get below it, and those whose layers are shut stay at the entropy of their labels, above 1.
LEARNED = 0.05


@pytest.mark.parametrize("name", INJECTIONS)
def test_what_was_broken_is_named_first(name):
    model, batch, code, roots = broken(name)
    first, *others = check(model, batch, criterion=CRITERION).with_severity("FAIL")
    assert first.code == code
    assert others == []
    assert set(first.parameters[: first.num_roots]) <= roots
    assert first.remedy is not None
    assert first.remedy.safe
    assert first.remedy.verified


@pytest.mark.parametrize("name", INJECTIONS)
def test_its_remedy_makes_it_learn_as_the_healthy_one(name):
    model, batch, _, _ = broken(name)
    fix(check(model, batch, criterion=CRITERION), model)
    found = check(model, batch, criterion=CRITERION)
    assert found.ok
    assert all(o.step is not None or o.fate == "invariant" for o in found.openings)
    assert trained(model, batch) < LEARNED


def test_twelve_dead_ends_are_all_named_and_nothing_else_is():
    model, batch, _, roots = broken("both halves of twelve adapters")
    (found,) = check(model, batch, criterion=CRITERION).with_severity("FAIL")
    assert set(found.parameters[: found.num_roots]) == roots
    assert set(found.parameters) == roots | {name.replace("down", "up") for name in roots}


@pytest.mark.slow
def test_more_dead_ends_than_may_be_tried_one_by_one_are_all_named():
    model, batch = injected.healthy_adapted(depth=60), injected.vectors()
    injected.zero_adapters(model)
    (found,) = check(model, batch, criterion=CRITERION).with_severity("FAIL")
    assert found.num_roots == 60
    fix(check(model, batch, criterion=CRITERION), model)
    assert check(model, batch, criterion=CRITERION).ok


def test_a_zero_behind_a_layer_that_is_shut_is_found_with_it():
    """Neither frees anything while the other stays."""
    model, batch = NETS["MLP"][0](), injected.vectors()
    injected.zeros("layers.0.weight")(model)
    injected.filled(-100.0, "layers.2.bias")(model)
    found = check(model, batch, criterion=CRITERION)
    named = {n for f in found.with_severity("FAIL") for n in f.parameters[: f.num_roots]}
    assert named == {"layers.0.weight", "layers.2.bias"}
    fix(found, model)
    assert check(model, batch, criterion=CRITERION).ok


def test_dead_ends_of_two_kinds_in_two_places_are_both_named():
    model, batch = NETS["ConvNet"][0](), injected.images()
    injected.zeros("blocks.1.norm2.weight")(model)
    injected.filled(-100.0, "blocks.0.norm1.bias")(model)
    found = check(model, batch, criterion=CRITERION)
    firsts = {f.code: f.parameters[0] for f in found.with_severity("FAIL")}
    assert firsts == {"stuck-saddle": "blocks.1.norm2.weight", "dead-region": "blocks.0.norm1.bias"}
    fix(found, model)
    assert check(model, batch, criterion=CRITERION).ok


class Nested(nn.Module):
    """What comes through the first map reaches the head directly, and once more through a second one."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = F.relu(self.first(x))
        return self.head(x + F.relu(self.second(x)))


def test_a_dead_end_that_another_one_hides_is_found_once_that_is_mended():
    model, batch = injected.drawn(Nested()), injected.vectors()
    nn.init.zeros_(model.first.weight)
    nn.init.constant_(model.second.bias, -100.0)
    found = check(model, batch, criterion=CRITERION)
    named = {n for f in found.with_severity("FAIL") for n in f.parameters[: f.num_roots]}
    assert named == {"first.weight", "second.bias"}
    fix(found, model)
    assert check(model, batch, criterion=CRITERION).ok


class PooledByOne(nn.Module):
    """Scores that a softmax over one number makes all one."""

    def __init__(self):
        super().__init__()
        self.score, self.map, self.head = nn.Linear(16, 1), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.score(x).softmax(-1) * torch.tanh(self.map(x)))


class ScaledBeforeNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale, self.map, self.head = nn.Parameter(torch.ones(())), nn.Linear(16, 16), nn.Linear(16, 4)
        self.norm = nn.LayerNorm(16, eps=0.0)

    def forward(self, x):
        return self.head(self.norm(self.scale * torch.tanh(self.map(x))))


def test_a_map_of_one_unit_that_never_matters_fails_and_a_scale_does_not():
    torch.manual_seed(0)
    batch = injected.vectors()
    found = check(PooledByOne(), batch, criterion=CRITERION)
    assert [(f.code, f.severity, f.parameters) for f in found.findings] == [
        ("never-matters", "FAIL", ("score.weight",)),
        ("never-matters", "INFO", ("score.bias",)),
    ]
    found = check(ScaledBeforeNorm(), batch, criterion=CRITERION)
    assert found.ok
    assert [(f.code, f.severity, f.parameters) for f in found.findings] == [("never-matters", "INFO", ("scale",))]


def test_fix_changes_nothing_where_it_raises():
    model, batch, _, _ = broken("a zero layer")
    found = check(model, batch, criterion=CRITERION)
    other = NETS["ConvNet"][0]()
    before = {n: p.clone() for n, p in other.named_parameters()}
    with pytest.raises(ValueError, match=r"layers\.1\.weight"):
        fix(found, other)
    assert all(torch.equal(before[n], p) for n, p in other.named_parameters())
    healthy = NETS["MLP"][0]()
    nothing = check(healthy, batch, criterion=CRITERION)
    before = {n: p.clone() for n, p in healthy.named_parameters()}
    with pytest.raises(CheckError, match="has no safe remedy"):
        fix(nothing, healthy)
    assert all(torch.equal(before[n], p) for n, p in healthy.named_parameters())


def test_what_fix_writes_is_what_was_tried():
    """The step at which all opens was seen on a copy; after the fix it is that of the model."""
    model, batch, _, _ = broken("query and key zero")
    found = check(model, batch, criterion=CRITERION)
    named = found.findings[0].parameters
    fix(found, model)
    steps = check(model, batch, criterion=CRITERION).opening_step
    last = max(steps[name] or 0 for name in named)
    assert found.findings[0].remedy.verified.endswith(str(last))
