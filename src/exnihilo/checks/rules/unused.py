"""Trainable parameters that the model does not compute with.

Finds:
    Parameters that no operation reads on this batch, and that no path from the loss leads to.

Why it is bad:
    They take memory and are saved with the model; ``DistributedDataParallel`` waits for their gradients unless it is
    told ``find_unused_parameters=True``. Where they are much of the model, something is not wired as it was meant.

What it misses:
    What another batch would use, such as a second input.

When it is innocent:
    A pooler that the task does not need, a second head in training mode: below a tenth of the trainable parameters it
    is told as information. So is what another draw of the model's random numbers uses, and an expert that no place was
    sent to.

How to fix:
    Wire them in, or take them out.
"""

import math
from collections.abc import Sequence

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted
from exnihilo.probes.records import Opening

CODE = "unused"
# Poolers and second heads stay below it; half a model that is not wired does not.
_SHARE = 0.1


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all unused parameters, and information of those that chance or a router leaves out."""
    openings = measured.learning.openings
    unused = [opening for opening in openings if opening.fate == "unused"]
    by_chance = tuple(o.parameter for o in unused if o.parameter in measured.by_chance)
    resting = tuple(o.parameter for o in openings if o.parameter in measured.resting)
    unused = [o for o in unused if o.parameter not in {*by_chance, *resting}]
    return (
        *_not_read(unused, openings),
        *_told(by_chance, "left out by the model's own random numbers, as in stochastic depth"),
        *_told(resting, "of experts that no place of this batch is sent to, while others of their like are reached"),
    )


def _told(names: tuple[str, ...], why: str) -> tuple[Finding, ...]:
    if not names:
        return ()
    return (
        Finding(
            code=CODE,
            severity="INFO",
            basis="exact",
            parameters=names,
            num_roots=len(names),
            evidence=f"{counted(len(names), 'parameter')} {why}",
            cause="another batch, or another draw, may use them",
        ),
    )


def _not_read(unused: Sequence[Opening], openings: Sequence[Opening]) -> tuple[Finding, ...]:
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
