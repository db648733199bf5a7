"""Updates that rounding swallows.

Finds:
    Parameters whose gradient is not zero and of which less than a hundredth changes in the optimizer's first step,
    since the step is smaller than half the distance to the next number of the parameter's dtype.

Why it is bad:
    They never move, however long the training.

What it misses:
    Steps that rounding swallows only later, when the rate has decayed.

When it is innocent:
    Where the optimizer keeps float32 copies of the parameters: give the check those.

How to fix:
    Keep such parameters in float32, or give them a larger rate.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.structure.names import as_attribute

CODE = "below-resolution"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for all parameters that the first step leaves bit for bit as they are."""
    update = measured.update
    if update is None or not update.frozen_by_rounding:
        return ()
    names = update.frozen_by_rounding
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="exact",
            parameters=names,
            num_roots=len(names),
            evidence=f"{update.rule}: the first step changes less than 1 % of the elements of {names[0]}",
            cause="the update is smaller than half the spacing of the parameter's dtype",
            remedy=Remedy(line=f"{as_attribute(names[0])}.data = {as_attribute(names[0])}.data.float()"),
        ),
    )
