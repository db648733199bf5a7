"""Schemes that draw what a constructor would have drawn."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from exnihilo.construction.laws import Flat, Gauss, Haar, Law, Mapped, Thinned, without_idle_cuts
from exnihilo.construction.regions import Region
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    Constant,
    Formula,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Sparse,
    TruncatedNormal,
    Uniform,
    Weighted,
    ZeroRow,
    Zeros,
)
from exnihilo.schemes.truncated_normal import truncated_std

# What float64 loses in a few operations, relative: such as 0.020000000000000004 for 0.02.
_LOST = 1e-15


@dataclass(frozen=True, slots=True, kw_only=True)
class Expressed:
    """A scheme, and the layout by which it draws what was to be drawn."""

    scheme: Scheme
    layout: Layout


Held = Law | float | None  # one law, one number, or nothing that can be said
Part = tuple[Region, Held]


def expressed(parts: Sequence[Part], whole: Region, layout: Layout) -> Expressed | None:
    """The scheme of a contiguous tensor by what its parts hold; None where no scheme has that law.

    Args:
        parts: From ``Storage.parts``: the first may lie beneath the others.
        whole: The tensor's own region.
        layout: Its layout, which is replaced where the law is that of another view.
    """
    held = {content for _, content in parts}
    if None in held:
        return None
    first = parts[0][1]
    if len(held) == 1 and isinstance(first, Thinned):
        return _thinned(first, len(parts), layout)
    if len(held) == 1 and not isinstance(first, Haar):
        return _of_one(first, layout)
    if len(parts) == 1:
        return _of_one(first, layout)
    rows = _by_rows(parts, whole, layout.shape[0])
    return None if rows is None else _of_rows(rows, layout)


def constant(value: float) -> Scheme:
    """The scheme of one number."""
    return Zeros() if value == 0 else Ones() if value == 1 else Constant(value=value)


def _of_one(law: Held, layout: Layout) -> Expressed | None:
    match law:
        case Gauss():
            return Expressed(scheme=_normal(without_idle_cuts(law)), layout=layout)
        case Flat(low=low, high=high):
            scheme = Uniform(bound=_tidy((high - low) / 2), mean=_tidy((high + low) / 2))
            return Expressed(scheme=scheme, layout=layout)
        case Haar(rows=rows, columns=columns) if layout.shape and (rows, columns) == _matrix(layout):
            return _orthogonal(law, layout, 1)
        case Mapped(root=root, text=text):
            base = _of_one(root, layout)
            return None if base is None else replace(base, scheme=Formula(base=base.scheme, of=text))
        case int() | float():
            return Expressed(scheme=constant(law), layout=layout)
        case _:
            return None


def _normal(law: Gauss) -> Scheme:
    if law.lower == -law.upper == -math.inf:
        return Normal(std=_tidy(law.std), mean=_tidy(law.mean))
    lower, upper = _tidy(law.lower), _tidy(law.upper)
    std = _tidy(law.std * truncated_std(lower, upper))
    return TruncatedNormal(std=std, lower=lower, upper=upper, mean=_tidy(law.mean))


def _orthogonal(law: Haar, layout: Layout, stacked: int) -> Expressed | None:
    if law.gain <= 0:
        return None
    matrix = _general(layout)
    return Expressed(scheme=Orthogonal(gain=_tidy(law.gain)), layout=replace(matrix, stacked=stacked))


def _thinned(law: Thinned, columns: int, layout: Layout) -> Expressed | None:
    """Zeros among the weights of each index of dim 1: that dim counts the units, and the first what they read."""
    if layout.shape != (law.size, columns) or law.zeros >= law.size:
        return None
    turned = Layout(kind="linear", shape=layout.shape, out_dims=(1,), in_dims=(0,))
    return Expressed(scheme=Sparse(sparsity=law.zeros / law.size, std=_tidy(law.base.std)), layout=turned)


def _by_rows(parts: Sequence[Part], whole: Region, num_rows: int) -> list[tuple[int, Held]] | None:
    """How many rows hold what, in order; None where parts are not made of rows."""
    row = whole.size // num_rows
    beneath = parts[0][1] if parts[0][0] == whole else None
    found: list[tuple[int, Held]] = []
    place = whole.start
    above = parts if beneath is None else parts[1:]
    for region, held in sorted(above, key=lambda part: part[0].start):
        if not region.is_run or region.size % row or (region.start - whole.start) % row:
            return None
        if region.start > place:
            found.append(((region.start - place) // row, beneath))
        found.append((region.size // row, held))
        place = region.end
    if place < whole.end:
        found.append(((whole.end - place) // row, beneath))
    return None if any(held is None for _, held in found) else found


def _of_rows(rows: Sequence[tuple[int, Held]], layout: Layout) -> Expressed | None:
    laws = {held for _, held in rows}
    drawn = [held for held in laws if isinstance(held, Gauss | Flat)]
    haar = [held for _, held in rows if isinstance(held, Haar)]
    if len(haar) == len(rows) and len(laws) == 1 and len({count for count, _ in rows}) == 1:
        return _orthogonal(haar[0], layout, len(rows)) if haar[0].rows == rows[0][0] else None
    if len(drawn) == 1 and laws <= {drawn[0], 0.0} and sum(count for count, held in rows if held == 0) == 1:
        base = _of_one(drawn[0], layout)
        zero = sum(count for count, _ in rows[: [held for _, held in rows].index(0.0)])
        return None if base is None else replace(base, scheme=ZeroRow(base=base.scheme, row=zero))
    return _weighted(rows, layout)


def _weighted(rows: Sequence[tuple[int, Held]], layout: Layout) -> Expressed | None:
    """Rows whose laws are multiples of one."""
    widest = max((held for _, held in rows if isinstance(held, Gauss | Flat)), key=_width, default=None)
    if widest is None or (isinstance(widest, Flat) and widest.low != -widest.high):
        return None
    factors = [_ratio(held, widest) for _, held in rows]
    base = _of_one(widest, _general(layout))
    if base is None or None in factors:
        return None
    lengths = tuple(float(count) for count, _ in rows)
    given = tuple(factor for factor in factors if factor is not None)
    return replace(base, scheme=Weighted(base=base.scheme, factors=given, lengths=lengths))


def _width(law: Gauss | Flat) -> float:
    return law.std if isinstance(law, Gauss) else law.high - law.low


def _ratio(held: Held, widest: Gauss | Flat) -> float | None:
    """By what a law of a number of rows is the widest one multiplied; None where it is none of its multiples."""
    if held == 0:
        return 0.0
    if isinstance(held, Flat) and isinstance(widest, Flat) and held.low == -held.high:
        return held.high / widest.high
    if isinstance(held, Gauss) and isinstance(widest, Gauss) and widest.mean == held.mean == 0:
        is_same = (held.lower, held.upper) == (widest.lower, widest.upper)
        return held.std / widest.std if is_same else None
    return None


def _matrix(layout: Layout) -> tuple[int, int]:
    return layout.shape[0], layout.numel // layout.shape[0]


def _general(layout: Layout) -> Layout:
    """The tensor as one matrix of as many rows as its first dim has; a vector as it is."""
    if len(layout.shape) < 2:
        return layout
    rest = tuple(range(1, len(layout.shape)))
    return Layout(kind="linear", shape=layout.shape, out_dims=(0,), in_dims=rest)


def _tidy(value: float) -> float:
    """The short decimal next to a number, where float64 has lost it."""
    short = float(f"{value:.12g}")
    return short if abs(short - value) <= _LOST * abs(value) else value
