"""A learning rate beyond the first step's critical one.

Finds:
    An optimizer whose first step, or one of the five behind it, raises the loss of the batch that they are taken on
    above where it began.

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
# Later steps are noisier: only a loss clearly above the first one counts.
_RISE = 1.05


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning where the first step goes too far."""
    update = measured.update
    if update is None:
        return ()
    diverging = [loss for loss in update.later if not loss <= _RISE * update.loss]
    if update.critical > _CRITICAL and not diverging:
        return ()
    first = f"it rises from {update.critical:g} of the step on"
    later = f"{diverging[0]:.3g} some steps later" if diverging else first
    factor = 0.3 * min(update.critical, 1.0)
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=(),
            num_roots=0,
            evidence=f"{update.rule}: loss {update.loss:.3g} at first, {update.after:.3g} after a step; {later}",
            cause="the step is longer than the distance over which the loss falls along it",
            remedy=Remedy(line=f'for group in optimizer.param_groups: group["lr"] *= {factor:.1g}'),
        ),
    )
