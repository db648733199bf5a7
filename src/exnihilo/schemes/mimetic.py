"""Maps of an attention in pairs: the two factors of one draw that is near the identity."""

import math
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal, get_args

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError, UnknownNameError
from exnihilo.fills import Key, normal
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite
from exnihilo.schemes.sliced import Sliced

Part = Literal["query", "key", "value", "out", "packed"]

_PACKED: tuple[Part, ...] = ("query", "key", "value")
# So many entries of reference draws pin a promise to a few parts in a thousand, at any width.
_REFERENCE_ENTRIES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Mimetic:
    """Queries and keys whose product is near the identity, values and outputs whose product is near its negative.

    Rule:
        With ``Z`` of entries of variance ``1 / d``, ``U S V`` is the singular value decomposition of
        ``score_alpha Z + score_beta I``, cut to its first ``r = head``: each head's queries are ``(U sqrt(S)).T`` and
        its keys ``sqrt(S) V``. Of ``value_alpha Z - value_beta I``, cut to as many ``r`` as there are values,
        ``sqrt(S) V`` are the values and ``U sqrt(S)`` the outputs. ``Z`` is that of the seed and of the parameter's
        name without its last ``shared`` parts, which all maps of one attention have in common.

    Promise:
        ``query.T @ key`` of each head and ``out @ value`` are the matrices of rank ``r`` nearest to those, and equal to
        them where ``r = d``. Standard deviation ``sqrt(sum(S[:r]) / (r d))``, with the singular values of draws made
        for reference.

    Fails when:
        Partners have other numbers or no name in common: their product is noise. The width is large: each head of
        each attention takes a decomposition of ``d x d``, which for 12 heads of a width of 768 are seconds.

    Args:
        part: Which map it is, or ``"packed"`` for several in one tensor. Default ``"query"``.
        head: Units of a query that one head compares, a whole number. Default 0: all of them.
        score_alpha: How much of ``Z`` queries and keys multiply to, finite. Default 0.7, the paper's.
        score_beta: How much of the identity they do, finite. Default 0.7, the paper's.
        value_alpha: How much of ``Z`` outputs and values multiply to, finite. Default 0.4, the paper's.
        value_beta: How much of the identity they take away, finite. Default 0.4, the paper's.
        shared: Parts at the end of the parameter's name that its partners do not share. Default 0: no partners.
        nth: Tells attentions of one name in common apart, a whole number. Default 0.
        runs: Of a packed tensor: part and length in turn, as for ``Sliced``; part 0 is the query, 1 the key, 2 the
            value. Default empty.

    Raises:
        UnknownNameError: There is no such ``part``.
        InvalidValueError: A number is not finite, or negative where it counts; ``runs`` deals out other parts, or is
            given for one map.
        LayoutError: On use: the tensor is no single map without a kernel, ``head`` does not divide its units, or the
            rank exceeds the width.

    Example:
        >>> layout = Layout.linear(8, 8)
        >>> query = Mimetic(part="query", shared=2).sample(layout, Key(0, "block.q.weight"))
        >>> key = Mimetic(part="key", shared=2).sample(layout, Key(0, "block.k.weight"))
        >>> bool((query.T @ key).diagonal().mean() > 0.4)
        True

    References:
        Trockman, Kolter (2023), Mimetic Initialization of Self-Attention Layers.
    """

    part: Part = "query"
    head: int = 0
    score_alpha: float = 0.7
    score_beta: float = 0.7
    value_alpha: float = 0.4
    value_beta: float = 0.4
    shared: int = 0
    nth: int = 0
    runs: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.part not in get_args(Part):
            raise UnknownNameError.of("part", self.part, get_args(Part))
        for option in ("score_alpha", "score_beta", "value_alpha", "value_beta"):
            require_finite("Mimetic", option, getattr(self, option), 0.4)
        for option in ("head", "shared", "nth"):
            if getattr(self, option) < 0:
                raise InvalidValueError(
                    f"Mimetic.{option} is {getattr(self, option)}; it counts, and must not be negative.",
                    fix=f"Mimetic({option}=0)",
                )
        if bool(self.runs) != (self.part == "packed") or not set(self.runs[::2]) <= {0, 1, 2}:
            raise InvalidValueError(
                f"Mimetic.runs is {self.runs} for part '{self.part}'; a packed tensor needs parts 0 to 2, others none.",
                fix='Mimetic(part="packed", runs=(0, 64, 1, 64, 2, 64))',
            )
        object.__setattr__(self, "runs", Sliced(runs=self.runs).runs)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        if self.part == "packed":
            return Sliced(runs=self.runs).dealt(_flat(layout), lambda part, own: self._one(part).sample(own, key))
        heads, rank, width = self._sizes(layout)
        names = key.name.split(".")
        common = Key(key.seed, ".".join(names[: len(names) - self.shared]))
        left, right = _factors(common.derive(f"{self._product} {self.nth}"), heads, rank, width, *self._numbers)
        rows = (left.mT if self.part in ("query", "out") else right).reshape(heads * rank, width)
        return layout.assemble((rows.mT if self.part == "out" else rows).clone())

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``sqrt(sum(S[:r]) / (r d))``."""
        if self.part == "packed":
            return Sliced(runs=self.runs).spread(_flat(layout), lambda part, own: self._one(part).expected_std(own))
        _, rank, width = self._sizes(layout)
        return math.sqrt(_leading(rank, width, *self._numbers) / (rank * width))

    def _one(self, part: int) -> "Mimetic":
        return replace(self, part=_PACKED[part], runs=())

    @property
    def _product(self) -> str:
        return "scores" if self.part in ("query", "key") else "values"

    @property
    def _numbers(self) -> tuple[float, float]:
        """How much of ``Z`` and of the identity."""
        scores = (self.score_alpha, self.score_beta)
        return scores if self._product == "scores" else (self.value_alpha, -self.value_beta)

    def _sizes(self, layout: Layout) -> tuple[int, int, int]:
        """Products in the tensor, the rank of each, and the width of the stream."""
        layout.require_matrix("factors")
        if layout.num_matrices * layout.receptive_field != 1:
            raise LayoutError(
                f"Mimetic is for one map without a kernel, not for a {layout.kind} layout of shape {layout.shape}.",
                fix='Mimetic(part="packed", runs=(0, 64, 1, 64, 2, 64)) for three maps in one tensor',
            )
        out, in_ = layout.out_units, layout.in_units
        units, width = (in_, out) if self.part == "out" else (out, in_)
        rank = self.head if self.head and self._product == "scores" else units
        if units % rank or rank > width:
            raise LayoutError(
                f"Mimetic cannot make {units} units in heads of {rank} from a width of {width}.",
                context=["heads must divide the units, and no product has a rank above its width"],
                fix="give head the units of one head's query, such as Mimetic(head=64)",
            )
        return units // rank, rank, width


def _flat(layout: Layout) -> Layout:
    """Three maps in one tensor as the rows of one."""
    return replace(layout, stacked=1)


@lru_cache(maxsize=2)  # one product of scores and one of values: partners are drawn one after the other
def _factors(key: Key, heads: int, rank: int, width: int, alpha: float, beta: float) -> tuple[Tensor, Tensor]:
    """The left factors ``(heads, width, rank)`` and the right ones ``(heads, rank, width)``."""
    u, s, v = torch.linalg.svd(_near_identity(key, heads, width, alpha, beta))
    u, s, v = u[..., :rank], s[..., :rank].sqrt(), v[..., :rank, :]
    # A pair of vectors is given up to its sign, which LAPACK chooses: here a vector of the key's own does.
    own = normal(key.derive("signs"), width).to(torch.float64)
    sign = torch.where(own @ u < 0, -1.0, 1.0).to(torch.float64)[:, None, :]
    left, right = u * sign * s[:, None, :], (sign.mT * v) * s[..., None]
    return left.to(torch.float32), right.to(torch.float32)


@lru_cache(maxsize=64)
def _leading(rank: int, width: int, alpha: float, beta: float) -> float:
    """The mean sum of the first singular values, over draws made for reference."""
    draws = max(1, _REFERENCE_ENTRIES // width**2)
    values = torch.linalg.svdvals(_near_identity(Key(0, "mimetic reference"), draws, width, alpha, beta))
    return float(values[:, :rank].sum(dim=1).mean())


def _near_identity(key: Key, count: int, width: int, alpha: float, beta: float) -> Tensor:
    """``alpha Z + beta I``, so many times, in float64."""
    noise = normal(key, count * width**2).reshape(count, width, width).to(torch.float64) / math.sqrt(width)
    return alpha * noise + beta * torch.eye(width, dtype=torch.float64, device="cpu")
