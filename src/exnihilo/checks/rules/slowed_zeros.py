"""Zeros that the optimizer hardly moves.

Finds:
    Maps and scales of zeros whose first step is less than a tenth of what other maps move by, for the size of their
    gradient too.

Why it is bad:
    Optimizers whose step is in proportion to a parameter's size (Adafactor, LARS, LAMB) take next to none where that
    is zero, so that what is to open stays shut for many steps.

What it misses:
    What is small and not zero; a step that is small for another reason.

When it is innocent:
    With a warm-up of many steps, in which the zeros grow.

How to fix:
    Start them at a small number in place of zero (the recipes' ``epsilon``), or give them another optimizer.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.structure.names import as_attribute

CODE = "slowed-zeros"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for all of them, the slowest first."""
    update = measured.update
    if update is None or not update.slowed:
        return ()
    slowest = sorted(update.slowed, key=lambda entry: entry[1])
    name, share = slowest[0]
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(name for name, _ in slowest),
            num_roots=len(slowest),
            evidence=f"{update.rule}: the first step of {name} is {share:.2g} of what other maps move by",
            cause="its step is in proportion to the parameter's size, which is zero",
            remedy=Remedy(line=f"nn.init.normal_({as_attribute(name)}, std=1e-3), or another optimizer"),
        ),
    )
