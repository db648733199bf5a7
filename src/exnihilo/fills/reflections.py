"""Keyed semi-orthogonal matrices, Haar-uniform: a product of random reflections, drawn without a factorization.

The k-th vector that a QR factorization of standard normals reflects along is made of normals that no step before it
has seen. So it is drawn directly, as many entries shorter as there are reflections before it, and the factorization
falls away.

Small matrices are multiplied out one reflection after the other, in float64 and in a stated order, so that their bits
are the same everywhere. Reflections of large ones are multiplied in blocks: with their vectors as the rows of ``V``,
the product of a block is ``I - V.T inverse(U) V``, where ``U`` is the upper triangle of ``V V.T`` with half of its
diagonal.
"""

# M matrices, N entries of their longer side, K of their shorter side, B reflections of a block

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exnihilo.fills import backends
from exnihilo.fills.draws import normal
from exnihilo.fills.key import Key

# Entries of a matrix up to which reflections are multiplied one by one: in the kernel no slower than in blocks. Another
# number would be another version of the fills.
SMALL = 2**14
# A vector of zeros, which a draw of one number may be, is reflected along its first axis.
_SHORTEST = 1e-6
_TOGETHER = 2**18  # entries that the reference multiplies at once: 2 MiB


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
        A fresh float32 tensor of shape ``(count, rows, columns)`` on the CPU. Those of at most 2**14 entries have the
        same bits everywhere. Larger ones are deterministic on one platform, with one number of threads, and equal to
        about 1e-6 across platforms, whose matrix products are rounded differently.

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
    normals = normal(key, count * short * (2 * long - short + 1) // 2)
    if long * short <= SMALL:
        return _one_by_one(normals, count, rows, columns)
    upper = torch.ones(short, long, dtype=torch.bool, device="cpu").triu_()
    vectors_MKN = torch.zeros(count, short, long, dtype=torch.float32, device="cpu").masked_scatter_(upper, normals)
    vectors_MKN = vectors_MKN.to(_dtype())
    out = torch.zeros(count, rows, columns, dtype=vectors_MKN.dtype, device="cpu")
    out_MNK = out if rows >= columns else out.mT
    block = _block(count, short)
    for start in reversed(range(0, short, block)):
        _reflect(vectors_MKN[:, start : start + block, start:], out_MNK[:, start:, start:])
    return out.to(torch.float32)


def _one_by_one(normals: Tensor, count: int, rows: int, columns: int) -> Tensor:
    """The products of small matrices, of which each bit is stated."""
    out = torch.empty(count, rows, columns, dtype=torch.float32, device="cpu")
    if (kernel := backends.compiled()) is not None:
        kernel.reflections(normals.data_ptr(), out.data_ptr(), count, rows, columns)
        return out
    long, short = max(rows, columns), min(rows, columns)
    together = _TOGETHER // (long * short)
    for first in range(0, count, together):
        part = slice(first, first + together)
        made = torch.from_numpy(in_order(normals.view(count, -1)[part].double().numpy(), long, short))
        out[part] = made if rows >= columns else made.mT
    return out


def in_order(normals_ME: NDArray[np.float64], long: int, short: int) -> NDArray[np.float64]:
    """The kernel's operations in its order: each sum from its first term to its last."""
    product_MNK = np.zeros((len(normals_ME), long, short))
    end = normals_ME.shape[1]
    for k in reversed(range(short)):
        vector_MN = normals_ME[:, end - (long - k) : end].copy()
        end -= long - k
        head_M, tail_M = vector_MN[:, 0], _summed(vector_MN[:, 1:] * vector_MN[:, 1:])
        sign_M = np.where(head_M < 0, 1.0, -1.0)
        head_M -= sign_M * np.maximum(np.sqrt(head_M * head_M + tail_M), _SHORTEST)
        half_M = (tail_M + head_M * head_M) / 2.0
        first_M = sign_M * head_M / half_M
        after_MNK = product_MNK[:, k + 1 :, k + 1 :]
        sums_MK = _summed(vector_MN[:, 1:, None] * after_MNK) / half_M[:, None]
        product_MNK[:, k, k] = sign_M - head_M * first_M
        product_MNK[:, k + 1 :, k] = -(vector_MN[:, 1:] * first_M[:, None])
        product_MNK[:, k, k + 1 :] = -(head_M[:, None] * sums_MK)
        after_MNK -= vector_MN[:, 1:, None] * sums_MK[:, None, :]
    return product_MNK


def _summed(terms: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum over dim 1, from 0 and the first term to the last; NumPy's own sum pairs terms."""
    if not terms.shape[1]:
        return np.zeros_like(terms, shape=(terms.shape[0], *terms.shape[2:]))
    return np.add.accumulate(terms, axis=1)[:, -1] + 0.0


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
