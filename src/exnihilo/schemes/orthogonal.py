"""Semi-orthogonal matrices, for dense maps and for the center of a kernel."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.errors import LayoutError
from exnihilo.fills import Key, normal
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_positive


@dataclass(frozen=True, slots=True, kw_only=True)
class Orthogonal:
    """Semi-orthogonal matrix, Haar-uniform, times ``gain``; each logical matrix of the tensor has its own.

    Rule:
        Draw ``A ~ N(0, 1)``, factor ``A = QR``, flip columns so that ``diag(R) > 0``, and use ``W = gain * Q``, seen as
        a matrix of ``out`` rows and ``in * receptive_field`` columns (the transpose is factored where it is wide).

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
        Mezzadri (2006), How to generate random matrices from the classical compact groups (the signs).

    Differs:
        The factorization runs in float64, so its last float32 bit may depend on the LAPACK in use.
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("Orthogonal", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        normals = layout.matrices(normal(key, layout.numel))
        return layout.assemble(self.gain * _haar(normals.flatten(2)).to(torch.float32))

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
    """

    gain: float = 1.0

    def __post_init__(self) -> None:
        require_positive("DeltaOrthogonal", "gain", self.gain, 1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        _require_widening_kernel(layout)
        matrices = layout.matrices(normal(key, layout.numel))
        center = self.gain * _haar(matrices[..., layout.center]).to(torch.float32)
        matrices = torch.zeros_like(matrices)
        matrices[..., layout.center] = center
        return layout.assemble(matrices)

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``gain / sqrt(out * receptive_field)``."""
        _require_widening_kernel(layout)
        return self.gain / math.sqrt(layout.out_units * layout.receptive_field)


def _haar(normals_MOI: Tensor) -> Tensor:
    """The semi-orthogonal factor of each matrix of standard normals (M matrices, O rows, I columns)."""
    normals = normals_MOI.to(torch.float64)
    wide = normals.shape[1] < normals.shape[2]
    q, r = torch.linalg.qr(normals.mT if wide else normals)
    # LAPACK's signs are those of its algorithm, not of the Haar law; with diag(R) > 0 the factor is unique.
    q = q * torch.where(r.diagonal(dim1=1, dim2=2) < 0, -1.0, 1.0).to(torch.float64)[:, None, :]
    return q.mT if wide else q


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
