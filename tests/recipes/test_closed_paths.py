"""adaln-zero, zero-conv and zero-gate: what runs, what opens and when, and what would never open."""

import math
import sys
from pathlib import Path

import pytest
import torch
from built_structures import parameter, schemes, structure
from frozen_trunks import Controlled, InARow, Prompted
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError, UnknownNameError
from exnihilo.recipes.named import recipe_named, recipe_text
from exnihilo.recipes.zero_conv import ZeroConv
from exnihilo.recipes.zero_gate import ZeroGate
from exnihilo.structure.records import Role

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from plain_models import diffusion_transformer


def initialize(model, recipe, example):
    xn.apply(xn.plan(model, recipe, example=example), model, seed=0)
    return model


def steps(model, batch, recipe):
    """The opening step of each trained parameter, as a check measures it."""
    initialize(model, recipe, batch)
    torch.manual_seed(1)
    target = torch.randn_like(model(*batch))
    return xn.check(model, batch, loss=lambda model, batch: (model(*batch) - target).square().mean()).opening_step


DIFFUSED = (torch.randn(2, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 700]))


def test_a_diffusion_transformer_opens_from_its_head_inwards():
    found = steps(diffusion_transformer(), DIFFUSED, "adaln-zero")
    # By hand: the head alone at 1; what modulates, and what a shortcut carries to the head, at 2; behind a gate, and
    # behind what modulates, at 3. A shift of all keys moves no attention: that part of a bias never matters.
    by_hand = {}
    for name in found:
        if name.startswith("last"):
            by_hand[name] = 1
        elif "modulate" in name or name.startswith("embed"):
            by_hand[name] = 2
        elif name.endswith("qkv.bias"):
            by_hand[name] = found[name]
        else:
            by_hand[name] = 3
    assert found == by_hand
    assert {found[f"blocks.{i}.{part}.weight"] for i in range(3) for part in ("qkv", "proj", "fc1", "fc2")} == {3}


def test_a_diffusion_transformer_starts_as_its_shortcuts_and_puts_out_zero():
    model = initialize(diffusion_transformer(), "adaln-zero", DIFFUSED)
    assert not model(*DIFFUSED).any()
    h, condition = torch.randn(2, 64, 32), torch.randn(2, 32)
    assert all(torch.equal(block(h, condition), h) for block in model.blocks)


def test_its_other_maps_are_xaviers_of_gain_1():
    model = initialize(diffusion_transformer(), "adaln-zero", DIFFUSED)
    for name in ("fc1", "fc2", "proj"):
        drawn = model.blocks[0].get_submodule(name).weight
        assert drawn.std().item() == pytest.approx(nn.init.xavier_uniform_(drawn.clone()).std().item(), rel=0.05)
    # Query, key and value are a matrix each: 2 / (32 + 32) by hand.
    assert model.blocks[0].qkv.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.05)


def test_with_epsilon_all_moves_at_the_first_step():
    found = steps(diffusion_transformer(), DIFFUSED, "adaln-zero(epsilon=0.001)")
    assert {step for name, step in found.items() if name.endswith("weight")} == {1}


# A copy beside its trunk.


def controlled_batch():
    made = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, 8, 8, generator=made), torch.randn(2, 2, 8, 8, generator=made)


def assigned(model, recipe, example):
    return {row.parameter for row in xn.plan(model, recipe, example=example).rows if row.action == "assign"}


JOINING = {f"{name}.{kind}" for name in ("enter", "leave.0", "leave.1") for kind in ("weight", "bias")}


def test_the_joining_maps_are_found_without_a_name_and_nothing_else_is_written():
    assert assigned(Controlled(), "zero-conv", controlled_batch()) == JOINING


def test_a_controlled_trunk_starts_as_the_trunk_alone_bit_for_bit():
    torch.manual_seed(0)
    model, (x, hint) = Controlled(), controlled_batch()
    alone = model.trunk(x)
    assert not torch.equal(model(x, hint), alone)
    initialize(model, "zero-conv", (x, hint))
    assert torch.equal(model(x, hint), alone)


def test_the_joining_maps_open_first_then_the_copy_then_its_hint():
    torch.manual_seed(0)
    found = steps(Controlled(), controlled_batch(), "zero-conv")
    # By hand: the leaving maps at 1; the copy, and what enters it, at 2; the hint behind the zero that enters, at 3.
    want = {"leave": 1, "copied": 2, "enter": 2, "hint": 3}
    assert found == {name: want[name.partition(".")[0]] for name in found}


def test_where_nothing_is_frozen_the_maps_are_to_be_named():
    batch = controlled_batch()
    with pytest.raises(RecipeError, match="no trained map of Controlled joins a path") as caught:
        xn.plan(Controlled(frozen=False), "zero-conv", example=batch)
    assert "frozen parameters: 0 of " in str(caught.value)
    named = ZeroConv(parameters="leave.*.weight")
    assert assigned(Controlled(frozen=False), named, batch) == {n for n in JOINING if n.startswith("leave")}
    assert recipe_named(recipe_text(named)) == named
    with pytest.raises(InvalidValueError, match=r"zero-conv\.parameters is 3; it must be a text or None"):
        recipe_named("zero-conv(parameters=3)")
    with pytest.raises(UnknownNameError, match=r"Pattern 'leaf.\*' matches no parameter"):
        xn.plan(Controlled(), ZeroConv(parameters="leaf.*"), example=batch)


def test_two_zeros_in_a_row_are_refused_and_would_indeed_never_open():
    torch.manual_seed(0)
    model, x = InARow(), torch.randn(5, 4)
    assert assigned(model, "zero-conv", x) == {"second.weight", "second.bias"}
    both = ZeroConv(parameters="*.weight")
    with pytest.raises(RecipeError, match=r"cannot close 'trunk.weight': it receives no gradient"):
        xn.plan(model, both, example=x)
    both = ZeroConv(parameters="[fs]*.weight")
    with pytest.raises(RecipeError, match=r"'second.weight' and 'first.weight' of InARow would be two zeros in a row"):
        xn.plan(model, both, example=x)
    xn.plan(model, ZeroConv(parameters="[fs]*.weight", epsilon=1e-3), example=x)
    for name in ("first", "second"):
        nn.init.zeros_(model.get_submodule(name).weight)
        nn.init.zeros_(model.get_submodule(name).bias)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(5):
        optimizer.zero_grad()
        (model(x) - 1.0).square().mean().backward()
        optimizer.step()
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"second.bias"}


@pytest.mark.parametrize("zero", ["first", "second"])
def test_a_zero_that_the_model_already_holds_next_to_a_planned_one_is_refused(zero):
    model, x = InARow(), torch.randn(5, 4)
    planned = "second" if zero == "first" else "first"
    nn.init.zeros_(model.get_submodule(zero).weight)
    nn.init.zeros_(model.get_submodule(zero).bias)
    with pytest.raises(RecipeError, match=f"'{planned}.weight' is planned zero, and '{zero}.weight', which is kept"):
        xn.plan(model, ZeroConv(parameters=f"{planned}.weight"), example=x)
    # Zeros in the bias of the first map may be planned too.
    with pytest.raises(RecipeError, match="two zeros in a row"):
        keep, zeros = f"{zero}.weight", {f"{planned}.weight": "zeros", "first.bias": "zeros"}
        xn.plan(model, "default", example=x, keep=keep, overrides=zeros)
    nn.init.ones_(model.first.bias)  # it feeds the second map
    xn.plan(model, "default", example=x, overrides={f"{planned}.weight": "zeros"})
    xn.plan(model, "zeros", example=x)  # both in its rows


# A gate beside a frozen attention.


@pytest.mark.parametrize("place", ["output", "scores"])
@pytest.mark.parametrize("gate", ["tanh", "plain"])
def test_a_gated_adapter_starts_as_its_trunk_and_the_gate_opens_first(gate, place):
    torch.manual_seed(0)
    model, x = Prompted(gate=gate, place=place), torch.randn(2, 3, 8)
    assert assigned(model, "zero-gate", x) == {"gate"}
    assert steps(model, (x,), "zero-gate") == {"gate": 1, "prompt": 2}
    assert torch.equal(model(x), model.bare(x))


def test_a_gate_that_no_zero_closes_is_not_taken():
    with pytest.raises(RecipeError, match="no trained scale of Prompted joins a path") as caught:
        xn.plan(Prompted(gate="sigmoid"), "zero-gate", example=torch.randn(2, 3, 8))
    assert "each trained scale: 'gate'" in str(caught.value)


def test_a_named_gate_closes_at_minus_its_offset():
    gate = parameter("gate", Role.BRANCH_SCALE, offset=1.0)
    found = schemes(ZeroGate(parameters="gate").assign(structure(gate, parameter("other", Role.SCALE))))
    assert {name: scheme.value for name, scheme in found.items()} == {"gate": -1.0}
    with pytest.raises(RecipeError, match="'other' means no map of Net") as caught:
        ZeroConv(parameters="other").assign(structure(gate, parameter("other", Role.SCALE)))
    assert caught.value.fix == 'recipe="zero-residual"'


@pytest.mark.parametrize(
    ("facts", "why"),
    [
        ({"frozen": True}, "receives no gradient"),
        ({"computed": True}, "divided by their own length"),
        ({"activation": "relu"}, "whose gradient at 0 is 0"),
        ({"activation": "sigmoid"}, "which is 0.5 at 0"),
    ],
)
def test_a_named_map_that_zeros_would_not_close_or_open_is_refused(facts, why):
    with pytest.raises(RecipeError) as caught:
        ZeroConv(parameters="z").assign(structure(parameter("z", Role.HIDDEN, **facts)))
    assert why in str(caught.value)


def test_a_low_rank_adapter_is_no_join_to_close():
    found = structure(parameter("up", Role.ADAPTER, joins=True), parameter("base", Role.HIDDEN, frozen=True))
    with pytest.raises(RecipeError, match="no trained map of Net joins"):
        ZeroConv().assign(found)


# A little noise in place of zeros.


class Block(nn.Module):
    def __init__(self, behind):
        super().__init__()
        self.up, self.down, self.behind = nn.Linear(64, 64), nn.Linear(64, 64), behind

    def forward(self, x):
        return x + self.behind(self.down(torch.relu(self.up(x))))


def test_with_epsilon_branches_are_nearly_closed_and_their_biases_are_zero():
    x = torch.randn(4, 64)
    model = nn.Sequential(Block(nn.Identity()), Block(nn.LayerNorm(64)), nn.Linear(64, 64))
    initialize(model, "zero-residual(epsilon=0.01)", x)
    assert model[0].down.weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert torch.equal(model[1].behind.weight, torch.full((64,), 0.01))
    assert not any(p.any() for p in (model[0].down.bias, model[1].behind.bias))
    initialize(model, "zero-head(epsilon=0.01)", x)
    assert model[2].weight.std().item() == pytest.approx(0.01, rel=0.05)
    assert not model[2].bias.any()


def test_with_epsilon_fixup_is_nearly_closed_and_all_of_it_moves_at_the_first_step():
    x = torch.randn(4, 64)
    model = nn.Sequential(nn.Linear(64, 64), Block(nn.Identity()), nn.Linear(64, 64))
    initialize(model, "fixup(epsilon=0.01)", x)
    for closed in (model[1].down, model[2]):
        assert closed.weight.std().item() == pytest.approx(0.01, rel=0.05)
    model(x).square().sum().backward()
    assert all(p.grad.any() for name, p in model.named_parameters() if name.endswith("weight"))
    initialize(plain := nn.Sequential(nn.Linear(64, 64), Block(nn.Identity()), nn.Linear(64, 64)), "fixup", x)
    assert not plain[1].down.weight.any() and not plain[2].weight.any()


def test_with_epsilon_the_copy_and_the_adapter_move_at_the_first_step():
    torch.manual_seed(0)
    found = steps(Controlled(), controlled_batch(), "zero-conv(epsilon=0.01)")
    assert {step for name, step in found.items() if name.endswith("weight")} == {1}
    assert steps(Prompted(), (torch.randn(2, 3, 8),), "zero-gate(epsilon=0.01)") == {"gate": 1, "prompt": 1}


def test_epsilon_is_beside_the_closing_value():
    gate = parameter("gate", Role.BRANCH_SCALE, offset=1.0, joins=True)
    found = schemes(ZeroGate(epsilon=0.25).assign(structure(gate)))
    assert {name: scheme.value for name, scheme in found.items()} == {"gate": -0.75}
