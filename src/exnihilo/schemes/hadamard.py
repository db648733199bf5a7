"""Widening maps without randomness: rows of a Hadamard matrix."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from exnihilo.errors import UnknownNameError
from exnihilo.fills import Key
from exnihilo.layouts import Layout

Scale = Literal["paper", "notebook"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hadamard:
    """The first rows and columns of a Hadamard matrix, scaled; a kernel reads at its center.

    Rule:
        With ``m`` such that ``2**m`` is the first power of two that is no less than the output units, entry ``(i, j)``
        is ``c`` where ``i`` and ``j`` share an even number of ones in binary, else ``-c``. ``c`` is
        ``2 ** (-(m - 1) / 2)`` as the paper has it, or ``2 ** (-m / 2)`` as the authors' code has it.

    Promise:
        Every entry at the center is ``c`` or ``-c``; with as many inputs as outputs, a power of two, and the notebook's
        scale the map is orthogonal.

    Fails when:
        The map narrows: rows are then cut off, and ``identity`` says more.

    Args:
        scale: ``"paper"`` or ``"notebook"``. Default ``"paper"``, which is what is published.

    Raises:
        UnknownNameError: There is no such ``scale``.
        LayoutError: On ``sample``: the tensor is a vector.

    Example:
        >>> Hadamard(scale="notebook").sample(Layout.linear(2, 2), Key(0, "w"))
        tensor([[ 0.7071,  0.7071],
                [ 0.7071, -0.7071]])

    References:
        Zhao, Schäfer, Anandkumar (2022), ZerO Initialization, algorithm 1 and definition 1.
    """

    scale: Scale = "paper"

    def __post_init__(self) -> None:
        if self.scale not in get_args(Scale):
            raise UnknownNameError.of("scale", self.scale, get_args(Scale))

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        matrices = layout.matrices(torch.zeros(layout.shape, dtype=torch.float32, device="cpu"))
        matrices[..., layout.center] = self._signs(layout).to(torch.float32) * self._size(layout)
        return layout.assemble(matrices)

    def expected_std(self, layout: Layout) -> float:
        """The promise: that of the entries, which are written out to count their signs."""
        layout.require_matrix("signs")
        share = 1.0 / layout.receptive_field
        mean = float(self._signs(layout).double().mean()) * share
        return self._size(layout) * math.sqrt(share - mean**2)

    def _size(self, layout: Layout) -> float:
        bits = max(math.ceil(math.log2(layout.out_units)), 0)
        return 2.0 ** (-(bits - 1) / 2) if self.scale == "paper" else 2.0 ** (-bits / 2)

    def _signs(self, layout: Layout) -> Tensor:
        """1 where two indices share an even number of ones, else -1, for one logical matrix."""
        shared = torch.arange(layout.out_units, device="cpu")[:, None] & torch.arange(layout.in_units, device="cpu")
        for shift in (32, 16, 8, 4, 2, 1):  # the parity of all bits is folded into the last
            shared = shared ^ (shared >> shift)
        return 1 - 2 * (shared & 1)
