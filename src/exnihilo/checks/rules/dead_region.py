"""Parameters in a region where every gradient is zero.

Finds:
    Parameters whose gradient is exactly zero on every sample, for these values and all values near them: an activation
    that is off everywhere, because a bias or a map pushes it there, or one that is saturated beyond the dtype's reach.

Why it is bad:
    The map never moves, nor does anything in front of it.

What it misses:
    A map of which some units still live (``dead-units`` counts those); inputs that the batch lacks.

When it is innocent:
    Where a batch shows the model only a part of what it will see: behind a router, experts that the batch does not
    reach are told as information, as long as one of their like is reached.

How to fix:
    Draw the named parameter anew; a bias in front of an activation starts at zero.
"""

import re

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted, named_first
from exnihilo.probes.records import Opening

CODE = "dead-region"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all parameters that are dead as a whole, root causes first; one for experts that rest."""
    resting, dead = _resting(measured, measured.dead_ends("dead"))
    return (*_dead(measured, dead), *_told(resting))


def _resting(measured: Measured, dead: list[Opening]) -> tuple[list[Opening], list[Opening]]:
    """Experts that the batch does not reach, and all else: behind a router, what is dead has a like that is not."""
    if measured.signals is None or not measured.signals.routers:
        return [], dead
    living = {_like(o.parameter) for o in measured.learning.openings if o.step is not None and _like(o.parameter)[1]}
    resting = [o for o in dead if _like(o.parameter) in living]
    return resting, [o for o in dead if o not in resting]


def _like(name: str) -> tuple[str, int]:
    """A name without the numbers that tell experts apart, and how many there were."""
    return re.subn(r"\d+", "#", name)


def _told(resting: list[Opening]) -> tuple[Finding, ...]:
    if not resting:
        return ()
    return (
        Finding(
            code=CODE,
            severity="INFO",
            basis="exact",
            parameters=tuple(o.parameter for o in resting),
            num_roots=len(resting),
            evidence=f"{counted(len(resting), 'parameter')} of experts that no place of this batch is sent to",
            cause="the router chose others of their like; another batch may reach them",
        ),
    )


def _dead(measured: Measured, dead: list[Opening]) -> tuple[Finding, ...]:
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
