"""A learning rate beyond the first step's critical one.

Finds:
    An optimizer whose first step raises the loss of the batch it was taken on.

Why it is bad:
    The step overshoots: the loss rises at once, and often diverges.

What it misses:
    Rates that are too large only later, and those that are too small.

When it is innocent:
    With a warm-up, where the first step is smaller than the rate that the optimizer holds; and for the large rates that
    a mean-square loss can catapult from.

How to fix:
    Take a smaller rate, or a warm-up.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy

CODE = "learning-rate"
# The step's own size is 1: a loss that is higher there is beyond the critical step.
_CRITICAL = 1.0


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning where the first step goes too far."""
    update = measured.update
    if update is None or update.critical > _CRITICAL:
        return ()
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=(),
            num_roots=0,
            evidence=f"{update.rule}: loss {update.loss:.3g} before the first step and {update.after:.3g} after it; it"
            f" rises from {update.critical:g} of the step on",
            cause="the step is longer than the distance over which the loss falls along it",
            remedy=Remedy(line=f'for group in optimizer.param_groups: group["lr"] *= {0.3 * update.critical:.1g}'),
        ),
    )
