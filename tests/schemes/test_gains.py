"""Gains against closed forms, published values and random numbers."""

import itertools
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from scipy import integrate
from torch import Tensor

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.fills import Key, normal
from exnihilo.schemes.activations import ACTIVATIONS
from exnihilo.schemes.gains import gain

# Forward and backward, to the digits that were handed down.
PUBLISHED = {
    "relu": (1.4142, 1.4142),
    "leaky_relu": (1.4141, 1.4141),
    "gelu": (1.5335, 1.4811),
    "silu": (1.6765, 1.6233),
    "mish": (1.4868, 1.4448),
    "elu": (1.2452, 1.2234),
    "selu": (1.0000, 0.9660),
    "tanh": (1.5925, 1.4674),
    "sigmoid": (1.8462, 4.7226),
    "softplus": (1.0419, 1.8462),
    "hardswish": (1.7367, 1.6701),
    "relu_squared": (0.8165, 0.7071),
    "softsign": (2.3375, 2.0958),
    "sin": (1.5209, 1.3273),
}

CLOSED: dict[str, tuple[Callable[[Tensor], Tensor], float, float]] = {
    "linear": (lambda z: 3 * z, 1 / 3, 1 / 3),
    "relu": (F.relu, math.sqrt(2), math.sqrt(2)),
    "leaky_relu": (lambda z: F.leaky_relu(z, 0.3), math.sqrt(2 / 1.09), math.sqrt(2 / 1.09)),
    "relu_squared": (lambda z: F.relu(z).square(), math.sqrt(2 / 3), math.sqrt(1 / 2)),
    "abs": (torch.abs, 1.0, 1.0),
    "cube": (lambda z: z**3, 1 / math.sqrt(15), 1 / math.sqrt(27)),
    "sin": (torch.sin, math.sqrt(2 / (1 - math.exp(-2))), math.sqrt(2 / (1 + math.exp(-2)))),
    "cos": (torch.cos, math.sqrt(2 / (1 + math.exp(-2))), math.sqrt(2 / (1 - math.exp(-2)))),
    "exp": (torch.exp, math.exp(-1), math.exp(-1)),
    "kink_off_the_grid": (
        lambda z: F.relu(z - 0.123456789),
        # E relu(z - c)² = (1 + c²) Q(c) - c φ(c); E of its squared slope is Q(c).
        1
        / math.sqrt(
            (1 + 0.123456789**2) * math.erfc(0.123456789 / math.sqrt(2)) / 2
            - 0.123456789 * math.exp(-(0.123456789**2) / 2) / math.sqrt(2 * math.pi)
        ),
        1 / math.sqrt(math.erfc(0.123456789 / math.sqrt(2)) / 2),
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_named_activations_have_the_published_gains(name: str) -> None:
    function = ACTIVATIONS[name].function
    assert (round(gain(function), 4), round(gain(function, "backward"), 4)) == PUBLISHED[name]


@pytest.mark.parametrize("name", CLOSED)
def test_gains_equal_closed_forms_to_nine_digits(name: str) -> None:
    function, forward, backward = CLOSED[name]
    assert gain(function) == pytest.approx(forward, rel=1e-9)
    assert gain(function, "backward") == pytest.approx(backward, rel=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_gains_restore_the_mean_square_of_random_numbers(name: str) -> None:
    """2^20 normals, forward and by finite differences backward; 2 % is above 5 sigma for every activation here."""
    z = normal(Key(0, "gains"), 2**20).double()
    function = ACTIVATIONS[name].function
    assert (gain(function) * function(z)).square().mean().item() == pytest.approx(1.0, rel=0.02)
    slope = (function(z + 1e-6) - function(z - 1e-6)) / 2e-6
    assert (gain(function, "backward") * slope).square().mean().item() == pytest.approx(1.0, rel=0.02)


@pytest.mark.parametrize(
    ("name", "kinks"), [("hardsigmoid", [-3, 3]), ("hardswish", [-3, 3]), ("elu", [0]), ("selu", [0])]
)
def test_kinked_activations_agree_with_a_quadrature_that_is_told_the_kinks(name: str, kinks: list[float]) -> None:
    function = ACTIVATIONS[name].function

    def integrand(z: float) -> float:
        value = function(torch.tensor(z, dtype=torch.float64)).item()
        return value**2 * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)

    edges = [-12.0, *kinks, 12.0]
    moment = sum(integrate.quad(integrand, a, b, epsabs=1e-13)[0] for a, b in itertools.pairwise(edges))
    # PyTorch's own constants of these functions are float32's for some.
    assert gain(function) == pytest.approx(1 / math.sqrt(moment), rel=1e-9)


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_functions_that_work_in_place_or_without_gradients_are_measured_alike(direction: str) -> None:
    with torch.no_grad():
        assert gain(F.relu_, direction) == pytest.approx(math.sqrt(2), rel=1e-9)  # pyright: ignore[reportArgumentType]
    with torch.inference_mode():
        assert gain(torch.relu, direction) == pytest.approx(math.sqrt(2), rel=1e-9)  # pyright: ignore[reportArgumentType]
    with torch.device("meta"):
        assert gain(torch.relu, direction) == pytest.approx(math.sqrt(2), rel=1e-9)  # pyright: ignore[reportArgumentType]


def test_a_module_is_a_callable_too() -> None:
    assert gain(torch.nn.PReLU(init=0.25).double()) == pytest.approx(math.sqrt(2 / 1.0625), rel=1e-9)


def zero(z: Tensor) -> Tensor:
    return 0 * z


UNUSABLE: list[tuple[Callable[[Tensor], object], str, str]] = [
    (zero, "forward", "Function 'zero' has no forward gain: E[f(z)**2] is 0 under standard normal input."),
    (torch.sign, "backward", "Function 'sign' has no backward gain: E[f'(z)**2] is 0 under standard normal input."),
    (torch.log, "forward", "Function 'log' has no gain: it is NaN at z = -19.9967."),
    (torch.sum, "forward", "Function 'sum' has no gain: it is not pointwise."),
    (lambda z: 1.0, "forward", "Function '<lambda>' has no gain: it is not pointwise."),
    (
        lambda z: z.detach(),
        "backward",
        "Function '<lambda>' has no backward gain: its result does not depend on its input for autograd.",
    ),
    (
        torch.reciprocal,
        "forward",
        "Function 'reciprocal' has no forward gain: E[f(z)**2] does not converge under standard normal input.",
    ),
    (
        lambda z: torch.exp(z * z / 3),
        "forward",
        "Function '<lambda>' has no forward gain: E[f(z)**2] does not converge under standard normal input.",
    ),
    (
        lambda z: torch.exp(z**4),
        "forward",
        "Function '<lambda>' has no forward gain: E[f(z)**2] does not converge under standard normal input.",
    ),
    (
        lambda z: torch.sin(1e9 * z) * z,
        "forward",
        "Function '<lambda>' has no forward gain: E[f(z)**2] does not converge under standard normal input.",
    ),
]


@pytest.mark.parametrize(("function", "direction", "fact"), UNUSABLE)
def test_functions_without_a_gain_say_why(function: Callable[[Tensor], Tensor], direction: str, fact: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        gain(function, direction)  # pyright: ignore[reportArgumentType]
    lines = str(caught.value).splitlines()
    assert lines[0] == fact
    assert lines[-2].startswith("  Fix: ")


def test_a_mistyped_direction_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown direction 'backwards'\. Did you mean 'backward'"):
        gain(torch.relu, "backwards")  # pyright: ignore[reportArgumentType]
