"""How many passes a diagnosis takes: a healthy model pays for little more than one training step."""

import closed
import pytest
import torch
from torch import nn

import gated
from exnihilo.checks.check import check
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question


class Counting(torch.autograd.Function):
    """Counts the passes through it, in a list that copies of its model share."""

    @staticmethod
    def forward(ctx, x, counts):
        ctx.counts = counts
        counts()[0] += 1
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        ctx.counts()[1] += 1
        return grad, None


class Counted(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model, counts = model, [0, 0]
        self.counts = lambda: counts

    def forward(self, *args):
        return Counting.apply(self.model(*args), self.counts)


def plain():
    return gated.Case(nn.Sequential(nn.Linear(8, 8), nn.GELU(), nn.Linear(8, 4)), gated.samples(), CRITERION)


def convolutional():
    return gated.Case(gated.ResNet(), gated.images(), CRITERION)


class Scaled(nn.Module):
    """A branch behind a LayerScale of many channels: equal at first, and some of them equal by chance after a step."""

    def __init__(self, width=512):
        super().__init__()
        self.stem, self.map, self.head = nn.Conv2d(3, width, 3), nn.Conv2d(width, width, 1), nn.Linear(width, 4)
        self.scale = nn.Parameter(torch.full((width, 1, 1), 1e-6))

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.scale * torch.tanh(self.map(x))).mean((2, 3)))


def layer_scale():
    return gated.Case(Scaled(), gated.images(), CRITERION)


CRITERION = nn.CrossEntropyLoss()
# Forward and backward passes: one forward more for what is not looked at of the batch; a second backward, which tells
# rounding, where a gradient is small; and a step more to see what opens there.
HEALTHY = {
    "a plain net": (plain, 2, 2),
    "a convolutional net": (convolutional, 2, 2),
    "a wide LayerScale": (layer_scale, 2, 2),
    "zero-gamma": (gated.zero_gamma, 4, 4),
    "a zero head": (gated.zero_head, 4, 4),
    "LoRA": (gated.lora, 4, 4),
    "adaLN-Zero": (gated.dit, 5, 6),
    "attention with the bias of a key": (lambda: gated.Case(closed.Attention(), closed.tokens(), CRITERION), 3, 2),
    "a bias before batch norm": (closed.bias_before_batch_norm, 3, 2),
    "words that the batch lacks": (closed.absent_words, 2, 2),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_passes_are_few(name):
    torch.manual_seed(0)
    make, most_forward, most_backward = HEALTHY[name]
    case = make()
    model = Counted(case.model)
    learning_of(model, Question(batch=case.batch, criterion=case.criterion))
    forward, backward = model.counts()
    assert 1 <= forward <= most_forward
    assert 1 <= backward <= most_backward


@pytest.mark.parametrize("name", HEALTHY)
def test_all_of_a_check_takes_two_forward_passes_more(name):
    """Those of the loss for zero outputs, and of samples in other places; all signals come from the first pass."""
    torch.manual_seed(0)
    make, most_forward, most_backward = HEALTHY[name]
    case = make()
    model = Counted(case.model)
    assert check(model, case.batch, criterion=case.criterion).ok
    forward, backward = model.counts()
    assert forward <= most_forward + 2
    assert backward <= most_backward
