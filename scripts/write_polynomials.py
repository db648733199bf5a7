"""Writes src/exnihilo/fills/_polynomials.h, the C form of the coefficients in fills/polynomials.py.

python scripts/write_polynomials.py
"""

from collections.abc import Sequence
from pathlib import Path

from exnihilo.fills import polynomials

HEADER = Path(__file__).parents[1] / "src" / "exnihilo" / "fills" / "_polynomials.h"


def main() -> None:
    """Write the header."""
    HEADER.write_text(header())


def header() -> str:
    """The text of the header."""
    lines = ["/* Written by scripts/write_polynomials.py from polynomials.py; not to be edited. */"]
    for name in ("LN2", "ANGLE_STEP", "FAR"):
        lines.append(f"#define {name} {hexadecimal(getattr(polynomials, name))}")
    for name in ("LOG", "SIN", "COS", "CENTER", "TAIL"):
        lines.append(f"#define {name}_POLYNOMIAL(t) {nested(getattr(polynomials, name))}")
    return "\n".join(lines) + "\n"


def nested(coefficients: Sequence[float]) -> str:
    """Horner's rule, one multiplication and one addition a step."""
    text = hexadecimal(coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        text = f"({hexadecimal(coefficient)} + (t) * {text})"
    return text


def hexadecimal(value: float) -> str:
    """A float32 literal of C, exact."""
    return f"({value.hex()}f)"


if __name__ == "__main__":
    main()
