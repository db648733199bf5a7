"""looks-linear: the promise by running networks that are anything but linear."""

from itertools import pairwise

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecipeError
from gated_networks import Residual, vectors

DOUBLE = torch.float64


def chain(widths, activation=nn.ReLU):
    torch.manual_seed(0)
    layers = [layer for a, b in pairwise(widths) for layer in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers[:-1])


class Torus(nn.Module):
    """Convolutions on a torus, flattened into a head."""

    def __init__(self, widths=(4, 16, 16, 32), activation=torch.relu):
        super().__init__()
        convolution = {"kernel_size": 3, "padding": 1, "padding_mode": "circular"}
        self.maps = nn.ModuleList(nn.Conv2d(a, b, **convolution) for a, b in pairwise(widths))
        self.head, self.activation = nn.Linear(16 * widths[-1], 300), activation

    def forward(self, x):
        for layer in self.maps:
            x = self.activation(layer(x))
        return self.head(x.flatten(1))


def started(model, x, seed=0):
    xn.initialize(model, "looks-linear", x, seed=seed)
    return model.double()


def largest_gap_from_linear(model, shape):
    """Of sums and multiples of random inputs, relative to the outputs."""
    torch.manual_seed(2)
    x, y = torch.randn(2, 5, *shape, dtype=DOUBLE)
    with torch.no_grad():
        gap = model(x - 3 * y) - (model(x) - 3 * model(y))
        return (gap.abs().max() / model(x).abs().max()).item()


# Factors are rounded to float32, so that norms are kept to 1e-7 a layer; what cancels, cancels to float64's rounding.
ACTIVATIONS = {
    "relu": nn.ReLU,
    "leaky": lambda: nn.LeakyReLU(0.3),
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "softplus": nn.Softplus,
    "hardswish": nn.Hardswish,
    "none": nn.Identity,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_a_deep_chain_is_linear_and_keeps_every_norm(name):
    model = started(chain([6, *[32] * 40, 16], ACTIVATIONS[name]), torch.randn(2, 6))
    assert largest_gap_from_linear(model, (6,)) < 1e-9
    jacobian = torch.autograd.functional.jacobian(model, torch.randn(6, dtype=DOUBLE))
    torch.testing.assert_close(torch.linalg.svdvals(jacobian), torch.ones(6, dtype=DOUBLE), atol=1e-5, rtol=0)


def test_convolutions_and_a_flattened_head_are_linear_and_keep_every_norm():
    x = torch.randn(3, 4, 4, 4)
    model = started(Torus(), x)
    assert largest_gap_from_linear(model, (4, 4, 4)) < 1e-9
    with torch.no_grad():
        norms = model(x.double()).norm(dim=1) / x.double().flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3, dtype=DOUBLE), atol=1e-5, rtol=0)


def test_a_convolution_that_narrows_is_linear_still():
    x = torch.randn(3, 4, 4, 4)
    model = Torus(widths=(4, 32, 8, 8))
    plan = xn.plan(model, "looks-linear", example=x)
    assert "Orthogonal(gain=1.0)" in plan.by_name["maps.1.weight"].scheme
    xn.apply(plan, model, seed=0)
    assert largest_gap_from_linear(model.double(), (4, 4, 4)) < 1e-9


def test_the_paper_written_out():
    """W = [W0, -W0; -W0, W0] with W0 orthogonal, the first map and the head halves of that."""
    model = started(chain([4, 8, 8, 3]), torch.randn(2, 4))
    first, between, last = (model[place].weight.detach() for place in (0, 2, 4))
    w = between[:4, :4]
    torch.testing.assert_close(between, torch.cat([torch.cat([w, -w], 1), torch.cat([-w, w], 1)]), rtol=0, atol=0)
    torch.testing.assert_close(w @ w.T, torch.eye(4, dtype=DOUBLE), atol=1e-6, rtol=0)
    assert torch.equal(first[:4], -first[4:])
    assert torch.equal(last[:, :4], -last[:, 4:])
    x = torch.randn(5, 4, dtype=DOUBLE)
    torch.testing.assert_close(model(x).detach(), x @ (last[:, :4] @ w @ first[:4]).T)


def test_it_trains_out_of_its_pairs():
    """Pairs get gradients of their own: what one unit of a pair sees, the other does not."""
    model, (x, y) = chain([8, 32, 32, 4]), vectors()
    xn.initialize(model, "looks-linear", x, seed=0)
    found = xn.check(model, (x, y), criterion=nn.CrossEntropyLoss())
    assert found.ok
    before = model[2].weight.detach().clone()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    moved = model[2].weight.detach() - before
    assert (moved[:16] + moved[16:]).abs().max() > 0.1 * moved.abs().max()


class SideBySide(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.other, self.head = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(torch.relu(torch.cat([self.one(x), self.other(x)], 1)))


def frozen():
    model = chain([8, 16, 16, 4])
    model[2].weight.requires_grad_(requires_grad=False)
    return model


def endless():
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU())


ENCODER = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
REFUSED = {
    "odd widths": (lambda: chain([8, 15, 4]), "15 output units, which is odd"),
    "residual branches": (Residual, "Residual has residual branches"),
    "attention": (lambda: ENCODER, "has residual branches"),
    "norms": (lambda: nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4)), "NORM_SCALE"),
    "tanh": (lambda: chain([8, 16, 4], nn.Tanh), "followed by tanh, which does not cancel"),
    "elu": (lambda: chain([8, 16, 4], nn.ELU), "followed by elu"),
    "a trained slope": (lambda: chain([8, 16, 4], nn.PReLU), "has the role SCALE"),
    "one map": (lambda: nn.Linear(8, 4), "no map of role STEM"),
    "no head": (endless, "no map of role HEAD"),
    "frozen": (frozen, "'2.weight' is frozen"),
    "maps side by side": (SideBySide, "takes 32 inputs, which no one map gives out"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_chain_of_rectifiers_is_refused_and_left_alone(name):
    make, message = REFUSED[name]
    model, (x, _) = make(), vectors()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(RecipeError, match=message) as caught:
        xn.initialize(model, "looks-linear", x[:, None] if name == "attention" else x, seed=0)
    assert caught.value.fix
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_groups_are_refused():
    model = nn.Sequential(nn.Conv1d(4, 8, 1), nn.ReLU(), nn.Conv1d(8, 8, 1, groups=2), nn.ReLU(), nn.Conv1d(8, 2, 1))
    with pytest.raises(RecipeError, match="is no single map"):
        xn.plan(model, "looks-linear", example=torch.randn(2, 4, 5))
