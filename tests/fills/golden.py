"""Values of ours, bit for bit: what a seed and a name have drawn since this version of the fills.

python tests/fills/golden.py writes tests/fills/golden.json anew.
"""

import json
from pathlib import Path
from typing import Any

import torch

from exnihilo.fills import FILLS_VERSION, Box, Key, Law, bits, haar, permutation, values

FILE = Path(__file__).with_name("golden.json")

SEED, NAME = 7, "blocks.0.weight"
INDICES = [0, 1, 31, 32, 63, 64, 255, 256, 1023, 1_000_003, 2**32 - 1, 2**37, 2**40, 2**40 + 77, 2**62 + 5, 2**63 - 1]

# The maker of each law and its arguments, as texts: JSON has no infinity.
LAWS: list[tuple[str, list[str]]] = [
    ("uniform", ["0.0", "1.0"]),
    ("uniform", ["-0.1", "0.1"]),
    ("uniform", ["0.5", "0.6"]),
    ("normal", ["0.0", "1.0"]),
    ("normal", ["0.5", "0.02"]),
    ("truncated_normal", ["0.0", "1.0", "-2.0", "2.0"]),
    ("truncated_normal", ["0.1", "0.02", "-1.0", "3.25"]),
    ("truncated_normal", ["0.0", "0.02", "-4.0", "5.0"]),
    ("truncated_normal", ["0.0", "1.0", "-inf", "6.0"]),
    ("truncated_normal", ["1.0", "0.5", "10.0", "11.0"]),
    ("truncated_normal", ["0.0", "1.0", "30.0", "inf"]),
    ("truncated_normal", ["0.0", "1.0", "-inf", "-4.0"]),
    ("rademacher", ["0.5"]),
    ("constant", ["0.3"]),
]

HAAR = [(1, 1, 1), (2, 3, 5), (1, 32, 8), (1, 128, 128)]


def drawn() -> dict[str, Any]:
    """What the code at hand draws."""
    key = Key(SEED, NAME)
    return {
        "version": FILLS_VERSION,
        "seed": SEED,
        "name": NAME,
        "indices": INDICES,
        "words": [f"{bits(key, 1, start=index)[0]:08x}" for index in INDICES],
        "permutation": permutation(key, 12).tolist(),
        "haar": {"x".join(map(str, size)): haar_bits(*size) for size in HAAR},
        "laws": [{"law": maker, "arguments": texts, "bits": law_bits(maker, texts)} for maker, texts in LAWS],
    }


def law_bits(maker: str, arguments: list[str]) -> list[str]:
    """The float32 bits of a law's elements at ``INDICES``."""
    law: Law = getattr(Law, maker)(*map(float, arguments))
    elements = [values(law, Key(SEED, NAME), Box((2**63,), (index,), (1,))) for index in INDICES]
    return [f"{int(element.view(torch.int32)) & 0xFFFFFFFF:08x}" for element in elements]


def haar_bits(count: int, rows: int, columns: int) -> list[str]:
    """The float32 bits of small orthogonal matrices, the first and the last eight of them."""
    entries = haar(Key(SEED, NAME), count, rows, columns).flatten()
    return [f"{int(entry) & 0xFFFFFFFF:08x}" for entry in torch.cat([entries[:8], entries[-8:]]).view(torch.int32)]


if __name__ == "__main__":
    # A line for each field and each law, so that a change shows what changed.
    *fields, (name, laws) = drawn().items()
    lines = [f"{json.dumps(field)}: {json.dumps(value)}" for field, value in fields]
    rows = ",\n".join(map(json.dumps, laws))
    FILE.write_text("{" + ",\n".join([*lines, f"{json.dumps(name)}: [\n{rows}\n]"]) + "}\n")
