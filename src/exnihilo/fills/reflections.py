"""Keyed semi-orthogonal matrices, Haar-uniform: a product of random reflections, drawn without a factorization.

The k-th vector that a QR factorization of standard normals reflects along is made of normals that no step before it
has seen. So it is drawn directly, as many entries shorter as there are reflections before it, and the factorization
falls away. Reflections are multiplied in blocks: with their vectors as the rows of ``V``, the product of a block is
``I - V.T inverse(U) V``, where ``U`` is the upper triangle of ``V V.T`` with half of its diagonal.
"""

# M matrices, N entries of their longer side, K of their shorter side, B reflections of a block

import math

import torch
from torch import Tensor

from exnihilo.fills.draws import normal
from exnihilo.fills.key import Key

# A vector of zeros, which a draw of one number may be, is reflected along its first axis.
_SHORTEST = 1e-6


def haar(key: Key, count: int, rows: int, columns: int) -> Tensor:
    """``count`` independent matrices with orthonormal columns, or rows where they are wide, each Haar-uniform.

    The law is that of ``Q`` in ``A = QR`` with ``A`` standard normal and ``diag(R) > 0``, which no orthogonal map on
    either side changes: a square ``Q`` has determinant 1 as often as -1, and a single column is uniform on the sphere.

    Args:
        key: What the matrices depend on, next to their sizes.
        count: How many, at least 1.
        rows: Rows of each, at least 1.
        columns: Columns of each, at least 1.

    Returns:
        A fresh float32 tensor of shape ``(count, rows, columns)`` on the CPU. Deterministic on one platform, with one
        number of threads; equal to about 1e-6 across platforms, whose matrix products are rounded differently.

    Example:
        >>> q = haar(Key(0, "w"), 2, 6, 4)
        >>> bool(torch.allclose(q.mT @ q, torch.eye(4).expand(2, 4, 4), atol=1e-6))
        True

    References:
        Stewart (1980), The Efficient Generation of Random Orthogonal Matrices with an Application to Condition
        Estimators, section 3 (the reflections).
        Mezzadri (2006), How to generate random matrices from the classical compact groups (the signs).
        Joffrain, Low, Quintana-Ortí, van de Geijn, Van Zee (2006), Accumulating Householder transformations, revisited
        (the blocks).
    """
    long, short = max(rows, columns), min(rows, columns)
    upper = torch.ones(short, long, dtype=torch.bool, device="cpu").triu_()
    normals = normal(key, count * short * (2 * long - short + 1) // 2)
    vectors_MKN = torch.zeros(count, short, long, dtype=torch.float32, device="cpu").masked_scatter_(upper, normals)
    vectors_MKN = vectors_MKN.to(_dtype())
    out = torch.zeros(count, rows, columns, dtype=vectors_MKN.dtype, device="cpu")
    out_MNK = out if rows >= columns else out.mT
    block = _block(count, short)
    for start in reversed(range(0, short, block)):
        _reflect(vectors_MKN[:, start : start + block, start:], out_MNK[:, start:, start:])
    return out.to(torch.float32)


def _reflect(vectors_MBN: Tensor, out_MNK: Tensor) -> None:
    """Put a block in front of the product of those after it, which ``out`` holds behind B rows and columns of zeros.

    The vectors come as normals ``x``, and become those that take ``x`` to its first axis: ``x ± |x| e``, with the sign
    that cancels nothing.
    """
    width = vectors_MBN.shape[1]
    heads_MB = vectors_MBN.diagonal(dim1=1, dim2=2)
    lengths_MB = torch.linalg.vector_norm(vectors_MBN, dim=2, dtype=torch.float64)
    tails_MB = lengths_MB.square() - heads_MB.double().square()
    # The sign of what the reflection leaves on the axis; times it, the law is Haar's and not that of an algorithm.
    signs_MB = torch.where(heads_MB < 0, 1.0, -1.0).to(vectors_MBN.dtype)
    heads_MB -= signs_MB * lengths_MB.clamp_min(_SHORTEST).to(vectors_MBN.dtype)

    factors_MBB = torch.bmm(vectors_MBN, vectors_MBN.mT).triu_()
    # Squares of the vectors as they were rounded, in float64: their errors alone would bend the result, not its angles.
    factors_MBB.diagonal(dim1=1, dim2=2).copy_((tails_MB + heads_MB.double().square()) / 2)
    identity = torch.eye(width, dtype=vectors_MBN.dtype, device="cpu")
    inverses_MBB = torch.linalg.solve_triangular(factors_MBB, identity, upper=True)

    own_MBB = vectors_MBN[:, :, :width] * signs_MB[:, None, :]
    after_MBK = torch.bmm(vectors_MBN[:, :, width:], out_MNK[:, width:, width:])
    out_MNK.diagonal(dim1=1, dim2=2)[:, :width] = signs_MB
    out_MNK.baddbmm_(vectors_MBN.mT, torch.bmm(inverses_MBB, torch.cat((own_MBB, after_MBK), dim=2)), alpha=-1)


def _block(count: int, reflections: int) -> int:
    """Reflections of a block, by what was fastest for 1 to 4000 matrices of 16 to 4096: a multiple of 16.

    Small blocks cost more passes over what follows them (``4 K``) and more starts of operations (a million products of
    numbers, shared by the matrices); large ones cost products within the block.
    """
    return 16 * max(1, round(math.sqrt(4 * reflections + 1e6 / (reflections * count)) / 16))


def _dtype() -> torch.dtype:
    """What is multiplied: float64, which is never rounded, where PyTorch was told to round float32 before a product."""
    own = getattr(torch.backends.mkldnn, "matmul", None)  # PyTorch 2.9 and later
    precision = own.fp32_precision if own else torch.get_float32_matmul_precision()
    rounded = torch.is_autocast_enabled("cpu") or precision not in ("none", "ieee", "highest")
    return torch.float64 if rounded else torch.float32
