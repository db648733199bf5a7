"""A check leaves everything bit for bit as it was."""

import copy
import random

import numpy as np
import pytest
import torch
from torch import nn

from checked_models import CRITERION, ResNet, Routed, images, mlp, vectors, zero
from exnihilo import check
from exnihilo.errors import CheckError


def state(model):
    """All that a check might leave changed, as plain values and identities."""
    own = {
        name: (id(t), t.detach().clone(), t.requires_grad, id(t.grad), None if t.grad is None else t.grad.clone())
        for name, t in [*model.named_parameters(), *model.named_buffers()]
    }
    modules = [
        (
            name,
            m.training,
            {k: len(v) for k, v in vars(m).items() if "hooks" in k and hasattr(v, "__len__")},
            len(vars(m)),
        )
        for name, m in model.named_modules()
    ]
    world = [
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
        torch.is_grad_enabled(),
        torch.is_autocast_enabled("cpu"),
        torch.get_autocast_dtype("cpu"),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    ]
    return own, modules, world


def same(first, second):
    return (
        all(
            a[0] == b[0] and torch.equal(a[1], b[1]) and a[2:4] == b[2:4] and (a[4] is None or torch.equal(a[4], b[4]))
            for a, b in zip(first[0].values(), second[0].values(), strict=True)
        )
        and first[1:] == second[1:]
    )


def broken_mlp():
    model = mlp()
    zero(model[3].weight, model[3].bias)
    return model


MODELS = {
    "healthy": (mlp, vectors),
    "broken": (broken_mlp, vectors),
    "dropout": (lambda: mlp(dropout=0.5), vectors),
    "norms and buffers": (ResNet, images),
    "dead end with buffers": (lambda: ResNet(skip=False), images),
    "router": (lambda: Routed(normalized=True), vectors),
    "evaluation mode": (lambda: ResNet().eval(), images),
    "half frozen": (lambda: frozen(mlp()), vectors),
    "double": (lambda: broken_mlp().double(), lambda: (vectors()[0].double(), vectors()[1])),
    "bfloat16": (lambda: broken_mlp().bfloat16(), lambda: (vectors()[0].bfloat16(), vectors()[1])),
    "spectral norm": (lambda: nn.Sequential(nn.utils.spectral_norm(nn.Linear(16, 8)), nn.Linear(8, 4)), vectors),
    "parametrized": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(16, 8)), nn.Linear(8, 4)),
        vectors,
    ),
    "tied": (lambda: tied(), vectors),
    "compiled": (lambda: torch.compile(mlp()), vectors),
    "parallel": (lambda: nn.DataParallel(mlp()), vectors),
}


def frozen(model):
    model[0].requires_grad_(False)
    return model


def tied():
    model = nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 4))
    model[2].weight = model[0].weight
    return model


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # what torch.compile imports tells of its end
@pytest.mark.parametrize("case", MODELS)
def test_nothing_is_left_changed(case):
    make, batch = MODELS[case]
    model, given = make(), batch()
    called = []
    model.register_forward_hook(lambda *_: called.append("forward"))
    first = next(module for module in model.modules() if isinstance(module, nn.Linear | nn.Conv2d))
    first.register_full_backward_hook(lambda *_: called.append("backward"))
    list(model.parameters())[-1].grad = torch.ones_like(list(model.parameters())[-1])
    before, kept = state(model), copy.deepcopy(given)
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        inside = state(model)
        check(model, given, criterion=CRITERION)
        assert same(inside, state(model))
    assert same(before, state(model))
    assert called == []
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))


def test_a_model_that_raises_is_left_as_it_was():
    model = ResNet()
    before = state(model)
    with pytest.raises(CheckError, match="raises"):
        check(model, vectors(), criterion=CRITERION)
    assert same(before, state(model))


def test_a_model_that_cannot_be_copied_is_checked_in_place_and_put_back():
    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.norm = broken_mlp(), nn.BatchNorm1d(16)
            self.stream = (number for number in range(3))  # generators cannot be copied

        def forward(self, x):
            return self.net(self.norm(x))

    model = Stubborn()
    before = state(model)
    found = check(model, vectors(), criterion=CRITERION)
    assert found.findings[0].code == "stuck-saddle"
    assert found.findings[0].parameters[0] == "net.3.weight"
    assert same(before, state(model))


def test_the_state_compared_here_sees_what_it_should():
    model = ResNet()
    before = state(model)
    model(images()[0])  # moves running statistics
    assert not same(before, state(model))
    model = mlp()
    before = state(model)
    torch.rand(1)
    assert not same(before, state(model))
