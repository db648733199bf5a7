"""Hooks that a model's class registers compute with it; those of its user stay silent."""

from functools import partial

import pytest
import torch
from torch import nn

from exnihilo import check

BATCH = (torch.randn(16, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4)


class Hooked(nn.Module):
    """A map whose output matters only through a hook of the class's own."""

    def __init__(self, how):
        super().__init__()
        self.map, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

        def inside(_module, _args, output):
            return torch.tanh(3 * output)

        hooks = {"a method": self.bend, "a function in a method": inside, "a partial of a method": partial(self.bend)}
        self.map.register_forward_hook(hooks[how])
        self.head.register_forward_pre_hook(self.only_seen_through_the_hook)

    def bend(self, _module, _args, output):
        return torch.tanh(3 * output)

    def only_seen_through_the_hook(self, _module, args):
        return (args[0].clamp(-1, 1),)

    def forward(self, x):
        return self.head(self.map(x))


@pytest.mark.parametrize("how", ["a method", "a function in a method", "a partial of a method"])
def test_a_models_own_hooks_run(how):
    torch.manual_seed(0)
    model = Hooked(how)
    expected = nn.functional.cross_entropy(model(BATCH[0])[:8], BATCH[1][:8]).item()
    found = check(model, BATCH, criterion=nn.CrossEntropyLoss())
    assert abs(found.facts.loss - expected) < 1e-5


def test_a_users_hooks_stay_silent():
    torch.manual_seed(0)
    model, heard = Hooked("a method"), []
    model.map.register_forward_hook(lambda *_: heard.append(1))
    check(model, BATCH, criterion=nn.CrossEntropyLoss())
    assert not heard
