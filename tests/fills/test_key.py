"""Keys: what they accept, and that different ones have nothing in common."""

import hashlib

import numpy as np
import pytest

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key


def test_a_keys_word_is_the_hash_of_version_seed_and_name() -> None:
    """Pinned: a change here changes every value that was ever drawn."""
    digest = hashlib.blake2b(b"\x02\0\0\0" + b"\x07\0\0\0\0\0\0\0" + b"blocks.0.weight", digest_size=8).digest()
    assert Key(7, "blocks.0.weight").word == int.from_bytes(digest, "little") == 0x2B4616C000172DC8


def test_near_seeds_and_names_give_unrelated_words() -> None:
    """Half of the 64 bits differ; 10 or 54 of them would be 5.5 sigma away."""
    keys = [Key(seed, name) for seed in (0, 1, 2**62, 2**63 - 1) for name in ("", "a", "b", "ab", "a/b", "ä", "\ud800")]
    words = [key.word for key in keys]
    distances = {(left ^ right).bit_count() for left in words for right in words if left is not right}
    assert 10 < min(distances) <= max(distances) < 54


def test_a_derived_key_has_its_own_name() -> None:
    assert Key(3, "w").derive("noise") == Key(3, "w/noise")


def test_seeds_up_to_63_bits_are_accepted() -> None:
    assert 0 <= Key(2**63 - 1, "w").word < 2**64


@pytest.mark.parametrize("seed", [-1, 2**63, 10**40])
def test_seeds_out_of_range_are_refused(seed: int) -> None:
    with pytest.raises(InvalidValueError) as caught:
        Key(seed, "blocks.0.weight")
    assert str(caught.value).splitlines() == [
        f"Key.seed is {seed}; it must be in [0, 2**63).",
        "  key name: 'blocks.0.weight'",
        "  Fix: Key(seed % 2**63, name)",
        "  [invalid-value]  docs/errors.md#invalid-value",
    ]


@pytest.mark.parametrize("seed", [1.0, "1", True, None, np.int64(1)])
def test_seeds_that_are_no_ints_are_refused(seed: object) -> None:
    with pytest.raises(InvalidValueError, match="it must be an int"):
        Key(seed, "w")  # pyright: ignore[reportArgumentType]


def test_names_that_are_no_text_are_refused() -> None:
    with pytest.raises(InvalidValueError, match=r"Key.name is 3 of type int; it must be text"):
        Key(0, 3)  # pyright: ignore[reportArgumentType]
