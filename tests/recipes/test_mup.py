"""muP where the head is tied to the embedding: sizes that do not depend on the width, at the start and after steps."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecipeError

WORDS, BASE = 23, 64


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Language(nn.Module):
    def __init__(self, width, *, tied=True, bias=False):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(WORDS, width)
        self.blocks, self.norm = nn.Sequential(Block(width), Block(width)), nn.LayerNorm(width)
        self.head = nn.Linear(width, WORDS, bias=bias)
        if tied:
            self.head.weight = self.embed.weight

    def forward(self, ids):
        return self.head(self.norm(self.blocks(self.embed(ids))))


class WithoutHead(Language):
    def forward(self, ids):
        return {"logits": F.linear(self.norm(self.blocks(self.embed(ids))), self.embed.weight)}


def ids():
    torch.manual_seed(1)
    return torch.randint(0, WORDS, (32, 8))


def planned(width, **options):
    model = Language(width, **options)
    plan = xn.plan(model, xn.mup(Language(BASE, **options), ids()), example=ids())
    xn.apply(plan, model, seed=0)
    return plan, model


def change(plan, model, lr=1e-3, steps=4):
    """By how much some steps of Adam change the outputs."""
    x = ids()
    before = model(x).detach()
    taking = torch.optim.Adam(xn.param_groups(plan, model, lr=lr))
    for _ in range(steps):
        taking.zero_grad()
        F.cross_entropy(model(x).flatten(0, 1), x.roll(1, 1).flatten()).backward()
        taking.step()
    return (model(x).detach() - before).square().mean().sqrt().item()


def test_outputs_change_by_as_much_at_every_width():
    changes = {width: change(*planned(width)) for width in (64, 128, 256, 512)}
    assert max(changes.values()) < 1.3 * min(changes.values())


def test_without_the_constant_they_change_the_more_the_wider():
    """The same values and rates: what the constant is there for."""
    plan, model = planned(512)
    with torch.no_grad():
        model.head.branch_gate.fill_(1.0)
    assert change(plan, model) > 3 * change(*planned(64))


def test_the_tensor_is_an_embedding_and_the_head_is_divided():
    plan, model = planned(256)
    assert (plan.by_name["embed.weight"].rate, plan.by_name["embed.weight"].expected_std) == (1.0, 0.02)
    assert plan.by_name["blocks.0.up.weight"].rate == 0.25
    assert model.head.branch_gate.item() == 0.25
    assert not [name for name, _ in model.named_parameters() if "gate" in name]
    (left,) = xn.fuse(model).left  # the tensor is the embedding too
    assert left[0] == "head.branch_gate"
    assert xn.plan(Language(BASE), xn.mup(Language(BASE), ids()), example=ids()).gates == ()


def test_a_bias_behind_the_tied_map_learns_at_the_base_s_rate():
    plan, _ = planned(256, bias=True)
    assert plan.by_name["head.bias"].rate * 0.25 == 1.0


@pytest.mark.parametrize(
    ("base", "model", "words"),
    [
        (lambda: WithoutHead(BASE), lambda: WithoutHead(128), "embedding that is mapped by too"),
        (lambda: Language(BASE, tied=False), lambda: Language(128), "embedding that is mapped by too"),
        (lambda: Language(BASE), lambda: Language(128, tied=False), "1 map differs"),
    ],
)
def test_a_tie_that_no_module_maps_by_or_that_the_base_lacks_is_refused(base, model, words):
    made = model()
    with pytest.raises(RecipeError, match=words) as caught:
        xn.initialize(made, xn.mup(base(), ids()), ids(), seed=0)
    assert caught.value.fix
    assert not hasattr(made.head, "branch_gate")
