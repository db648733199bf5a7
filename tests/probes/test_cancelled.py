"""Gradients that only cancel, beside those of what is removed."""

import torch
from torch import nn

from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question


def fates(model, n=16):
    torch.manual_seed(1)
    question = Question(batch=(torch.randn(n, 8), torch.arange(n) % 4), criterion=nn.CrossEntropyLoss())
    return {opening.parameter: opening.fate for opening in learning_of(model, question).openings}


def test_the_bias_of_a_head_that_gives_out_nothing_is_not_removed():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
    nn.init.normal_(model[2].weight, std=1e-7)
    nn.init.zeros_(model[2].bias)
    assert fates(model)["2.bias"] != "invariant"


def test_a_bias_in_front_of_a_norm_is():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 4))
    assert fates(model)["0.bias"] == "invariant"
