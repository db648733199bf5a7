"""A function of independent entries, entry by entry."""

import ast
import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme
from exnihilo.schemes.truncated_normal import TruncatedNormal, truncated_std
from exnihilo.schemes.uniform import Uniform

_NAMES = ("exp", "exp2", "expm1", "log", "log2", "log1p", "sqrt", "square", "abs", "tanh", "sigmoid", "sin", "cos")
FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {name: getattr(torch, name) for name in (*_NAMES, "clamp")}
_OPERATORS: Mapping[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.USub: operator.neg,
}
# Nodes of the quadrature, and how far they reach: at the ends they are 1e-30 from 0 and 1.
_NODES, _REACH = 8001, 3.8
# Nearer to an end than this, float64 may round to the end itself, where a formula such as log(1 - x) has no value.
_ROUNDED = 2.0**-52


@dataclass(frozen=True, slots=True, kw_only=True)
class Formula:
    """``w = f(x)`` for each entry ``x`` of what ``base`` draws.

    Promise:
        The standard deviation of ``f(x)``, by quadrature over the law of ``x``.

    Fails when:
        ``f`` has no finite variance under that law, such as ``1 / x`` of normal entries.

    Args:
        base: ``Normal``, ``Uniform`` or ``TruncatedNormal``. Default ``Uniform(bound=0.5, mean=0.5)``: ``U[0, 1)``.
        of: The formula: ``x``, numbers, ``+ - * /``, and functions such as ``log``. Default ``"x"``.

    Raises:
        InvalidValueError: ``base`` is another scheme, or ``of`` is no such formula.

    Example:
        >>> scheme = Formula(base=Uniform(bound=8.0, mean=8.0), of="log(x)")
        >>> f"{scheme.expected_std(Layout.vector(3)):.4f}"
        '1.0000'

    References:
        Gu, Dao (2023), Mamba: the bias of the step, whose softplus is log-uniform, is a formula of a uniform number.
        Takahasi, Mori (1974), Double exponential formulas for numerical integration (the promise).
    """

    base: Scheme = field(default_factory=lambda: Uniform(bound=0.5, mean=0.5))
    of: str = "x"

    def __post_init__(self) -> None:
        if not isinstance(self.base, Normal | Uniform | TruncatedNormal):
            raise InvalidValueError(
                f"Formula.base is {self.base!r}; it must be Normal, Uniform or TruncatedNormal.",
                fix='Formula(base=Uniform(bound=0.5, mean=0.5), of="log(x)")',
            )
        self._value(torch.zeros((), dtype=torch.float64, device="cpu"))

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self._value(self.base.sample(layout, key).double()).to(torch.float32)

    def expected_std(self, layout: Layout) -> float:
        """The promise: by double exponential quadrature, which also takes logarithms at the ends."""
        steps = torch.linspace(-_REACH, _REACH, _NODES, dtype=torch.float64, device="cpu")
        below, above = torch.sigmoid(math.pi * steps.sinh()), torch.sigmoid(-math.pi * steps.sinh())
        mass = below * above * steps.cosh()
        values = self._value(_quantiles(self.base, below, above))
        is_end = torch.minimum(below, above) < _ROUNDED
        values = torch.where(is_end & ~values.isfinite(), 0.0, values)
        mass /= mass.sum()
        return float(((mass * (values - (mass * values).sum()).square()).sum()).sqrt())

    def _value(self, x: Tensor) -> Tensor:
        try:
            value = _value(ast.parse(self.of, mode="eval").body, x)
        except (SyntaxError, ValueError, TypeError, KeyError, RecursionError, MemoryError):
            raise InvalidValueError(
                f"Formula.of is {self.of!r}, which is no formula of x.",
                context=[f"it is made of x, numbers, + - * / and: {', '.join(FUNCTIONS)}"],
                fix='Formula(of="log(x)")',
            ) from None
        return value if isinstance(value, Tensor) else torch.full_like(x, value)


def _value(node: ast.expr, x: Tensor) -> Tensor | float:
    match node:
        case ast.Name(id="x"):
            return x
        case ast.Name(id="inf"):
            return math.inf
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.BinOp(left=left, op=op, right=right):
            return _OPERATORS[type(op)](_value(left, x), _value(right, x))
        case ast.UnaryOp(op=op, operand=operand):
            return _OPERATORS[type(op)](_value(operand, x))
        case ast.Call(func=ast.Name(id=name), args=given, keywords=[]):
            return FUNCTIONS[name](*(_value(argument, x) for argument in given))
        case _:
            raise ValueError(ast.dump(node))


def _quantiles(base: Scheme, below: Tensor, above: Tensor) -> Tensor:
    """What a share ``below`` of the base's entries does not exceed; the rest is given too, for digits near one."""
    match base:
        case Uniform(bound=bound, mean=mean):
            return torch.where(below < above, mean - bound + 2 * bound * below, mean + bound - 2 * bound * above)
        case Normal(std=std, mean=mean):
            return mean + std * _standard(below, above, -math.inf, math.inf)
        case TruncatedNormal(std=std, lower=lower, upper=upper, mean=mean):
            return mean + std / truncated_std(lower, upper) * _standard(below, above, lower, upper)
        case _:
            raise AssertionError(base)


def _standard(below: Tensor, above: Tensor, lower: float, upper: float) -> Tensor:
    """Quantiles of a standard normal number cut to ``[lower, upper]``."""
    outside, beyond = (math.erfc(-z / math.sqrt(2.0)) / 2.0 for z in (lower, -upper))
    inside = 1.0 - outside - beyond
    low, high = torch.special.ndtri(outside + inside * below), -torch.special.ndtri(beyond + inside * above)
    return torch.where(below < above, low, high).clamp(lower, upper)
