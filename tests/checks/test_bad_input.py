"""What cannot be checked gives one clear error."""

import pytest
import torch
from torch import nn

from checked_models import CRITERION, mlp, vectors
from exnihilo import check
from exnihilo.errors import CheckError


def off_by_one():
    x, y = vectors()
    return x, y + 4


class Sizes(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(16, 8), nn.Linear(9, 4)

    def forward(self, x):
        return self.second(self.first(x))


def closed_over():
    model = mlp()
    return lambda _, batch: CRITERION(model(batch[0]), batch[1]), model


CASES = {
    "model raises": (Sizes, vectors, {"criterion": CRITERION}, "raises RuntimeError"),
    "labels out of range": (mlp, off_by_one, {"criterion": CRITERION}, "raises IndexError"),
    "not a scalar": (mlp, vectors, {"criterion": nn.CrossEntropyLoss(reduction="none")}, r"has shape \(8,\)|\(32,\)"),
    "not a tensor": (mlp, vectors, {"loss": lambda m, b: m(b[0]).sum().item()}, "is a float"),
    "whole number": (mlp, vectors, {"loss": lambda m, b: m(b[0]).argmax()}, "must be real"),
    "detached": (mlp, vectors, {"loss": lambda m, b: m(b[0]).detach().sum()}, "does not depend on any trainable"),
    "both": (mlp, vectors, {"loss": lambda m, b: 0, "criterion": CRITERION}, "Both loss and criterion"),
    "neither": (mlp, lambda: vectors()[0], {}, "returned no loss"),
    "no pair": (mlp, lambda: vectors()[0], {"criterion": CRITERION}, "must be a pair"),
    "not callable": (mlp, vectors, {"loss": 3}, "must be callable"),
    "nothing to train": (lambda: mlp().requires_grad_(False), vectors, {"criterion": CRITERION}, "no trainable"),
    "no parameters": (nn.ReLU, vectors, {"criterion": CRITERION}, "no trainable"),
    "meta": (lambda: mlp().to("meta"), vectors, {"criterion": CRITERION}, "meta device"),
    "lazy": (lambda: nn.LazyLinear(4), vectors, {"criterion": CRITERION}, "has no shape yet"),
    "scripted": (lambda: torch.jit.script(nn.Linear(16, 4)), vectors, {"criterion": CRITERION}, "ScriptModule"),
    "no samples": (mlp, lambda: (vectors()[0][:0], vectors()[1][:0]), {"criterion": CRITERION}, "holds no sample"),
    "not a module": (lambda: torch.sin, vectors, {"criterion": CRITERION}, "must be a torch.nn.Module"),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.jit.script tells of its own end
@pytest.mark.parametrize("case", CASES)
def test_it_is_one_error_that_says_what_to_do(case):
    make, batch, options, words = CASES[case]
    with pytest.raises(CheckError, match=words) as caught:
        check(make(), batch(), **options)
    assert "Fix: " in str(caught.value)


def test_an_error_in_a_model_says_where_with_its_shapes():
    with pytest.raises(CheckError) as caught:
        check(Sizes(), vectors(), criterion=CRITERION)
    assert "in 'second', a Linear" in str(caught.value)
    assert "weight (4, 9)" in str(caught.value)
    assert "(32, 16) float32" in str(caught.value)


def test_a_loss_that_ignores_its_model_is_found():
    loss, model = closed_over()
    with pytest.raises(CheckError, match="ignores its model argument"):
        check(model, vectors(), loss)


def test_a_batch_of_one_says_that_norms_need_two():
    with pytest.raises(CheckError, match="more than 1 value") as caught:
        check(
            nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)),
            (torch.ones(1, 16), torch.tensor([1])),
            criterion=CRITERION,
        )
    assert "batch normalization needs them" in str(caught.value)
