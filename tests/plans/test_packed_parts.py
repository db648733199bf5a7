"""Maps that share a tensor in unequal or alternating parts each get a law by their own fans."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from exnihilo.plans.apply import apply
from exnihilo.plans.make import plan

HEADS, KEYS, WIDTH = 8, 2, 16
INNER = HEADS * WIDTH


class Grouped(nn.Module):
    """Queries of eight heads, then keys and values of two, in one map."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(INNER, INNER + 2 * KEYS * WIDTH, bias=False)
        self.out = nn.Linear(INNER, INNER)
        self.head = nn.Linear(INNER, 4)

    def forward(self, x):
        q, k, v = self.qkv(x).split([INNER, KEYS * WIDTH, KEYS * WIDTH], dim=-1)
        q, k, v = (t.unflatten(-1, (-1, WIDTH)).transpose(1, 2) for t in (q, k, v))
        k, v = (t.repeat_interleave(HEADS // KEYS, dim=1) for t in (k, v))
        return self.head(x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))


class Interleaved(nn.Module):
    """Query, key and value of one head after those of the other, in one map."""

    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(INNER, 3 * INNER, bias=False)
        self.out = nn.Linear(INNER, INNER)
        self.head = nn.Linear(INNER, 4)

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(-1, (HEADS, 3 * WIDTH)).transpose(1, 2).chunk(3, dim=-1)
        return self.head(x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)))


def parts_of(model):
    """The rows of query, key and value, by hand."""
    if isinstance(model, Grouped):
        weight = model.qkv.weight.detach()
        return weight.split([INNER, KEYS * WIDTH, KEYS * WIDTH])
    by_head = model.qkv.weight.detach().unflatten(0, (HEADS, 3, WIDTH))
    return [by_head[:, part].flatten(0, 1) for part in range(3)]


@pytest.fixture(params=[Grouped, Interleaved])
def model(request):
    return request.param()


def planned(model, recipe):
    made = plan(model, recipe, example=torch.zeros(2, 5, INNER))
    apply(made, model, seed=0)
    return made.by_name["qkv.weight"]


def test_orthogonal_parts_are_each_orthogonal(model):
    row = planned(model, "orthogonal")
    for part in parts_of(model):
        assert torch.allclose(torch.linalg.svdvals(part), torch.tensor(1.0), atol=1e-5)
    assert "each of 3 maps in one tensor" in row.reason


def test_xavier_takes_the_fans_of_each_part(model):
    row = planned(model, "xavier")
    for part in parts_of(model):
        found = part.pow(2).mean().sqrt().item()
        assert math.isclose(found, math.sqrt(2 / sum(part.shape)), rel_tol=0.05)
    assert row.scheme is not None
    assert row.scheme.startswith("Sliced(")


def test_a_law_of_fan_in_alone_needs_no_parts(model):
    assert planned(model, "he").scheme == "lecun_normal"
