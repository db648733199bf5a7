"""Fresh keyed draws: bits, uniforms, normals and permutations as pure functions of (key, index).

No draw reads or writes the global random state of torch, numpy or Python.
"""

# R keys, E elements

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import backends, reference
from exnihilo.fills.box import LIMIT
from exnihilo.fills.key import Key
from exnihilo.fills.laws import Kind, Law

_WORDS = Law(Kind.WORDS)
_UNIFORM = Law.uniform()
_NORMAL = Law.normal()

_REFERENCE_TILES = 2**10  # tiles that the reference makes together: about twenty arrays of this many


def bits(key: Key, n: int, start: int = 0) -> NDArray[np.uint32]:
    """Elements ``start`` to ``start + n`` of the key's 32-bit words.

    Args:
        key: What the words depend on, next to their index.
        n: How many; ``bits(key, 10)[:5]`` equals ``bits(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh array of shape ``(n,)``.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative, or an index is 2**63 or above.

    Example:
        >>> bits(Key(0, "mask"), 3).shape
        (3,)
        >>> bool((bits(Key(0, "mask"), 5, start=100) == bits(Key(0, "mask"), 105)[100:]).all())
        True
    """
    return _drawn(_WORDS, [key], n, start)[0].numpy().view(np.uint32)


def uniform(key: Key, n: int, start: int = 0) -> Tensor:
    """Uniform numbers in [0, 1): the upper 24 bits of each word, times 2**-24 (exact in float32).

    Args:
        key: What the numbers depend on, next to their index.
        n: How many; ``uniform(key, 10)[:5]`` equals ``uniform(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh float32 tensor of shape ``(n,)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative, or an index is 2**63 or above.

    Example:
        >>> u = uniform(Key(0, "x"), 1000)
        >>> bool((u >= 0).all() and (u < 1).all())
        True
    """
    return uniforms([key], n, start)[0]


def normal(key: Key, n: int, start: int = 0) -> Tensor:
    """Standard normal numbers by Box-Muller, in float32.

    The largest magnitude is 6.6605. The bits are the same everywhere: ``docs/fills.md`` has every operation.

    Args:
        key: What the numbers depend on, next to their index.
        n: How many; ``normal(key, 10)[:5]`` equals ``normal(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh float32 tensor of shape ``(n,)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative, or an index is 2**63 or above.

    Example:
        >>> bool((normal(Key(0, "w"), 10)[:5] == normal(Key(0, "w"), 5)).all())
        True

    References:
        Box, Muller (1958), A Note on the Generation of Random Normal Deviates.
    """
    return normals([key], n, start)[0]


def uniforms(keys: Sequence[Key], n: int, start: int = 0) -> Tensor:
    """``uniform`` for R keys at once, shape ``(R, n)``: row r equals ``uniform(keys[r], n, start)`` bit for bit.

    Example:
        >>> uniforms([Key(seed, "dropout") for seed in range(3)], 8).shape
        torch.Size([3, 8])
    """
    return _drawn(_UNIFORM, keys, n, start)


def normals(keys: Sequence[Key], n: int, start: int = 0) -> Tensor:
    """``normal`` for R keys at once, shape ``(R, n)``: row r equals ``normal(keys[r], n, start)`` bit for bit.

    Example:
        >>> normals([Key(seed, "weight") for seed in range(3)], 8).shape
        torch.Size([3, 8])
    """
    return _drawn(_NORMAL, keys, n, start)


def permutation(key: Key, n: int) -> Tensor:
    """A uniformly random order of ``0 .. n-1``: the indices in the order of their keyed 64-bit values.

    Args:
        key: What the order depends on, next to ``n``.
        n: How many, not negative.

    Returns:
        A fresh int64 tensor of shape ``(n,)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` is negative.

    Example:
        >>> sorted(permutation(Key(0, "order"), 6).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    return permutations(key, n, 1)[0]


def permutations(key: Key, n: int, count: int) -> Tensor:
    """``count`` independent random orders of ``0 .. n-1``, such as the orders of a data set's rows, one an epoch.

    Row r depends on (key, n, r) alone, and row 0 is ``permutation(key, n)``.

    Returns:
        A fresh int64 tensor of shape ``(count, n)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` or ``count`` is negative.

    Example:
        >>> permutations(Key(0, "order"), 6, 3).sort(dim=1).values.tolist()[2]
        [0, 1, 2, 3, 4, 5]
    """
    _require_range(n, 0)
    _require_range(count, 0)
    words = bits(key, 2 * n * count).astype(np.uint64).reshape(count, n, 2)
    values = words[..., 0] << np.uint64(32) | words[..., 1]
    return torch.from_numpy(np.argsort(values, axis=1, kind="stable").astype(np.int64, copy=False))


def _drawn(law: Law, keys: Sequence[Key], n: int, start: int) -> Tensor:
    """The law's elements ``start`` to ``start + n`` for each key."""
    _require_range(n, start)
    dtype = torch.int32 if law.kind is Kind.WORDS else torch.float32
    out_RE = torch.empty(len(keys), n, dtype=dtype, device="cpu")
    if (kernel := backends.compiled()) is not None:
        for key, out_E in zip(keys, out_RE, strict=True):
            kernel.fill(law.kind, 0, key.word, law.parameters, out_E.data_ptr(), start, n)
        return out_RE
    first, last = start // reference.TILE, -(-(start + n) // reference.TILE)
    rows = max(1, _REFERENCE_TILES // max(last - first, 1))
    for row in range(0, len(keys), rows):
        words = [key.word for key in keys[row : row + rows]]
        for tile in range(first, last, _REFERENCE_TILES):
            tiles = torch.arange(tile, min(tile + _REFERENCE_TILES, last), device="cpu")
            made_RE = reference.tiles(law, words, tiles).flatten(1)
            begin = max(tile * reference.TILE, start)
            end = min((int(tiles[-1]) + 1) * reference.TILE, start + n)
            out_RE[row : row + rows, begin - start : end - start] = made_RE[
                :, begin - tile * reference.TILE : end - tile * reference.TILE
            ]
    return out_RE


def _require_range(n: int, start: int) -> None:
    if n < 0 or start < 0:
        raise InvalidValueError(
            f"A draw of n={n} elements from start={start} was asked; neither may be negative.",
            fix="normal(key, n=10, start=0)",
        )
    if start + n > LIMIT:
        raise InvalidValueError(
            f"A draw of n={n} elements from start={start} was asked; an index goes up to 2**63.",
            fix="draw by another name: each key has indices of its own",
        )
