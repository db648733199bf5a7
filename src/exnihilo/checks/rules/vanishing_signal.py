"""Layers that training can hardly move, and signals that grow beyond measure.

Finds:
    Models without shortcuts in which a step of a thousandth of its size changes the loss ten thousand times less for
    the first map than for the last, or the other way round; and signals that grow or shrink by four powers of ten from
    the first map to the last hidden one.

Why it is bad:
    Those maps stay what they were while the rest is trained around them; and a signal that grows overflows.

What it misses:
    What the optimizer's own scaling makes up for.

When it is innocent:
    Behind a small scale on a residual branch, such as LayerScale of a millionth: models with shortcuts are not judged.

How to fix:
    Draw the maps with the gain of their activation, or add shortcuts or norms.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.probes.records import Signals

CODE = "vanishing-signal"
# Along a path of maps alone; branches are not judged by their size, since small ones are healthy.
_DECADES = 4.0
_MAPS = 4


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning where the gradient differs by many powers of ten between the first maps and the last."""
    signals = measured.signals
    if signals is None or signals.has_sums:
        return ()
    influence = measured.influence
    maps = list(dict.fromkeys(m.parameter for m in signals.maps if m.parameter in influence))
    if len(maps) < _MAPS:
        return ()
    strengths = [influence[name] for name in maps]
    first, last = strengths[0], strengths[-1]
    if not first > 0 or not last > 0:
        return ()
    decades = math.log10(last / first)
    growth = _growth(signals)
    if abs(decades) < _DECADES and abs(growth) < _DECADES:
        return ()
    word = "shrinks" if growth < 0 or (abs(growth) < 1 and decades > 0) else "grows"
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(maps[1:-1] or maps),
            evidence=f"a step of 0.1 % of {maps[0]} changes the loss 10^{decades:.1f} times less than of {maps[-1]};"
            f" the signal {word} by 10^{abs(growth):.1f} from the first map to the last hidden one",
            cause="the maps' gain does not fit their activation, and the depth multiplies what is missing",
            remedy=measured.redrawn_all(maps[:-1]),
        ),
    )


def _growth(signals: Signals) -> float:
    """Powers of ten between the first map's output and the last hidden one's."""
    sizes = [m.rms for m in signals.maps if m.rms > 0]
    return math.log10(sizes[-2] / sizes[0]) if len(sizes) > 2 else 0.0
