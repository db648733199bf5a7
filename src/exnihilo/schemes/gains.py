"""Gains: the factor that makes up for what a nonlinearity does to the mean square."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from exnihilo.errors import InvalidValueError, UnknownNameError

Direction = Literal["forward", "backward"]
_Function = Callable[[Tensor], Tensor]

# The standard normal density at 20 is 6e-88: what a function of at most quadratic exponent does beyond adds nothing.
_REACH = 20.0
_PANELS = 64
_NODES = 16
# A panel with a kink or jump halves its width each time: 50 halvings bring it to 6e-16.
_HALVINGS = 50
# A function that still needs more panels than this is rough everywhere, such as a random one.
_MOST_PANELS = 100_000
_TOLERANCE = 1e-12


def gain(f: _Function, direction: Direction = "forward") -> float:
    """The gain of a pointwise function under standard normal input, for any callable on tensors.

    Rule:
        ``1 / sqrt(E[f(z)**2])`` forward, ``1 / sqrt(E[f'(z)**2])`` backward, with ``z ~ N(0, 1)`` and ``f'`` by
        autograd. Adaptive Gauss-Legendre quadrature in float64: panels are halved where the function has a kink or
        jump, so that ReLU is as exact as tanh.

    Args:
        f: Takes and returns a float64 tensor of one shape, entry by entry.
        direction: ``"forward"`` keeps the mean square of the signal, ``"backward"`` that of the gradient.

    Returns:
        The gain; relative error below 1e-9 for piecewise smooth functions.

    Raises:
        UnknownNameError: ``direction`` is neither.
        InvalidValueError: ``f`` is not pointwise, has no derivative where one is needed, returns NaN, or its second
            moment is zero or not finite.

    Example:
        >>> f"{gain(torch.relu):.4f}"
        '1.4142'
        >>> f"{gain(torch.tanh):.4f} {gain(torch.tanh, 'backward'):.4f}"
        '1.5925 1.4674'

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2, for ReLU.

    Differs:
        ``torch.nn.init.calculate_gain`` has 5/3 for tanh and 1 for sigmoid (here 1.8462), and knows few functions.
    """
    if direction not in get_args(Direction):
        raise UnknownNameError.of("direction", direction, get_args(Direction))
    evaluate = _value if direction == "forward" else _slope
    return 1.0 / math.sqrt(_second_moment(f, evaluate, direction))


def _value(f: _Function, z: Tensor) -> Tensor:
    with torch.no_grad():
        return _require_pointwise(f, z, f(z.clone()))


def _slope(f: _Function, z: Tensor) -> Tensor:
    with torch.inference_mode(mode=False), torch.enable_grad():
        z = z.clone().requires_grad_()
        # A second clone, so that a function that works in place does not meet a leaf.
        value = _require_pointwise(f, z, f(z.clone()))
        if not value.requires_grad:
            raise InvalidValueError(
                f"{_label(f)} has no backward gain: its result does not depend on its input for autograd.",
                fix="build it from differentiable tensor operations, such as torch.tanh",
            )
        (slope,) = torch.autograd.grad(value.sum(), z)
    return slope


def _second_moment(f: _Function, evaluate: Callable[[_Function, Tensor], Tensor], direction: str) -> float:
    with torch.inference_mode(mode=False):
        edges = torch.linspace(-_REACH, _REACH, _PANELS + 1, dtype=torch.float64, device="cpu")
        left, right = edges[:-1], edges[1:]
        whole = _integrals(f, evaluate, left, right)
        outermost = max(whole[0].item(), whole[-1].item())
        total, open_ = 0.0, whole.sum().item()
        for _ in range(_HALVINGS):
            middle = (left + right) / 2
            halves = torch.stack([_integrals(f, evaluate, left, middle), _integrals(f, evaluate, middle, right)])
            refined = halves.sum(dim=0)
            settled = (refined - whole).abs() <= _TOLERANCE * (total + refined.sum().item())
            total += refined[settled].sum().item()
            rest = ~settled
            left, right = torch.cat([left[rest], middle[rest]]), torch.cat([middle[rest], right[rest]])
            whole = halves[:, rest].reshape(-1)
            open_ = whole.sum().item()
            if not 0 < len(left) <= _MOST_PANELS:
                break
    moment = total + open_
    return _require_moment(f, moment, open_, outermost, direction)


def _integrals(f: _Function, evaluate: Callable[[_Function, Tensor], Tensor], left: Tensor, right: Tensor) -> Tensor:
    """Integral of ``g(z)**2`` against the standard normal density over each panel."""
    nodes, weights = (torch.from_numpy(array) for array in leggauss(_NODES))
    half = ((right - left) / 2)[:, None]
    z = ((left + right) / 2)[:, None] + half * nodes
    density = torch.exp(-z.square() / 2) / math.sqrt(2.0 * math.pi)
    values = evaluate(f, z.reshape(-1)).reshape(z.shape).to(torch.float64)
    if values.isnan().any():
        raise InvalidValueError(
            f"{_label(f)} has no gain: it is NaN at z = {z[values.isnan()][0].item():.6g}.",
            context=[f"it is evaluated over [-{_REACH:g}, {_REACH:g}] in float64"],
            fix="use a function that is defined everywhere, such as torch.tanh",
        )
    return (half * weights * density * values.square()).sum(dim=1)


def _require_pointwise(f: _Function, z: Tensor, value: object) -> Tensor:
    if not isinstance(value, Tensor) or value.shape != z.shape:
        found = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
        raise InvalidValueError(
            f"{_label(f)} has no gain: it is not pointwise.",
            context=[f"for a tensor of shape {tuple(z.shape)} it returned {found}"],
            fix="pass a function that maps each entry by itself, such as torch.relu",
        )
    return value


def _require_moment(f: _Function, moment: float, unsettled: float, outermost: float, direction: str) -> float:
    what = "f(z)" if direction == "forward" else "f'(z)"
    if moment == 0.0:
        raise InvalidValueError(
            f"{_label(f)} has no {direction} gain: E[{what}**2] is 0 under standard normal input.",
            context=["no factor can restore a signal that is zero"],
            fix="choose another activation, or another direction",
        )
    if not math.isfinite(moment) or unsettled > 1e-9 * moment or outermost > 1e-9 * moment:
        raise InvalidValueError(
            f"{_label(f)} has no {direction} gain: E[{what}**2] does not converge under standard normal input.",
            context=[f"reached {moment:.6g}, of which {unsettled:.3g} is unsettled after halving panels"],
            fix="choose a function without poles or noise that grows slower than exp(z**2 / 4)",
        )
    return moment


def _label(f: _Function) -> str:
    return f"Function '{getattr(f, '__name__', type(f).__name__)}'"
