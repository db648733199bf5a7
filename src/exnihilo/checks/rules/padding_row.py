"""Padding rows that are not zero.

Finds:
    Tables made with ``padding_idx`` whose row for padding is not zero: what fills a whole table at random fills that
    row too, and its gradient is zero by design.

Why it is told:
    It keeps its noise for ever, and sums over places carry it along where padding is not masked.

What it misses:
    Padding that is chosen without ``padding_idx``.

When it is innocent:
    Where every later operation masks padding.

How to fix:
    Zero the row after the table is filled.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding

CODE = "padding-row"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """Information for all such tables."""
    filled = [row for row in measured.padding if row.size > 0]
    if not filled:
        return ()
    first = filled[0]
    return (
        Finding(
            code=CODE,
            severity="INFO",
            basis="exact",
            parameters=tuple(row.parameter for row in filled),
            num_roots=len(filled),
            evidence=f"row {first.row} of {first.parameter} stands for padding, is never trained, and has a root mean"
            f" square of {first.size:.3g}: zero it where padding is not masked",
            cause="the table was filled as a whole",
        ),
    )
