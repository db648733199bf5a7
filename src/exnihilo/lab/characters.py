"""Text to learn from that every Python has: the source of its own standard library, character by character.

Legend: N rows, T characters of a row.
"""

import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from exnihilo.errors import DataError

# Pure Python in every version that this project knows, long, and of many hands.
MODULES = (
    "argparse",
    "ast",
    "calendar",
    "configparser",
    "csv",
    "difflib",
    "doctest",
    "fractions",
    "inspect",
    "optparse",
    "shutil",
    "statistics",
    "textwrap",
    "typing",
)
# The characters that a network tells apart: printable ASCII and the line's end; all others are one symbol.
ALPHABET = (*map(chr, range(32, 127)), "\n", "other")
CONTEXT = 32
NUM_ROWS = 6000


def characters() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Windows of ``CONTEXT`` characters that do not overlap, and for each character the one that follows it.

    The text depends on the version of Python; the task's name carries a hash of it.

    Returns:
        The numbers of the characters in ``ALPHABET`` [N, T], and those of the next ones [N, T].

    Raises:
        DataError: The standard library's source is not installed, or is too short.

    Example:
        >>> inputs, following = characters()
        >>> inputs.shape, bool((inputs[:, 1:] == following[:, :-1]).all())
        ((6000, 32), True)
    """
    symbols = _symbols()
    needed = NUM_ROWS * (CONTEXT + 1)
    if len(symbols) < needed:
        raise DataError(
            f"The standard library's source has {len(symbols)} characters here; the task takes {needed}.",
            context=[f"read: {', '.join(MODULES)}"],
            fix="run with a Python whose standard library is installed as source files",
        )
    windows = symbols[:needed].reshape(NUM_ROWS, CONTEXT + 1)
    return windows[:, :-1].astype(np.float32), windows[:, 1:].astype(np.int64)


@cache
def _symbols() -> npt.NDArray[np.int64]:
    numbers = {character: number for number, character in enumerate(ALPHABET)}
    other = numbers["other"]
    return np.array([numbers.get(character, other) for name in MODULES for character in _source(name)], dtype=np.int64)


def _source(module: str) -> str:
    spec = importlib.util.find_spec(module)
    path = Path(spec.origin) if spec is not None and spec.origin is not None else None
    if path is None or path.suffix != ".py" or not path.is_file():
        raise DataError(
            f"The source of the standard library's module '{module}' is not installed.",
            context=["the task 'characters' is made of it"],
            fix="run with a Python whose standard library is installed as source files",
        )
    return path.read_text(encoding="utf-8")
