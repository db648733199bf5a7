"""Keys: what a draw depends on."""

import hashlib
from dataclasses import dataclass

from exnihilo.errors import InvalidValueError

# A change of any drawn value raises this number (changelog kind `numerics`): it is hashed into every key.
FILLS_VERSION = 2
# A copy of a hash that is begun costs half of a new one.
_BEGUN = hashlib.blake2b(FILLS_VERSION.to_bytes(4, "little"), digest_size=8)

_SEED_LIMIT = 2**63


@dataclass(frozen=True, slots=True)
class Key:
    """A seed and a name: equal keys draw equal values, anywhere and in any order; different keys independent ones.

    Args:
        seed: An int in [0, 2**63).
        name: What is drawn, such as a parameter's full name; any text.

    Raises:
        InvalidValueError: ``seed`` is no int of that range, or ``name`` is no text.

    Example:
        >>> Key(7, "blocks.0.weight") == Key(7, "blocks.0.weight")
        True
        >>> Key(7, "blocks.0.weight").derive("noise")
        Key(seed=7, name='blocks.0.weight/noise')
    """

    seed: int
    name: str

    def __post_init__(self) -> None:
        _require_seed(self.seed, self.name)
        _require_name(self.name)

    def derive(self, purpose: str) -> "Key":
        """The key of a second, independent draw for the same name."""
        return Key(self.seed, f"{self.name}/{purpose}")

    @property
    def word(self) -> int:
        """The cipher's 64-bit key: BLAKE2b-64 of version, seed and name; its low half is the first key word."""
        return word_of(self.seed, self.name)


def word_of(seed: int, name: str) -> int:
    """``Key(seed, name).word`` for a seed and a name that are known to be right."""
    # Fixed widths in front of the name keep the encoding unambiguous.
    state = _BEGUN.copy()
    state.update(seed.to_bytes(8, "little") + name.encode("utf-8", "surrogatepass"))
    return int.from_bytes(state.digest(), "little")


def _require_seed(seed: object, name: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise InvalidValueError(
            f"Key.seed is {seed!r} of type {type(seed).__name__}; it must be an int.",
            context=[f"key name: {name!r}"],
            fix="Key(int(seed), name)",
        )
    if not 0 <= seed < _SEED_LIMIT:
        raise InvalidValueError(
            f"Key.seed is {seed}; it must be in [0, 2**63).",
            context=[f"key name: {name!r}"],
            fix="Key(seed % 2**63, name)",
        )


def _require_name(name: object) -> None:
    if not isinstance(name, str):
        raise InvalidValueError(
            f"Key.name is {name!r} of type {type(name).__name__}; it must be text.", fix="Key(seed, str(name))"
        )
