"""Norms that are given nearly nothing: by how much they enlarge the gradient that comes back through them."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from exnihilo.probes.promotion import address_of, aten

# Place of the scale, and of the inverse deviation among what is given out; the epsilon is the last argument.
_FUSED: dict[Any, tuple[int, int]] = {
    aten.native_layer_norm.default: (2, 2),
    aten.native_group_norm.default: (1, 2),
    aten.native_batch_norm.default: (1, 2),
    aten._native_batch_norm_legit.default: (1, 2),
    aten._native_batch_norm_legit.no_stats: (1, 2),
    aten.cudnn_batch_norm.default: (1, 2),
    aten._fused_rms_norm.default: (2, 1),
}
# A norm whose input is below its epsilon gives out less than this share of what it would.
_NORMAL = 0.7
# An epsilon of 1e-4 comes to a hundred; an input of a hundred thousandth, without one, to a hundred thousand.
_FACTOR = 100.0
_FACTOR_WITHOUT = 1e4


@dataclass(frozen=True, slots=True, kw_only=True)
class Enlarging:
    """A norm of nearly nothing: what it was given, and what most rows of its gradient are multiplied by."""

    given: Tensor
    factor: float


class Norms:
    """Tells such norms among operations; of hand-written ones it keeps in mind where an inverse root lies."""

    def __init__(self) -> None:
        self._roots: set[int] = set()

    def note(self, func: Any, args: tuple[Any, ...], out: Any, result: Tensor) -> Enlarging | None:
        """What an operation is, where it is the last one of a norm of nearly nothing; else None."""
        if func is aten.rsqrt.default:
            self._roots.add(address_of(result))
            return None
        found = None
        if func in _FUSED:
            found = _fused(func, args, out)
        elif func is aten.mul.Tensor and all(isinstance(arg, Tensor) for arg in args[:2]):
            pairs = ((args[0], args[1]), (args[1], args[0]))
            found = next((_by_hand(x, r, result) for x, r in pairs if address_of(r) in self._roots), None)
        elif func is aten.div.Tensor and isinstance(args[1], Tensor):
            found = _by_hand(args[0], args[1].detach().reciprocal().expand(args[1].shape), result, like=args[1])
        if not func.is_view:
            self._roots.discard(address_of(result))
        return found


def _fused(func: Any, args: tuple[Any, ...], out: Any) -> Enlarging | None:
    scale_at, inverse_at = _FUSED[func]
    inverse, scale = out[inverse_at].detach(), args[scale_at]
    eps = torch.finfo(inverse.dtype).eps if args[-1] is None else args[-1]
    rows = max(inverse.numel(), 1)
    size = 1.0 if scale is None else float(scale.detach().square().mean().sqrt())
    factor = _factor(inverse.abs(), inverse * math.sqrt(eps) > _NORMAL) if args[0].numel() > rows else 0.0
    return Enlarging(given=args[0], factor=factor * size) if factor * size > _FACTOR else None


def _by_hand(given: Tensor, inverse: Tensor, result: Tensor, *, like: Tensor | None = None) -> Enlarging | None:
    """Of a product of a signal and one number for each of its rows."""
    shared = _shared(given, inverse if like is None else like)
    if not shared or not result.numel():
        return None
    per_row = inverse.detach().expand(result.shape).abs().amax(shared)
    squares = result.detach().square()
    # A root of a mean leaves rows of mean square 1, one of a sum rows of sum 1: the larger of the two is looked at.
    is_small = squares.sum(shared) < _NORMAL**2
    factor = _factor(per_row, is_small)
    return Enlarging(given=given, factor=factor) if factor else None


def _shared(given: Tensor, inverse: Tensor) -> list[int]:
    """The dims of a signal along which it is multiplied by one number."""
    if inverse.dim() != given.dim():
        return []
    dims = range(given.dim())
    return [d for d in dims if given.shape[d] > 1 and (inverse.shape[d] == 1 or inverse.stride(d) == 0)]


def _factor(inverse: Tensor, is_small: Tensor) -> float:
    """The median of the factors of nearly nothing, where most rows are; else 0."""
    counts = ((inverse > _FACTOR) & is_small) | (inverse > _FACTOR_WITHOUT)
    found = inverse[counts & torch.isfinite(inverse)]
    return float(found.median()) if 2 * found.numel() > inverse.numel() else 0.0
