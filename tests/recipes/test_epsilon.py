"""The variants with a small number in place of zero: all moves at the first step, and what is written is small."""

import pytest
import torch

import exnihilo as xn
from exnihilo.errors import InvalidValueError
from gated_networks import CRITERION, Residual, vectors


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("zero-residual(epsilon=1e-6)", "blocks.0.last.weight"),
        ("zero-head(epsilon=1e-6)", "head.weight"),
        ("rezero(epsilon=1e-6)", "blocks.0.last.branch_gate"),
        ("skipinit(epsilon=1e-6)", "blocks.0.last.branch_gate"),
        ("layerscale(value=1e-6)", "blocks.0.last.branch_gate"),
    ],
)
def test_a_small_number_opens_all_at_once(recipe, name):
    torch.manual_seed(0)
    model, batch = Residual(), vectors()
    xn.initialize(model, recipe, batch[0], seed=0)
    written = model.get_parameter(name).detach()
    assert 0 < written.abs().max() < 1e-5
    steps = xn.check(model, batch, criterion=CRITERION).opening_step
    # Of a head that gives out nothing, on classes of equal number, the gradients of biases cancel.
    assert {step for parameter, step in steps.items() if "head" not in recipe or "bias" not in parameter} == {1}


@pytest.mark.parametrize("recipe", ["zero-residual", "zero-head", "adaln-zero", "zero-conv", "zero-gate"])
def test_a_negative_one_is_refused(recipe):
    with pytest.raises(InvalidValueError, match=rf"{recipe}\.epsilon"):
        xn.plan(Residual(), f"{recipe}(epsilon=-1.0)", example=vectors()[0])
