"""The activations that can be named, and what decides how they treat a network of zeros."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.errors import UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Activation:
    """A pointwise function with a name.

    Args:
        name: Its key in ``ACTIVATIONS``.
        function: PyTorch's own function, with its default arguments.

    Example:
        >>> sigmoid = activation_named("sigmoid")
        >>> sigmoid.value_at_zero, sigmoid.slope_at_zero
        (0.5, 0.25)
    """

    name: str
    function: Callable[[Tensor], Tensor]

    @property
    def value_at_zero(self) -> float:
        """``f(0)``: what every unit of a layer of zeros hands on."""
        return self._at_zero()[0]

    @property
    def slope_at_zero(self) -> float:
        """``f'(0)`` as autograd takes it (0 for ReLU): the factor on every gradient that crosses a layer of zeros."""
        return self._at_zero()[1]

    def _at_zero(self) -> tuple[float, float]:
        with torch.inference_mode(mode=False), torch.enable_grad():
            zero = torch.zeros((), dtype=torch.float64, device="cpu", requires_grad=True)
            value = self.function(zero)
            (slope,) = torch.autograd.grad(value, zero)
        # Adding 0 turns a slope of -0, such as that of cos, into 0.
        return value.item(), slope.item() + 0.0


def _linear(x: Tensor) -> Tensor:
    # A new tensor, as every other activation returns one.
    return x.clone()


def _relu_squared(x: Tensor) -> Tensor:
    return F.relu(x).square()


def _named(name: str, function: Callable[[Tensor], Tensor]) -> Activation:
    return Activation(name=name, function=function)


ACTIVATIONS: Mapping[str, Activation] = {
    "linear": _named("linear", _linear),
    "relu": _named("relu", F.relu),
    "leaky_relu": _named("leaky_relu", F.leaky_relu),
    "tanh": _named("tanh", torch.tanh),
    "sigmoid": _named("sigmoid", torch.sigmoid),
    "softplus": _named("softplus", F.softplus),
    "hardsigmoid": _named("hardsigmoid", F.hardsigmoid),
    "gelu": _named("gelu", F.gelu),
    "silu": _named("silu", F.silu),
    "elu": _named("elu", F.elu),
    "selu": _named("selu", F.selu),
    "mish": _named("mish", F.mish),
    "sin": _named("sin", torch.sin),
    "cos": _named("cos", torch.cos),
    "hardswish": _named("hardswish", F.hardswish),
    "relu_squared": _named("relu_squared", _relu_squared),
    "softsign": _named("softsign", F.softsign),
}


# Functions that models call with numbers of their own, or that no network of the lab has.
_WITH_NUMBERS: Mapping[str, Callable[..., Tensor]] = {
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "celu": F.celu,
    "hardtanh": F.hardtanh,
    "relu6": F.relu6,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "logsigmoid": F.logsigmoid,
    "erf": torch.erf,
}
_CALL = re.compile(r"(?P<name>\w+)(?:\((?P<numbers>[^()]*)\))?")


@cache
def activation_from_text(text: str) -> Activation | None:
    """The activation that a model was seen to call, with its numbers; None where no pointwise function has the name.

    Example:
        >>> steep = activation_from_text("leaky_relu(0.5)")
        >>> steep.function(torch.tensor([-2.0])).item()
        -1.0
        >>> activation_from_text("softmax") is None
        True
    """
    match = _CALL.fullmatch(text)
    if text in ACTIVATIONS or match is None:
        return ACTIVATIONS.get(text)
    function = _WITH_NUMBERS.get(match["name"])
    if function is None:
        return None
    numbers = [float(number) for number in (match["numbers"] or "").split(",") if number.strip()]
    return _named(text, lambda x: function(x, *numbers))


def activation_named(name: str) -> Activation:
    """The activation of that name.

    Raises:
        UnknownNameError: There is none; the nearest known name is suggested.
    """
    if name not in ACTIVATIONS:
        raise UnknownNameError.of("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
