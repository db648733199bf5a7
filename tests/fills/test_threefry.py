"""The cipher against its published vectors, and against a second writing of it in plain ints."""

import pytest
import torch
from fill_cases import BACKENDS, LEVELS, backend

from exnihilo.fills import Key, bits, reference
from exnihilo.fills.backends import compiled
from exnihilo.fills.laws import Kind

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


def in_ints(block: int, word: int) -> tuple[int, int]:
    """The same by a 64-bit counter and a 64-bit key."""
    return threefry_in_ints((block & 0xFFFFFFFF, block >> 32), (word & 0xFFFFFFFF, word >> 32))


def encrypted(block: int, word: int) -> tuple[int, int]:
    """By the reference; its counters are int64."""
    first, second = reference.encrypt([word], torch.tensor([block if block < 2**63 else block - 2**64]))
    return int(first[0, 0]) & 0xFFFFFFFF, int(second[0, 0]) & 0xFFFFFFFF


@pytest.mark.parametrize(("counter", "key", "result"), PUBLISHED)
def test_published_vectors_are_met(counter: tuple[int, int], key: tuple[int, int], result: tuple[int, int]) -> None:
    assert encrypted(counter[0] | counter[1] << 32, key[0] | key[1] << 32) == result
    assert threefry_in_ints(counter, key) == result


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("counter", "key", "result"), PUBLISHED)
def test_the_compiled_kernel_meets_the_published_vectors(
    level: str, counter: tuple[int, int], key: tuple[int, int], result: tuple[int, int]
) -> None:
    """Its counters end at 2**62, so that of the three only that of zeros is within reach; under the keys of the others
    it equals the plain ints, which met them."""
    kernel, word = compiled(), key[0] | key[1] << 32
    assert kernel is not None
    block = (counter[0] | counter[1] << 32) % 2**57
    block -= block % 32
    words = torch.zeros(64, dtype=torch.int32)
    with backend(level):
        kernel.fill(Kind.WORDS, 0, word, (), words.data_ptr(), block * 2, 64)
    found = [value & 0xFFFFFFFF for value in words.tolist()]
    assert list(zip(found[:32], found[32:], strict=True)) == [in_ints(block + lane, word) for lane in range(32)]
    if counter == (0, 0):
        assert (found[0], found[32]) == result


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("start", [0, 63, 2**32 - 64, 2**33 * 32 - 128, 2**40 + 77, 2**62, 2**63 - 300])
def test_words_are_those_of_plain_ints_wherever_the_counter_is(name: str, start: int) -> None:
    """2**33 * 32 - 128 and on: the counter's low half runs over within the draw."""
    key = Key(5, "cipher")
    with backend(name):
        drawn = bits(key, 300, start=start).tolist()
    blocks = [(32 * (index // 64) + index % 32, index % 64 // 32) for index in range(start, start + 300)]
    assert drawn == [in_ints(block, key.word)[half] for block, half in blocks]


def test_many_keys_and_counters_agree_with_plain_ints() -> None:
    keys = [Key(seed, "cipher").word for seed in range(7)] + [0, 2**31, 2**63, 2**64 - 1]
    blocks = [0, 1, 31, 2**31, 2**32 - 1, 2**32, 2**62 + 12345, 2**63 - 1]
    first, second = reference.encrypt(keys, torch.tensor(blocks))
    for row, key in enumerate(keys):
        for column, block in enumerate(blocks):
            found = (int(first[row, column]) & 0xFFFFFFFF, int(second[row, column]) & 0xFFFFFFFF)
            assert found == in_ints(block, key)
