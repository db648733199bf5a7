"""Threefry2x32-20: the block cipher that turns a key and a counter into two random words.

Salmon, Moraes, Dror, Shaw (2011), *Parallel Random Numbers: As Easy as 1, 2, 3*.
"""

# R keys, B blocks of one counter each

import numpy as np
from numpy.typing import NDArray

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_INJECTIONS = 5  # after every fourth of the 20 rounds


def encrypt(keys_R2: NDArray[np.uint32], blocks_B: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The two 32-bit words of each block under each key.

    Args:
        keys_R2: Two words a key.
        blocks_B: 64-bit counters; the low half is the cipher's first word.

    Returns:
        First and second word, shape ``(R, B)`` each.

    Example:
        >>> first, second = encrypt(np.zeros((1, 2), np.uint32), np.zeros(1, np.uint64))
        >>> f"{first[0, 0]:08x} {second[0, 0]:08x}"
        '6b200159 99ba4efe'
    """
    key0, key1 = keys_R2[:, :1], keys_R2[:, 1:]
    schedule = (key0, key1, key0 ^ key1 ^ _PARITY)
    first = (blocks_B & np.uint64(0xFFFFFFFF)).astype(np.uint32) + key0
    second = (blocks_B >> np.uint64(32)).astype(np.uint32) + key1
    shifted = np.empty_like(second)
    for injection in range(_INJECTIONS):
        for rotation in _ROTATIONS[injection % 2]:
            # In place throughout: the working set must stay in the cache, or memory decides the speed.
            first += second
            np.left_shift(second, np.uint32(rotation), out=shifted)
            second >>= np.uint32(32 - rotation)
            second |= shifted
            second ^= first
        first += schedule[(injection + 1) % 3]
        second += schedule[(injection + 2) % 3] + np.uint32(injection + 1)
    return first, second
