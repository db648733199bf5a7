"""ZerO, delta-orthogonal, SIREN and prior-bias: their promises by running models, and against others' matrices."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import hadamard
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError, UnknownNameError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Hadamard
from gated_networks import Residual, vectors


@pytest.mark.parametrize(("out", "in_"), [(8, 8), (16, 5), (12, 7), (300, 64), (1, 1)])
@pytest.mark.parametrize("scale", ["paper", "notebook"])
def test_hadamard_is_scipys(out, in_, scale):
    bits = math.ceil(math.log2(out))
    whole = hadamard(2**bits)[:out, :in_]
    factor = {"paper": 2 ** (-(bits - 1) / 2), "notebook": 2 ** (-bits / 2)}[scale]
    drawn = Hadamard(scale=scale).sample(Layout.linear(out, in_), Key(0, "w"))
    np.testing.assert_allclose(drawn.numpy(), whole * factor, rtol=1e-6)
    promise = Hadamard(scale=scale).expected_std(Layout.linear(out, in_))
    assert promise == pytest.approx(drawn.double().std(correction=0).item(), abs=1e-7)


def test_a_square_hadamard_of_the_notebook_is_orthogonal():
    drawn = Hadamard(scale="notebook").sample(Layout.linear(64, 64), Key(0, "w"))
    torch.testing.assert_close(drawn @ drawn.T, torch.eye(64))


def test_a_kernel_holds_it_at_its_center():
    drawn = Hadamard().sample(Layout.conv(8, 4, (3, 3)), Key(0, "w"))
    assert (drawn[:, :, 1, 1] != 0).all()
    drawn[:, :, 1, 1] = 0
    assert not drawn.any()


def test_identity_hadamard_has_no_randomness_and_closes_its_branches():
    models = [Residual(), Residual()]
    x, y = vectors()
    for seed, model in enumerate(models):
        torch.manual_seed(seed)
        xn.initialize(model, "identity-hadamard", x, seed=seed)
    for one, other in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(one, other)
    assert xn.certify(models[0], x).exact
    torch.testing.assert_close(models[0].blocks[0].first.weight.detach()[:, 0], torch.full((32,), 2**-2.0))
    found = xn.check(models[0], (x, y), criterion=nn.CrossEntropyLoss())
    assert not [finding for finding in found.with_severity("FAIL") if finding.code == "stuck-saddle"]


def test_an_unknown_scale_is_refused():
    with pytest.raises(UnknownNameError, match="paper"):
        xn.plan(Residual(), "identity-hadamard(scale=other)", example=vectors()[0])


class Plain(nn.Module):
    """Convolutions on a torus, without activations or shortcuts."""

    def __init__(self, depth=20, narrow=False):
        super().__init__()
        widths = [8, *[16] * depth] if not narrow else [16, 8, 8]
        self.maps = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1, padding_mode="circular", bias=False) for a, b in pairwise(widths)
        )

    def forward(self, x):
        for layer in self.maps:
            x = layer(x)
        return x


def test_delta_orthogonal_keeps_every_norm_at_any_depth():
    model, x = Plain(), torch.randn(3, 8, 6, 6)
    xn.initialize(model, "delta-orthogonal", x, seed=0)
    with torch.no_grad():
        norms = model(x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    torch.testing.assert_close(norms, torch.ones(3), atol=1e-4, rtol=1e-4)


def test_three_hundred_tanh_convolutions_hand_gradients_through_undiminished():
    maps = [nn.Conv2d(8 if i else 1, 8, 3, padding=1) for i in range(300)]
    model = nn.Sequential(*(layer for conv in maps for layer in (conv, nn.Tanh())))
    x = torch.randn(16, 1, 6, 6, generator=torch.Generator().manual_seed(0))

    def gradients(gain: str) -> list[float]:
        xn.initialize(model, f"delta-orthogonal{gain}", x, seed=0)
        model.zero_grad()
        model(x).square().sum().backward()
        return [float(conv.weight.grad.norm()) for conv in maps[1:]]

    norms = gradients("")
    assert max(norms) < 30 * min(norms)
    grown = gradients("(gain=1.59)")  # keeps the mean square of tanh
    assert not math.isfinite(grown[0]) or grown[0] > 1e6 * grown[-1]


def test_delta_orthogonal_refuses_what_narrows_and_what_has_no_kernel():
    with pytest.raises(RecipeError, match="no isometry for"):
        xn.plan(Plain(narrow=True), "delta-orthogonal", example=torch.randn(1, 16, 6, 6))
    with pytest.raises(RecipeError, match="is for convolutions"):
        xn.plan(Residual(), "delta-orthogonal", example=vectors()[0])


class Sines(nn.Module):
    def __init__(self, depth=6, width=256, omega=30.0):
        super().__init__()
        widths = [2, *[width] * depth]
        self.maps = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.head, self.omega = nn.Linear(width, 1), omega

    def forward(self, x):
        return self.head(self.hidden(x)[-1])

    def hidden(self, x):
        found = []
        for layer in self.maps:
            x = torch.sin(self.omega * layer(x))
            found.append(x)
        return found


@pytest.mark.parametrize("omega", [30.0, 10.0])
def test_a_siren_keeps_its_signal_at_every_depth(omega):
    torch.manual_seed(0)
    model, x = Sines(omega=omega), 2 * torch.rand(512, 2) - 1
    xn.initialize(model, f"siren(omega={omega})", x, seed=0)
    with torch.no_grad():
        squares = [h.square().mean().item() for h in model.hidden(x)]
    for square in squares[1:]:
        assert square == pytest.approx(0.5, abs=0.1)
    assert model.maps[0].weight.abs().max() <= 0.5
    assert model.maps[3].weight.abs().max() <= (6 / 256) ** 0.5 / omega


def test_siren_needs_a_sine():
    with pytest.raises(RecipeError, match="networks of sines"):
        xn.plan(Residual(), "siren", example=vectors()[0])
    with pytest.raises(InvalidValueError, match=r"siren\.omega"):
        xn.plan(Sines(), "siren(omega=0)", example=torch.zeros(1, 2))


def test_a_prior_bias_starts_at_the_entropy_of_the_prior():
    torch.manual_seed(0)
    model, x = Residual(), torch.randn(4000, 8)
    prior = torch.tensor([0.7, 0.2, 0.05, 0.05])
    y = torch.multinomial(prior, 4000, replacement=True)
    with torch.no_grad():
        model.head.weight.mul_(0.01)
    before = model.head.weight.clone()
    xn.initialize(model, "prior-bias(class_prior=(0.7, 0.2, 0.05, 0.05))", x[:8], seed=0)
    assert torch.equal(model.head.weight, before)
    loss = nn.functional.cross_entropy(model(x), y).item()
    assert loss == pytest.approx(-(prior * prior.log()).sum().item(), abs=0.03)


def test_a_prior_bias_of_one_probability_is_retinanets():
    plan = xn.plan(Residual(), "prior-bias", example=vectors()[0])
    assert plan.by_name["head.bias"].scheme == f"Values(values=({math.log(0.01 / 0.99)},))"


def test_a_prior_needs_a_bias():
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4, bias=False))
    with pytest.raises(RecipeError, match="no head with a bias"):
        xn.plan(model, "prior-bias", example=vectors()[0])
    with pytest.raises(InvalidValueError):
        xn.plan(Residual(), "prior-bias(class_prior=1.5)", example=vectors()[0])
