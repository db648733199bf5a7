"""Parameters in a region where every gradient is zero.

Finds:
    Parameters whose gradient is exactly zero on every sample, for these values and all values near them: an activation
    that is off everywhere, because a bias or a map pushes it there, or one that is saturated beyond the dtype's reach.

Why it is bad:
    The map never moves, nor does anything in front of it.

What it misses:
    A map of which some units still live (``dead-units`` counts those); inputs that the batch lacks.

When it is innocent:
    Where a batch shows the model only a part of what it will see. Experts that no place is sent to, while one of their
    like is reached, are told of under ``unused``.

How to fix:
    Draw the named parameter anew; a bias in front of an activation starts at zero.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted, named_first

CODE = "dead-region"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all parameters that are dead as a whole, root causes first."""
    dead = [opening for opening in measured.dead_ends("dead") if opening.parameter not in measured.resting]
    if not dead:
        return ()
    learning = measured.learning
    closed = {opening.parameter for opening in dead}
    roots = [name for name in measured.roots.of("dead") if name in closed]
    names = named_first(dead, roots)
    return (
        Finding(
            code=CODE,
            severity="FAIL" if learning.confirmed else "WARN",
            basis="exact",
            parameters=names,
            num_roots=max(len(roots), 1),
            evidence=f"gradient exactly 0 at {counted(learning.num_steps, 'step')} on"
            f" {counted(learning.num_samples, 'sample')}, under noise too; other values free it",
            cause=f"{names[0]} holds an activation where its slope is zero for every input",
            remedy=measured.redrawn_all(roots),
        ),
    )
