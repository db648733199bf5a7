"""The cipher against its published vectors, and against a second writing of it in plain ints."""

import numpy as np
import pytest
from exnihilo.fills.threefry import encrypt

from exnihilo.fills import Key

# Random123's known-answer file, threefry2x32 with 20 rounds: counter, key, result.
PUBLISHED = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


def threefry_in_ints(counter: tuple[int, int], key: tuple[int, int]) -> tuple[int, int]:
    """Round by round, as the paper's Threefish ancestor is described."""
    mask = 0xFFFFFFFF
    subkeys = [key[0], key[1], 0x1BD11BDA ^ key[0] ^ key[1]]
    x, y = (counter[0] + subkeys[0]) & mask, (counter[1] + subkeys[1]) & mask
    for number in range(20):
        turn = [13, 15, 26, 6, 17, 29, 16, 24][number % 8]
        x = (x + y) & mask
        y = ((y << turn | y >> (32 - turn)) & mask) ^ x
        if number % 4 == 3:
            step = number // 4 + 1
            x = (x + subkeys[step % 3]) & mask
            y = (y + subkeys[(step + 1) % 3] + step) & mask
    return x, y


@pytest.mark.parametrize(("counter", "key", "result"), PUBLISHED)
def test_published_vectors_are_met(counter: tuple[int, int], key: tuple[int, int], result: tuple[int, int]) -> None:
    first, second = encrypt(np.array([key], np.uint32), np.array([counter[0] | counter[1] << 32], np.uint64))
    assert (int(first[0, 0]), int(second[0, 0])) == result
    assert threefry_in_ints(counter, key) == result


def test_many_keys_and_counters_agree_with_plain_ints() -> None:
    keys = np.array([Key(seed, "cipher").words for seed in range(7)])
    blocks = np.array([0, 1, 31, 2**32 - 1, 2**32, 2**63 + 12345, 2**64 - 1], np.uint64)
    first, second = encrypt(keys, blocks)
    for row, key in enumerate(keys.tolist()):
        for column, block in enumerate(blocks.tolist()):
            expected = threefry_in_ints((block & 0xFFFFFFFF, block >> 32), (key[0], key[1]))
            assert (int(first[row, column]), int(second[row, column])) == expected


def test_inputs_are_left_as_they_were() -> None:
    keys, blocks = np.array([[1, 2]], np.uint32), np.arange(4, dtype=np.uint64)
    encrypt(keys, blocks)
    assert keys.tolist() == [[1, 2]]
    assert blocks.tolist() == [0, 1, 2, 3]
