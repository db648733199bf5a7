"""Gates that weight decay pulls shut.

Finds:
    Numbers that multiply a branch, start at zero, and stand in a group of the optimizer with weight decay.

Why it is bad:
    A gate opens by small steps, and decay takes a share of them back at every one: branches stay nearly shut for long.

What it misses:
    Gates that are maps, and scales that start elsewhere than at zero.

When it is innocent:
    Where the decay is meant to keep a network shallow.

How to fix:
    Give gates a group without decay: ``exnihilo.param_groups`` makes it.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.checks.rules.wording import counted

CODE = "decayed-gates"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for all of them."""
    update = measured.update
    if update is None:
        return ()
    gates = [o for o in measured.learning.openings if o.use == "scale" and o.all_equal == 0.0 and o.step is not None]
    names = tuple(o.parameter for o in gates if o.parameter in update.decayed)
    if not names:
        return ()
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="exact",
            parameters=names,
            num_roots=len(names),
            evidence=f"{counted(len(names), 'scale')} at zero in a group with weight decay ({update.rule})",
            cause="decay pulls toward zero what training is to open",
            remedy=Remedy(line="optimizer = torch.optim.AdamW(exnihilo.param_groups(plan, model, lr, weight_decay))"),
        ),
    )
