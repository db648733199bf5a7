"""Units that stay equal to each other for ever.

Finds:
    Units of a map with equal activations and equal back-signals on every sample, now and after some steps, whatever
    the loss: constant layers on both sides of an activation, copied units, units whose weights agree in sums over such
    copies.

Why it is bad:
    They get equal updates from every optimizer that treats units alike, so the layer is as wide as its classes. The
    loss falls none the less, only less far.

What it misses:
    Units that are nearly equal, which training tells apart slowly.

When it is innocent:
    Never, but dropout on the units tells them apart, slowly: then it is a warning. Units that are equal now and differ
    after a step are no twins; ``opens-later`` and ``effective_width`` tell of them.

How to fix:
    Draw one of the two maps at random.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted

CODE = "twin-units"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all maps with twins, in the model's order."""
    tied = [width for width in measured.learning.widths if width.effective < width.units]
    if not tied:
        return ()
    first = tied[0]
    dropout = all(width.dropout for width in tied)
    return (
        Finding(
            code=CODE,
            severity="WARN" if dropout else "FAIL",
            basis="exact",
            parameters=tuple(width.parameter for width in tied),
            num_roots=1,
            evidence=f"{counted(first.units, 'unit')} of {first.parameter}, {first.effective:,} of them distinct: the "
            f"others have equal activations and back-signals before and after {counted(3, 'step')}"
            + ("; dropout tells them apart, slowly" if dropout else ""),
            cause="equal units in front of equal weights get equal updates for ever",
            remedy=measured.redrawn_all([width.parameter for width in tied]),
        ),
    )
