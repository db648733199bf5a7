"""Trainable parameters that the model does not compute with.

Finds:
    Parameters that no operation reads on this batch, and that no path from the loss leads to.

Why it is bad:
    They take memory and are saved with the model; ``DistributedDataParallel`` waits for their gradients unless it is
    told ``find_unused_parameters=True``. Where they are much of the model, something is not wired as it was meant.

What it misses:
    What another batch would use: an expert, a second input.

When it is innocent:
    A pooler that the task does not need, a second head in training mode. Below a tenth of the trainable parameters it
    is told as information.

How to fix:
    Wire them in, or take them out.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted

CODE = "unused"
# Poolers and second heads stay below it; half a model that is not wired does not.
_SHARE = 0.1


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all unused parameters."""
    openings = measured.learning.openings
    unused = [opening for opening in openings if opening.fate == "unused"]
    if not unused:
        return ()
    share = sum(math.prod(o.shape) for o in unused) / sum(math.prod(o.shape) for o in openings)
    return (
        Finding(
            code=CODE,
            severity="WARN" if share > _SHARE else "INFO",
            basis="exact",
            parameters=tuple(opening.parameter for opening in unused),
            num_roots=len(unused),
            evidence=f"{counted(len(unused), 'parameter')}, {share:.1%} of the trainable elements, not read",
            cause="no operation of this batch uses them; DistributedDataParallel needs find_unused_parameters=True",
        ),
    )
