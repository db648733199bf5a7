"""Gradients that a norm of nearly nothing enlarges.

Finds:
    A norm in front of which a map gives out next to nothing, at most places of the batch: less than the norm's epsilon,
    or a ten thousandth. A failure where the optimizer's first step makes that map a thousand times as large as any
    other, or the loss not finite.

Why it is bad:
    A norm divides by the size of its input, and so the gradient too: 300 times at an epsilon of 1e-5, 1,000 times at
    1e-6, and 1e12 times where the length alone is divided by. Clipping of the whole gradient then leaves the rest
    next to none; Adam remembers it for a thousand steps; SGD throws the map so far that nothing moves it any more.

What it misses:
    Norms of what no map made, such as a table of zeros; what becomes small only later.

When it is innocent:
    With Adam and a norm of a usual epsilon, which take the enlarged gradient's sign and no more.

How to fix:
    Start the map at random, and zero what stands behind the norm: its scale, or the output map of the attention.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted

CODE = "enlarged-gradients"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all norms; a failure where the first step shows what it does."""
    signals, update = measured.signals, measured.update
    learning = {opening.parameter for opening in measured.learning.openings if opening.step is not None}
    norms = [norm for norm in signals.norms if norm.parameter in learning] if signals is not None else []
    if not norms:
        return ()
    names = tuple(norm.parameter for norm in norms)
    largest = max(norms, key=lambda norm: norm.factor)
    thrown = [name for name in update.thrown if name in names] if update is not None else []
    lost = update is not None and not all(map(math.isfinite, (update.after, *update.later)))
    seen = f"; {update.rule}: the first step makes {thrown[0]} larger than all else" if update and thrown else ""
    seen = f"; {update.rule}: the loss is not finite after the first steps" if update and lost else seen
    return (
        Finding(
            code=CODE,
            severity="FAIL" if thrown or lost else "WARN",
            basis="measured",
            parameters=names,
            num_roots=len(names),
            evidence=f"{counted(len(names), 'map')} in front of norms with next to nothing in them: the gradient of"
            f" {largest.parameter} comes back {largest.factor:,.3g} times as large{seen}",
            cause="a norm divides by the size of what it is given, and so its gradient",
            remedy=measured.redrawn_all(names),
        ),
    )
