"""idinit: what real modules hand on, with PyTorch's own unfolding as the oracle."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import RepeatedIdentity
from gated_networks import CRITERION, Images, Residual, pictures, vectors


def summed(inputs, units):
    """Of each unit: the inputs whose number is its own, modulo the smaller count; written out."""
    n = min(inputs.shape[1], units)
    rows = [sum(inputs[:, j] for j in range(inputs.shape[1]) if j % n == i % n) for i in range(units)]
    return torch.stack(rows, 1)


def loaded(module, gain=1.0):
    layout = Layout.of(module, "weight")
    module.weight.data = RepeatedIdentity(gain=gain).sample(layout, Key(0, "w"))
    return module


@pytest.mark.parametrize(("in_", "out"), [(8, 8), (5, 12), (12, 5), (1, 4)])
def test_a_map_hands_on_repeats_or_sums(in_, out):
    x = torch.randn(7, in_)
    y = loaded(nn.Linear(in_, out, bias=False), gain=-0.5)(x)
    torch.testing.assert_close(y.detach(), -0.5 * summed(x, out))


@pytest.mark.parametrize(("in_", "out", "kernel"), [(4, 8, 3), (8, 4, 3), (2, 32, 3), (3, 6, 1)])
def test_a_kernel_is_a_matrix_as_pytorch_unfolds_it(in_, out, kernel):
    x = torch.randn(2, in_, 6, 6)
    y = loaded(nn.Conv2d(in_, out, kernel, padding=kernel // 2, bias=False))(x).detach()
    patches = nn.functional.unfold(x, kernel, padding=kernel // 2)
    torch.testing.assert_close(y.flatten(2), summed(patches, out))


def test_groups_each_hand_on_their_own():
    x = torch.randn(2, 6, 5)
    y = loaded(nn.Conv1d(6, 12, 1, groups=2, bias=False))(x).detach()
    torch.testing.assert_close(y, torch.cat([x[:, :3], x[:, :3], x[:, 3:], x[:, 3:]], 1))


@pytest.mark.parametrize(("make", "batch"), [(Residual, vectors), (Images, pictures)])
def test_nothing_is_zero_and_everything_moves_at_the_first_step(make, batch):
    model, (x, y) = make(), batch()
    xn.initialize(model, "idinit", x, seed=0)
    for name, parameter in model.named_parameters():
        if name.endswith("weight"):
            rows = parameter.detach().flatten(1)
            assert rows.any(dim=0).all()
            assert rows.any(dim=1).all()
    found = xn.check(model, (x, y), criterion=CRITERION)
    assert found.ok
    assert set(found.opening_step.values()) == {1}


def test_each_branch_adds_epsilon_times_what_arrives():
    """By hand: the first maps repeat x twice, the last sum both copies behind the ReLU, times epsilon."""
    model, (x, _) = Residual(blocks=1), vectors()
    xn.initialize(model, "idinit(epsilon=0.125, noise=0)", x, seed=0)
    x = torch.randn(4, 16)
    torch.testing.assert_close(model.blocks(x).detach(), x + 0.125 * 2 * torch.relu(x))
    xn.initialize(model, "idinit", vectors()[0], seed=0)
    assert (model.blocks(x) - x).abs().max() < 1e-4


def test_noise_tells_repeated_units_apart():
    """The head sums 16 inputs in 4: without noise the stem's copies of one input stay equal for ever."""
    (x, y), found = vectors(), {}
    for noise in ("0", "1e-6"):
        model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
        xn.initialize(model, f"idinit(noise={noise})", x, seed=0)
        twins = xn.check(model, (x, y), criterion=CRITERION).with_severity("FAIL")
        found[noise] = [finding.code for finding in twins]
    assert found == {"0": ["twin-units"], "1e-6": []}


def test_the_noise_is_that_of_the_seed():
    model, (x, _) = Residual(), vectors()
    xn.initialize(model, "idinit(noise=0.01)", x, seed=0)
    residue = model.stem.weight.detach() - torch.eye(8).repeat(2, 1)
    assert residue.std().item() == pytest.approx(0.01, rel=0.2)
    xn.initialize(model, "idinit(tau=2, noise=0)", x, seed=0)
    assert torch.equal(model.stem.weight.detach(), 2 * torch.eye(8).repeat(2, 1))


def test_numbers_that_make_no_sense_are_refused():
    with pytest.raises(InvalidValueError, match=r"idinit\.noise is -1"):
        xn.plan(Residual(), "idinit(noise=-1.0)", example=vectors()[0])
    with pytest.raises(InvalidValueError, match=r"idinit\.epsilon is inf"):
        xn.plan(Residual(), "idinit(epsilon=inf)", example=vectors()[0])
