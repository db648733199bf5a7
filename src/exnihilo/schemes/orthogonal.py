"""Semi-orthogonal matrices, for dense maps and for the center of a kernel."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.errors import LayoutError
from exnihilo.fills import Key, haar
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthogonal:
    """Semi-orthogonal matrix, Haar-uniform, times ``gain``; each logical matrix of the tensor has its own.

    Rule:
        ``W = gain * Q``, seen as a matrix of ``out`` rows and ``in * receptive_field`` columns. ``Q`` has the law of
        the factor in ``A = QR`` with ``A ~ N(0, 1)`` and ``diag(R) > 0`` (of its transpose, where it is wide), and is
        multiplied from random reflections: half of the normals, and no factorization.

    Promise:
        All non-zero singular values equal ``gain``; the entries' standard deviation is
        ``gain / sqrt(max(rows, columns))``.

    Fails when:
        ``out`` exceeds the columns and the mean square shall be kept forward: it shrinks to ``columns / out``.

    Args:
        gain: Multiplier on every singular value, positive. Default 1.0: an isometry for square maps.

    Raises:
        InvalidValueError: ``gain`` is not positive and finite.
        LayoutError: On ``sample``: the tensor is a vector.

    Example:
        >>> w = Orthogonal().sample(Layout.linear(64, 32), Key(0, "w"))
        >>> bool(torch.allclose(w.T @ w, torch.eye(32), atol=1e-5))
        True

    References:
        Saxe, McClelland, Ganguli (2013), Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks, section 3.
        Stewart (1980), The Efficient Generation of Random Orthogonal Matrices with an Application to Condition
        Estimators, section 3 (the reflections).
        Mezzadri (2006), How to generate random matrices from the classical compact groups (the signs).

    Differs:
        Matrices of more than 2**14 entries are deterministic on one platform, and equal to about 1e-6 of ``gain``
        across platforms; smaller ones have the same bits everywhere.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("Orthogonal", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        layout.require_matrix("singular values")
        columns = layout.in_units * layout.receptive_field
        drawn = haar(key, layout.num_matrices, layout.out_units, columns)
        return layout.assemble(drawn if self.gain == 1 else drawn.mul_(self.gain))

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``gain / sqrt(max(rows, columns))``."""
        layout.require_matrix("singular values")
        return self.gain / math.sqrt(max(layout.out_units, layout.in_units * layout.receptive_field))


@dataclass(frozen=True, slots=True, kw_only=True)
class DeltaOrthogonal:
    """An orthogonal map at the center of the kernel, zeros elsewhere.

    Rule:
        The center of each kernel holds ``gain`` times a Haar-uniform semi-orthogonal ``out x in`` matrix.

    Promise:
        With stride 1 and enough padding the convolution multiplies every norm by ``gain``, exactly. The entries'
        standard deviation is ``gain / sqrt(out * receptive_field)``.

    Fails when:
        A group has more input than output channels: no isometry exists, and ``sample`` refuses.

    Args:
        gain: Multiplier on every singular value, positive. Default 1.0: an isometry.

    Raises:
        InvalidValueError: ``gain`` is not positive and finite.
        LayoutError: On ``sample``: the tensor has no kernel, or more input than output channels.

    Example:
        >>> w = DeltaOrthogonal().sample(Layout.conv(8, 4, (3, 3)), Key(0, "w"))
        >>> bool(torch.allclose(w[:, :, 1, 1].T @ w[:, :, 1, 1], torch.eye(4), atol=1e-5)), w[:, :, 0].any().item()
        (True, False)

    References:
        Xiao, Bahri, Sohl-Dickstein, Schoenholz, Pennington (2018), Dynamical Isometry and a Mean Field Theory of CNNs.
        Stewart (1980), The Efficient Generation of Random Orthogonal Matrices with an Application to Condition
        Estimators, section 3 (how the center is drawn).

    Differs:
        Matrices of more than 2**14 entries are deterministic on one platform, and equal to about 1e-6 of ``gain``
        across platforms; smaller ones have the same bits everywhere.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("DeltaOrthogonal", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        _require_widening_kernel(layout)
        center = haar(key, layout.num_matrices, layout.out_units, layout.in_units).mul_(self.gain)
        matrices = layout.matrices(torch.zeros(layout.shape, dtype=torch.float32, device="cpu"))
        matrices[..., layout.center] = center
        return layout.assemble(matrices)

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``gain / sqrt(out * receptive_field)``."""
        _require_widening_kernel(layout)
        return self.gain / math.sqrt(layout.out_units * layout.receptive_field)


def _require_widening_kernel(layout: Layout) -> None:
    if not layout.kernel_dims:
        raise LayoutError(
            f"DeltaOrthogonal needs a kernel, and a {layout.kind} layout of shape {layout.shape} has none.",
            fix="Orthogonal() for maps without a kernel",
        )
    if layout.in_units > layout.out_units:
        raise LayoutError(
            f"DeltaOrthogonal needs in <= out; a group has {layout.in_units} inputs and {layout.out_units} outputs.",
            context=[f"{layout.kind} layout of shape {layout.shape}, groups={layout.groups}"],
            fix="Orthogonal(), or a convolution with at least as many output channels",
        )
