"""The laws of the functions, with the errors of torch.nn.init: worked out once for each set of numbers."""

import math
from collections.abc import Callable
from functools import lru_cache

import torch

from exnihilo.errors import DrawError, DtypeError, LayoutError
from exnihilo.fills import Law
from exnihilo.fills.fill import DTYPES
from exnihilo.fills.laws import FARTHEST, Kind
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import Elementwise

# A model has few different shapes and numbers, and a draw of 256 elements takes no longer than to work out its law.
REMEMBERED = 4096
# Laws that both parts of a complex number can have, each on its own.
COMPLEX = (torch.complex64, torch.complex128)
BY_PARTS = frozenset({Kind.UNIFORM, Kind.NORMAL, Kind.CONSTANT})
_LARGEST = torch.finfo(torch.float32).max


@lru_cache(REMEMBERED)
def uniform_law(low: float, high: float, dtype: torch.dtype) -> Law:
    """Uniform in ``[low, high)``; both must lie in the range of ``dtype``, as torch has it."""
    require_dtype(dtype, Kind.UNIFORM)
    if not low <= high:
        raise DrawError(
            f"uniform_ expects to return a [from, to) range, but found from={low:g} > to={high:g}.",
            fix=f"uniform_(w, {high:g}, {low:g})" if high < low else "uniform_(w, -0.1, 0.1)",
        )
    largest = min(torch.finfo(dtype).max, _LARGEST)
    for name, bound in (("from", low), ("to", high)):
        if abs(bound) > largest:
            raise DrawError(f"uniform_: {name} is out of bounds for {dtype}: {bound:g}.", fix="uniform_(w, -0.1, 0.1)")
    if high - low > _LARGEST:
        raise DrawError(
            f"uniform_ expects to-from <= {_LARGEST:g}, but found to={high:g} and from={low:g}.",
            fix="uniform_(w, -0.1, 0.1)",
        )
    return Law.uniform(low, high)


@lru_cache(REMEMBERED)
def normal_law(mean: float, std: float, dtype: torch.dtype) -> Law:
    """Normal; of a complex ``dtype`` it is the law before it is dealt out to both parts."""
    require_dtype(dtype, Kind.NORMAL)
    require_std(std)
    _require_single("normal_", mean=mean, std=std)
    return Law.normal(mean + 0.0, std)  # -0.0 and 0.0 are one entry of the table, and so must be one law


@lru_cache(REMEMBERED)
def truncated_law(mean: float, std: float, low: float, high: float, dtype: torch.dtype) -> Law:
    """Normal, cut to ``[low, high]``: bounds of the values, not in units of ``std``."""
    require_dtype(dtype, Kind.TRUNCATED_TAILS)
    require_std(std)
    _require_single("trunc_normal_", mean=mean, std=std)
    if not low <= high:
        raise DrawError(
            f"trunc_normal_ expects a <= b, but found a={low:g} and b={high:g}.",
            context=["both are bounds of the values; truncated_normal_ takes them in units of sigma"],
            fix="trunc_normal_(w, std=0.02, a=-0.04, b=0.04)",
        )
    if std == 0.0:
        raise DrawError("trunc_normal_ expects std > 0.0, but found std 0.", fix=f"constant_(w, {mean:g})")
    if low == high:
        _require_single("trunc_normal_", a=low)
        return Law.constant(low)
    lower, upper = (low - mean) / std, (high - mean) / std
    if lower > FARTHEST or upper < -FARTHEST:
        raise DrawError(
            f"trunc_normal_: [a, b] lies beyond {FARTHEST:g} std, where there is no normal mass left in float64.",
            context=[
                f"mean={mean:g}, std={std:g}, a={low:g}, b={high:g}: both bounds are values, not multiples of std"
            ],
            fix="uniform_(w, a, b)",
        )
    return Law.truncated_normal(mean + 0.0, std, lower, upper)


@lru_cache(REMEMBERED)
def position_law(
    scheme: Callable[..., Elementwise], options: tuple[object, ...], shape: tuple[int, ...], dtype: torch.dtype
) -> Law:
    """The law of ``scheme(*options)`` for a tensor of which the shape is all that is known."""
    if len(shape) > 1 and 0 in shape:
        return Law.constant(0.0)  # of nothing: it has no fans, and no error either
    return layout_law(scheme, options, layout_by_position(shape), dtype)


def layout_law(
    scheme: Callable[..., Elementwise], options: tuple[object, ...], layout: Layout, dtype: torch.dtype
) -> Law:
    """The law of ``scheme(*options)`` for a tensor whose layout is known."""
    law = scheme(*options).law(layout)
    require_dtype(dtype, law.kind)
    return law


def scheme_law(scheme: Elementwise, dtype: torch.dtype) -> Law:
    """The law of a scheme that asks for no fan."""
    law = scheme.law(Layout.vector())
    require_dtype(dtype, law.kind)
    return law


@lru_cache(REMEMBERED)
def layout_by_position(shape: tuple[int, ...]) -> Layout:
    """What torch.nn.init takes a tensor for: the weight of a linear map, or of a convolution in one group.

    Raises:
        LayoutError: The shape has fewer than two dims.

    Example:
        >>> layout_by_position((16, 8, 3, 3)).fan_in
        72
    """
    if len(shape) < 2:
        raise LayoutError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions.",
            context=[f"shape {tuple(shape)}: biases, and scales and shifts of norms, have no fans"],
            fix="zeros_(bias), or normal_(bias, std=0.02)",
        )
    out, in_, *kernel = shape
    return Layout.conv(out, in_, tuple(kernel)) if kernel else Layout.linear(out, in_)


def require_dtype(dtype: torch.dtype, kind: Kind | None) -> None:
    """Raise DtypeError where a law of that kind, or one of whole matrices, cannot be written to a dtype."""
    covered = [*DTYPES, *(COMPLEX if kind in BY_PARTS else ())]
    if dtype not in covered:
        names = ", ".join(str(dtype).removeprefix("torch.") for dtype in covered)
        raise DtypeError(
            f"This draw is not implemented for {dtype}.",
            context=[f"it writes {names}"],
            fix="draw in float32, then w.to(dtype)",
        )


def require_std(std: float) -> None:
    """Raise DrawError where a standard deviation is negative or NaN."""
    if not std >= 0.0:
        raise DrawError(f"normal expects std >= 0.0, but found std {std:g}.", fix="normal_(w, std=0.02)")


def _require_single(function: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not (math.isfinite(number) and abs(number) <= _LARGEST):
            raise DrawError(
                f"{function}: {name} is {number:g}; it must be finite in float32.", fix=f"{function}(w, std=0.02)"
            )
