"""Units that are off for every sample.

Finds:
    Maps of which more than six tenths of the units give exactly zero behind their activation at every sample and
    place.

Why it is bad:
    They get no gradient: the layer is as narrow as its living units.

What it misses:
    Units that are off for nearly every sample; activations without a flat side.

When it is innocent:
    On a batch too small to tell: below 16 places nothing is said.

How to fix:
    Start biases at zero, and draw the map with the gain of its activation.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted

CODE = "dead-units"
# Where all places see nearly the same, a symmetric draw switches half of the units off.
_SHARE = 0.6
_PLACES = 16
# Of a bottleneck of a few units half may be off by chance, as in squeeze-and-excitation.
_UNITS = 16


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for the map with the largest share, and those behind it."""
    if measured.signals is None:
        return ()
    dead = [
        a
        for a in measured.signals.activations
        if a.dead > _SHARE and a.parameter and a.places >= _PLACES and a.units >= _UNITS
    ]
    closed = {o.parameter for o in measured.learning.openings if o.fate in {"dead", "stuck"}}
    dead = [a for a in dead if a.parameter not in closed]
    if not dead:
        return ()
    first = dead[0]
    shift = f"{first.parameter.rpartition('.')[0]}.bias"
    known = {o.parameter: o for o in measured.learning.openings}
    pushed = shift in known and known[shift].size > 0.5
    names = (shift, first.parameter) if pushed else (first.parameter, *((shift,) if shift in known else ()))
    root = names[0]
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(dict.fromkeys([*names, *(a.parameter for a in dead)])),
            evidence=f"{first.dead:.0%} of {counted(first.units, 'unit')} are 0 behind {first.kind} at all of"
            f" {counted(first.places, 'place')}",
            cause="a bias or a map pushes them below the activation's threshold for every sample",
            remedy=measured.redrawn(root),
        ),
    )
