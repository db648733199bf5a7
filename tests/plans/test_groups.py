"""Parameter groups by what a plan says, and muP's rates."""

import math

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError, StalePlanError
from exnihilo.recipes.mup import MuP
from gated_networks import Images, pictures


def net(width, depth=2):
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(width, width), nn.ReLU())]
    return nn.Sequential(nn.Linear(8, width), nn.LayerNorm(width), nn.ReLU(), *hidden, nn.Linear(width, 4))


X = torch.zeros(2, 8)


def planned(model, recipe):
    plan = xn.plan(model, recipe, example=X)
    xn.apply(plan, model, seed=0)
    return plan


def test_every_trained_parameter_is_in_one_group():
    model = net(16)
    model[0].weight.requires_grad_(False)
    groups = xn.param_groups(planned(model, "he"), model, lr=1e-2, weight_decay=0.1)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    by_id = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    assert by_id[id(model[3].weight)] == 0.1
    assert by_id[id(model[1].weight)] == by_id[id(model[3].bias)] == 0.0
    torch.optim.AdamW(groups)


def test_a_tied_tensor_is_in_one_group_once():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    model[2].weight = model[0].weight
    groups = xn.param_groups(planned(model, "he"), model, lr=1e-2)
    assert sum(p is model[0].weight for group in groups for p in group["params"]) == 1


def test_gates_do_not_decay_and_fixups_numbers_learn_at_a_tenth():
    model, (x, _) = Images(), pictures()
    plan = xn.plan(model, "fixup", example=x)
    xn.apply(plan, model, seed=0)
    groups = xn.param_groups(plan, model, lr=0.1, weight_decay=1e-4)
    numbers = {id(model.last[0].branch_gate), id(model.first[0].shift_in)}
    (slow,) = [group for group in groups if numbers <= {id(p) for p in group["params"]}]
    assert slow["lr"] == pytest.approx(0.01)
    assert slow["weight_decay"] == 0.0


def test_mup_by_hand():
    """Table 3 of the paper: at four times the width hidden maps and the head learn at a quarter of the rate."""
    model = net(64)
    plan = planned(model, xn.mup(net(16), X))
    rows = plan.by_name
    assert rows["0.weight"].rate == 1.0
    assert rows["3.weight"].rate == rows["7.weight"].rate == 0.25
    assert rows["3.weight"].expected_std == pytest.approx(64**-0.5)
    assert rows["7.weight"].scheme == "zeros"
    head = xn.plan(model, xn.mup(net(16), X, zero_head=False), example=X).by_name["7.weight"]
    assert head.expected_std == pytest.approx(0.25 / math.sqrt(16))
    assert plan.recipe == "mup"


@pytest.mark.parametrize("kind", ["mup", "standard"])
def test_activations_change_alike_at_all_widths_under_mup_alone(kind):
    """The coordinate check: the change of the last hidden layer by three Adam steps, over widths from 64 to 1,024."""
    torch.manual_seed(0)
    x, y = torch.randn(64, 8), torch.arange(64) % 4
    changes = []
    for width in (64, 256, 1024):
        model = net(width)
        recipe = xn.mup(net(64), X, zero_head=False) if kind == "mup" else "lecun"
        plan = planned(model, recipe)
        groups = xn.param_groups(plan, model, lr=3e-3) if kind == "mup" else model.parameters()
        before = model[:-1](x).detach()
        taking = torch.optim.Adam(groups, lr=3e-3)
        for _ in range(3):
            taking.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            taking.step()
        changes.append((model[:-1](x) - before).square().mean().sqrt().item())
    growth = changes[-1] / changes[0]
    assert growth < 1.6 if kind == "mup" else growth > 3


def test_a_base_of_another_depth_is_refused():
    with pytest.raises(RecipeError, match="of another width"):
        xn.plan(net(32), xn.mup(net(16, depth=3), X), example=X)


def test_bad_input():
    model = net(16)
    plan = planned(model, "he")
    for options in ({"lr": 0.0}, {"lr": math.nan}, {"lr": 1e-3, "weight_decay": -1.0}):
        with pytest.raises(InvalidValueError, match="param_groups"):
            xn.param_groups(plan, model, **options)
    with pytest.raises(StalePlanError):
        xn.param_groups(plan, net(32), lr=1e-3)
    with pytest.raises(InvalidValueError, match="base is empty"):
        MuP(base=())
