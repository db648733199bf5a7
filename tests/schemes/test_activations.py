"""The named activations: PyTorch's own, and what they do at zero."""

import math

import pytest
import torch

from exnihilo.errors import UnknownNameError
from exnihilo.schemes.activations import ACTIVATIONS, activation_named

# Value and slope at zero, by hand; PyTorch takes 0 for the slope of a function of the ReLU family at its kink.
AT_ZERO = {
    "linear": (0, 1),
    "relu": (0, 0),
    "leaky_relu": (0, 0.01),
    "tanh": (0, 1),
    "sigmoid": (0.5, 0.25),
    "softplus": (math.log(2), 0.5),
    "hardsigmoid": (0.5, 1 / 6),
    "gelu": (0, 0.5),
    "silu": (0, 0.5),
    "elu": (0, 1),
    "selu": (0, 1.0507009873554805 * 1.6732632423543772),
    "mish": (0, math.tanh(math.log(2))),
    "sin": (0, 1),
    "cos": (1, 0),
    "hardswish": (0, 0.5),
    "relu_squared": (0, 0),
    "softsign": (0, 1),
}


def test_the_table_by_hand_names_every_activation() -> None:
    assert set(AT_ZERO) == set(ACTIVATIONS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_value_and_slope_at_zero_are_those_by_hand(name: str) -> None:
    activation = activation_named(name)
    value, slope = AT_ZERO[name]
    assert activation.name == name
    # PyTorch's hardsigmoid holds 1/6 in float32.
    assert activation.value_at_zero == pytest.approx(value, rel=1e-12)
    assert activation.slope_at_zero == pytest.approx(slope, rel=1e-7)
    assert math.copysign(1.0, activation.slope_at_zero) == 1.0


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_functions_map_each_entry_by_itself_and_leave_the_input(name: str) -> None:
    function = ACTIVATIONS[name].function
    x = torch.linspace(-3, 3, 12, dtype=torch.float64).reshape(3, 4)
    kept = x.clone()
    y = function(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert torch.equal(x, kept)
    assert y.data_ptr() != x.data_ptr()
    single = torch.stack([function(entry) for entry in x.flatten()]).reshape(x.shape)
    torch.testing.assert_close(y, single)


def test_measuring_at_zero_does_not_depend_on_the_callers_modes() -> None:
    with torch.no_grad(), torch.device("meta"):
        assert activation_named("tanh").slope_at_zero == 1.0
    with torch.inference_mode():
        assert activation_named("tanh").slope_at_zero == 1.0


def test_a_mistyped_activation_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        activation_named("sigmiod")
    assert str(caught.value).splitlines()[0] == "Unknown activation 'sigmiod'. Did you mean 'sigmoid'?"
