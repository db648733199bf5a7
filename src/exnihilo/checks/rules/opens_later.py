"""Parameters that open at step 2 or later: zero initialization that works.

Finds:
    Parameters whose gradient is exactly zero at first and not after some steps: behind the zero scale of a residual
    branch, a zero head, a zero half of an adapter, a zero gate.

Why it is told:
    Their gradients look dead at the first step, and other checks call them so. They are not.

What it misses:
    How large their gradients are once they open.

When it is innocent:
    Always.

How to fix:
    Nothing is to be fixed.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted
from exnihilo.probes.records import Opening

CODE = "opens-later"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One line for each step at which something opens."""
    later: dict[int, list[Opening]] = {}
    for opening in measured.learning.openings:
        if opening.step is not None and opening.step > 1:
            later.setdefault(opening.step, []).append(opening)
    zeros = [o.parameter for o in measured.learning.openings if o.all_equal == 0.0 and o.step == 1 and o.use != "shift"]
    behind = f"; {counted(len(zeros), 'zero')} open before them: {zeros[0]}" if zeros else ""
    return tuple(
        Finding(
            code=CODE,
            severity="INFO",
            basis="exact",
            parameters=tuple(opening.parameter for opening in openings),
            num_roots=len(openings),
            evidence=f"{counted(len(openings), 'parameter')} first get a gradient at step {step}{behind}",
            cause="they lie behind a zero that opens first: zero initialization as it is meant",
        )
        for step, openings in sorted(later.items())
    )
