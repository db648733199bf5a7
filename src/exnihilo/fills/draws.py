"""Keyed draws: bits, uniforms, normals and permutations as pure functions of (key, index).

A tile of 64 elements takes 32 blocks of the cipher: element ``i`` is word ``i % 64 // 32`` of block
``32 * (i // 64) + i % 32``. The two words of a block make one Box-Muller pair, so that both halves of a tile are
written with contiguous stores. No draw reads or writes the global random state of torch, numpy or Python.
"""

# R keys, T tiles, P pairs of a tile (its 32 blocks), E elements of a tile

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills.key import Key
from exnihilo.fills.threefry import encrypt

_TILE = 64
_PAIRS = 32
_CHUNK_TILES = 512  # 16384 blocks: the cipher's three arrays take 192 KiB and stay in the second-level cache

_Words = NDArray[np.uint32]
_Scalar = TypeVar("_Scalar", np.uint32, np.float32)


def bits(key: Key, n: int, start: int = 0) -> NDArray[np.uint32]:
    """Elements ``start`` to ``start + n`` of the key's 32-bit words.

    Args:
        key: What the words depend on, next to their index.
        n: How many; ``bits(key, 10)[:5]`` equals ``bits(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh array of shape ``(n,)``.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative.

    Example:
        >>> bits(Key(0, "mask"), 3).shape
        (3,)
        >>> bool((bits(Key(0, "mask"), 5, start=100) == bits(Key(0, "mask"), 105)[100:]).all())
        True
    """
    return _draw([key], n, start, np.uint32, _copy)[0]


def uniform(key: Key, n: int, start: int = 0) -> Tensor:
    """Uniform numbers in [0, 1): the upper 24 bits of each word, times 2**-24 (exact in float32).

    Args:
        key: What the numbers depend on, next to their index.
        n: How many; ``uniform(key, 10)[:5]`` equals ``uniform(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh float32 tensor of shape ``(n,)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative.

    Example:
        >>> u = uniform(Key(0, "x"), 1000)
        >>> bool((u >= 0).all() and (u < 1).all())
        True
    """
    return uniforms([key], n, start)[0]


def normal(key: Key, n: int, start: int = 0) -> Tensor:
    """Standard normal numbers by Box-Muller: computed in float64, rounded to float32.

    With the words ``a, b`` of a block: ``sqrt(-2 log((a + 1/2) / 2**32))`` times the cosine and the sine of
    ``2 pi b / 2**32``. The largest magnitude is 6.77. The words are the same everywhere; the last bit of a normal may
    differ between platforms, whose logarithms and cosines are rounded differently.

    Args:
        key: What the numbers depend on, next to their index.
        n: How many; ``normal(key, 10)[:5]`` equals ``normal(key, 5)``.
        start: Index of the first.

    Returns:
        A fresh float32 tensor of shape ``(n,)`` on the CPU.

    Raises:
        InvalidValueError: ``n`` or ``start`` is negative.

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
    return torch.from_numpy(_draw(keys, n, start, np.float32, _uniform_pairs))


def normals(keys: Sequence[Key], n: int, start: int = 0) -> Tensor:
    """``normal`` for R keys at once, shape ``(R, n)``: row r equals ``normal(keys[r], n, start)`` bit for bit.

    Example:
        >>> normals([Key(seed, "weight") for seed in range(3)], 8).shape
        torch.Size([3, 8])
    """
    return torch.from_numpy(_draw(keys, n, start, np.float32, _normal_pairs))


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


def _draw(
    keys: Sequence[Key],
    n: int,
    start: int,
    dtype: type[_Scalar],
    write: Callable[[_Words, _Words, NDArray[_Scalar]], None],
) -> NDArray[_Scalar]:
    _require_range(n, start)
    first_tile, last_tile = start // _TILE, -(-(start + n) // _TILE)
    words_R2 = np.array([key.words for key in keys], np.uint32).reshape(len(keys), 2)
    out = np.empty((len(keys), (last_tile - first_tile) * _TILE), dtype)
    out_RTE = out.reshape(len(keys), last_tile - first_tile, _TILE)
    # Whole tiles always: an element meets the same vector lanes whatever n is, so that its bits cannot depend on n.
    for rows, tiles in _chunks(len(keys), last_tile - first_tile):
        first_block = (first_tile + tiles.start) * _PAIRS
        blocks = np.arange(first_block, first_block + (tiles.stop - tiles.start) * _PAIRS, dtype=np.uint64)
        first, second = encrypt(words_R2[rows], blocks)
        shape_RTP = (len(first), -1, _PAIRS)
        write(first.reshape(shape_RTP), second.reshape(shape_RTP), out_RTE[rows, tiles])
    offset = start - first_tile * _TILE
    return np.ascontiguousarray(out[:, offset : offset + n])


def _chunks(num_keys: int, num_tiles: int) -> Iterator[tuple[slice, slice]]:
    rows = max(1, _CHUNK_TILES // max(num_tiles, 1))
    for row in range(0, num_keys, rows):
        for tile in range(0, num_tiles, _CHUNK_TILES):
            yield slice(row, min(row + rows, num_keys)), slice(tile, min(tile + _CHUNK_TILES, num_tiles))


def _copy(first_RTP: _Words, second_RTP: _Words, out_RTE: NDArray[np.uint32]) -> None:
    out_RTE[..., :_PAIRS] = first_RTP
    out_RTE[..., _PAIRS:] = second_RTP


def _uniform_pairs(first_RTP: _Words, second_RTP: _Words, out_RTE: NDArray[np.float32]) -> None:
    for words, out in ((first_RTP, out_RTE[..., :_PAIRS]), (second_RTP, out_RTE[..., _PAIRS:])):
        words >>= np.uint32(8)
        # 24 bits fit the signed type, whose conversion to float32 is a single vector instruction.
        np.multiply(words.view(np.int32), np.float32(2**-24), out=out, casting="unsafe", dtype=np.float32)


def _normal_pairs(first_RTP: _Words, second_RTP: _Words, out_RTE: NDArray[np.float32]) -> None:
    radius = np.sqrt(-2.0 * np.log((first_RTP + 0.5) * 2.0**-32))
    angle = second_RTP * (2.0 * np.pi * 2.0**-32)
    out_RTE[..., :_PAIRS] = radius * np.cos(angle)
    out_RTE[..., _PAIRS:] = radius * np.sin(angle)


def _require_range(n: int, start: int) -> None:
    if n < 0 or start < 0:
        raise InvalidValueError(
            f"A draw of n={n} elements from start={start} was asked; neither may be negative.",
            fix="normal(key, n=10, start=0)",
        )
