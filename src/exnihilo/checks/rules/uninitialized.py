"""Parameters that the constructor never gave a value.

Finds:
    Parameters that hold memory as it was found: a construction in which such memory is filled with NaN leaves them NaN.
    It needs a factory.

Why it is bad:
    Their values are whatever lay there before: zeros on one machine, 1e30 on the next.

What it misses:
    Parameters that are written later, by a checkpoint or an initializer that the factory does not call.

When it is innocent:
    Where such a checkpoint is always loaded.

How to fix:
    Give them values in the constructor.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding

CODE = "uninitialized"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A failure for all of them."""
    names = measured.uninitialized
    if not names:
        return ()
    return (
        Finding(
            code=CODE,
            severity="FAIL",
            basis="exact",
            parameters=names,
            num_roots=len(names),
            evidence="NaN after a construction in which empty memory is filled with NaN",
            cause="torch.empty or its like made them, and nothing wrote them",
            remedy=measured.redrawn_all(list(names)),
        ),
    )
