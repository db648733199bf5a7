"""A loss far above that of zero outputs.

Finds:
    A loss at the start that is much larger than the same loss with zeros in place of what the model returns.

Why it is bad:
    The first steps go into making the outputs small again; large logits saturate the softmax, and a rate that suits the
    rest of training is too large for them.

What it misses:
    Losses that cannot be asked for zero outputs; a loss that is wrong in another way than its size.

When it is innocent:
    For heads that hold what an earlier training left in them.

How to fix:
    Draw the head smaller, or at zero: the loss then starts where zero outputs put it.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.structure.names import as_attribute

CODE = "initial-loss"
# Gaussian logits of standard deviation 2: untrained heads in common use stay well below it.
_EXCESS = 2.0
_SHARE = 0.5
# What maps in common use give out stays about 1.
_LARGE = 8.0


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning where the loss exceeds that of zero outputs by two units and half of it."""
    signals, loss = measured.signals, measured.learning.loss
    if signals is None or signals.reference is None or not signals.head:
        return ()
    excess = loss - signals.reference
    if excess <= max(_EXCESS, _SHARE * abs(signals.reference)) or signals.output_std == 0.0:
        return ()
    # Near-Gaussian logits of spread s raise a cross-entropy by about s²/2: a fifth of a unit is harmless.
    factor = min(math.sqrt(0.2 / excess), 0.5)
    size = next((o.size for o in measured.learning.openings if o.parameter == signals.head), 0.0)
    growing = [m for m in signals.maps if m.rms > _LARGE and m.parameter != signals.head]
    if growing:
        names = list(dict.fromkeys(m.parameter for m in growing))
        return (
            Finding(
                code=CODE,
                severity="WARN",
                basis="measured",
                parameters=(*names, signals.head),
                evidence=f"loss {loss:.3g}, and {signals.reference:.3g} for zero outputs; the output of"
                f" {names[0]} has a root mean square of {growing[0].rms:.3g}",
                cause="the signal is too large long before the head",
                remedy=measured.redrawn_all(names),
            ),
        )
    line = f"{as_attribute(signals.head)}.data.mul_({factor:.2g})"
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=(signals.head,),
            evidence=f"loss {loss:.3g}, and {signals.reference:.3g} for zero outputs; the outputs' spread is"
            f" {signals.output_std:.3g}",
            cause="the head's outputs are too large before anything is learned",
            remedy=measured.rescaled(signals.head, size * factor, line),
        ),
    )
