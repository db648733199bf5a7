"""Maps that come in pairs of opposite sign, between which an activation cancels."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from exnihilo.errors import LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.orthogonal import Orthogonal
from exnihilo.schemes.scheme import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirrored:
    """What another scheme draws for half the units, beside its negative for the other half.

    Rule:
        With ``W`` from ``base``: ``[W; -W]`` where ``rows`` are mirrored, ``[W, -W]`` where ``columns`` are,
        ``[W, -W; -W, W]`` where both are. Each logical matrix of the tensor by itself.

    Promise:
        Output unit ``i`` is minus output unit ``out / 2 + i``, for every input; so with columns for inputs. Standard
        deviation that of ``base`` on the halved layout, for bases of mean 0.

    Fails when:
        An activation between two such maps does not cancel in a pair: tanh, sigmoid and all others for which
        ``f(x) - f(-x)`` is not proportional to ``x``.

    Args:
        base: The law of the half. Default ``Orthogonal()``.
        rows: Output units come in pairs. Default True.
        columns: Input units come in pairs. Default True.

    Raises:
        LayoutError: On use: the tensor is a vector, or the units to be paired are odd in number.

    Example:
        >>> from exnihilo.schemes import Ones
        >>> Mirrored(base=Ones()).sample(Layout.linear(2, 4), Key(0, "w"))
        tensor([[ 1.,  1., -1., -1.],
                [-1., -1.,  1.,  1.]])

    References:
        Balduzzi, Frean, Leary, Lewis, Ma, McWilliams (2017), The Shattered Gradients Problem: If resnets are the
        answer, then what is the question?
    """

    base: Scheme = field(default_factory=Orthogonal)
    rows: bool = True
    columns: bool = True

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        half = self._half(layout)
        matrices = half.matrices(self.base.sample(half, key))
        if self.rows:
            matrices = torch.cat([matrices, -matrices], dim=1)
        if self.columns:
            matrices = torch.cat([matrices, -matrices], dim=2)
        return layout.assemble(matrices)

    def expected_std(self, layout: Layout) -> float:
        """The promise: that of ``base`` on the halved layout."""
        return self.base.expected_std(self._half(layout))

    def _half(self, layout: Layout) -> Layout:
        """The layout of what is drawn."""
        layout.require_matrix("pairs of units")
        shape = list(layout.shape)
        for mirrored, dims, what in ((self.rows, layout.out_dims, "output"), (self.columns, layout.in_dims, "input")):
            if mirrored:
                shape[_outermost(layout, dims, what)] //= 2
        return replace(layout, shape=tuple(shape))


def _outermost(layout: Layout, dims: tuple[int, ...], what: str) -> int:
    """The dim whose first half is the first half of all units of one matrix."""
    for dim in dims:
        units = layout.shape[dim] // (layout.num_matrices if dim == layout.packed_dim else 1)
        if units % 2 == 0:
            return dim
        if units > 1:
            break
    raise LayoutError(
        f"Mirrored pairs {what} units, and a matrix of a {layout.kind} layout of shape {layout.shape} has an odd"
        " number of them.",
        fix=f"give it an even number of {what} units",
    )
