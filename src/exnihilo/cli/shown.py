"""Plain text on the terminal: lines folded to its width, tables whose names stand alone where there is no room."""

import textwrap
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

MIN_COLUMNS = 40
_MAX_HANG = 32

Cells = tuple[str, ...]


def console() -> Console:
    """Standard output, in color on a terminal alone."""
    return Console(highlight=False)


def columns_of(to: Console) -> int:
    """Characters in a line."""
    return max(to.width, MIN_COLUMNS)


def printed(to: Console, lines: Iterable[str]) -> None:
    """Print lines as they are: those that are not indented are titles and stand bold; nothing is wrapped or cut."""
    for line in lines:
        style = "" if line.startswith(" ") else "bold"
        to.print(Text(line, style=style), soft_wrap=True)


def fold(line: str, columns: int) -> list[str]:
    """A line in pieces no longer than the width, broken at spaces; what goes on stands below its second column.

    Example:
        >>> fold("  blocks.0  identity, pre-norm → out", 24)
        ['  blocks.0  identity,', '            pre-norm →', '            out']
    """
    indent = len(line) - len(line.lstrip())
    gap = line.find("  ", indent)
    second = gap + len(line[gap:]) - len(line[gap:].lstrip()) if gap > 0 else 0
    hang = second if 0 < second <= min(_MAX_HANG, columns // 2) else indent + 2
    return textwrap.wrap(
        line,
        columns,
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    ) or [""]


def table(rows: Sequence[Cells], widths: Sequence[int], columns: int) -> list[str]:
    """Rows in columns of these widths; where one is too long for the line, all have the first cell on its own line.

    A name is never cut: what is signed must be readable.

    Example:
        >>> table([("fc.weight", "HEAD", "zeros")], (9, 4, 5), 40)
        ['  fc.weight  HEAD  zeros']
        >>> table([("fc.weight", "HEAD", "zeros")], (9, 4, 5), 20)
        ['  fc.weight', '      HEAD  zeros']
    """
    if 2 + sum(widths) + 2 * (len(widths) - 1) <= columns:
        return [f"  {_aligned(row, widths)}" for row in rows]
    return [line for name, *cells in rows for line in (f"  {name}", f"      {_aligned(cells, widths[1:])}".rstrip())]


def widths_of(rows: Sequence[Cells]) -> tuple[int, ...]:
    """The longest cell of each column."""
    return tuple(max(map(len, column)) for column in zip(*rows, strict=True))


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
