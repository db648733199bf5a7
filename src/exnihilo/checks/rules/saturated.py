"""Activations at the flat ends of tanh and sigmoid.

Finds:
    A tanh or sigmoid more than half of whose outputs lie within a hundredth of the ends of its range.

Why it is bad:
    Its slope there is below a twenty-fifth of the largest: little gradient passes to what lies in front of it.

What it misses:
    Saturation of other activations, and of inputs outside the batch.

When it is innocent:
    For gates that are meant to begin open or shut: below half of the entries nothing is said.

How to fix:
    Draw the map in front of it smaller, with the activation's own gain.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted

CODE = "saturated"
_SHARE = 0.5


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for the first map that saturates what follows it, and those behind it."""
    if measured.signals is None:
        return ()
    found = [a for a in measured.signals.activations if a.saturated > _SHARE and a.parameter]
    if not found:
        return ()
    first = found[0]
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(dict.fromkeys(a.parameter for a in found)),
            evidence=f"{first.saturated:.0%} of the outputs of {first.kind} behind {first.parameter} lie within 0.01 of"
            f" its ends ({counted(first.units, 'unit')}, {counted(first.places, 'place')})",
            cause="the map's outputs are many times larger than the range in which the activation bends",
            remedy=measured.redrawn(first.parameter),
        ),
    )
