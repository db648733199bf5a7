"""A few non-zero weights for each unit."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key, bits
from exnihilo.layouts import Layout
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import require_not_negative


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    """Each output unit reads a random part of its inputs; the other weights are 0.

    Rule:
        Of the ``n = in * receptive_field`` weights of a unit, ``round(sparsity * n)`` are zero (at most ``n - 1``),
        chosen without regard to the others' choices; the rest are ``N(0, std**2)``.

    Promise:
        Exactly that many zeros in each unit; with ``p`` the share of the rest, the entries' standard deviation is
        ``std * sqrt(p)``.

    Fails when:
        Few weights remain and ``std`` is small: the signal shrinks by ``std**2 * p * fan_in`` a layer.

    Args:
        sparsity: Share of zeros, in [0, 1). Default 0.9.
        std: Standard deviation of the other weights, not negative. Default 0.01, that of ``torch.nn.init.sparse_``.

    Raises:
        InvalidValueError: ``sparsity`` is not in [0, 1), or ``std`` is negative or not finite.
        LayoutError: On ``sample``: the tensor is a vector.

    Example:
        >>> w = Sparse(sparsity=0.75, std=1.0).sample(Layout.linear(3, 8), Key(0, "w"))
        >>> (w == 0).sum(dim=1)
        tensor([6, 6, 6])

    References:
        Martens (2010), Deep learning via Hessian-free optimization.

    Differs:
        ``torch.nn.init.sparse_`` zeroes the same share of each *input* unit's weights, so that a unit may read nothing.
    """

    sparsity: float = 0.9
    std: float = 0.01

    def __post_init__(self) -> None:
        if not 0.0 <= self.sparsity < 1.0:
            raise InvalidValueError(
                f"Sparse.sparsity is {self.sparsity}; it must be in [0, 1).", fix="Sparse(sparsity=0.9)"
            )
        require_not_negative("Sparse", "std", self.std, 0.01)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        weights = layout.matrices(Normal(std=self.std).sample(layout, key)).flatten(2).contiguous()
        draws = torch.from_numpy(bits(key.derive("support"), layout.numel).astype(np.int64))
        order = draws.reshape(weights.shape).argsort(dim=2, stable=True)
        weights.scatter_(2, order[..., : self._num_zeros(layout)], 0.0)
        return layout.assemble(weights)

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``std * sqrt(share of non-zero weights)``."""
        return self.std * math.sqrt(1.0 - self._num_zeros(layout) / _num_weights(layout))

    def _num_zeros(self, layout: Layout) -> int:
        return min(round(self.sparsity * _num_weights(layout)), _num_weights(layout) - 1)


def _num_weights(layout: Layout) -> int:
    layout.require_matrix("units to thin out")
    return layout.in_units * layout.receptive_field
