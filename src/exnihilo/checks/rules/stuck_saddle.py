"""Parameters on a saddle that no first-order optimizer leaves.

Finds:
    Parameters whose gradient is exactly zero now and after every step, and is not zero under noise: two factors of one
    product are both zero (both halves of a low-rank adapter, query and key, a gate and what it gates), or a map is zero
    in front of an activation that passes nothing at zero.

Why it is bad:
    They never move, whatever the learning rate; the rest of the model learns, so the loss may fall as if all were well.

What it misses:
    A parameter that only inputs outside the batch would move, and one that moves too slowly to matter.

When it is innocent:
    Never: a gate that opens at step 2 or later is not stuck, and is listed under ``opens-later``.

How to fix:
    Draw the named parameter anew. Of two zero factors one must be zero at most.
"""

from collections.abc import Sequence

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules.wording import counted, listed_parts, named_first
from exnihilo.probes.records import Opening

CODE = "stuck-saddle"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all parameters that are stuck, root causes first."""
    stuck = measured.dead_ends("stuck")
    if not stuck:
        return ()
    roots = measured.roots.of("stuck")
    return (
        Finding(
            code=CODE,
            severity="FAIL" if measured.learning.confirmed else "WARN",
            basis="exact",
            parameters=named_first(stuck, roots),
            num_roots=max(len(roots), 1),
            evidence=_evidence(measured, stuck),
            cause=_cause(roots, stuck),
            remedy=measured.redrawn_all(roots),
        ),
    )


def _evidence(measured: Measured, stuck: list[Opening]) -> str:
    learning = measured.learning
    parts = listed_parts(stuck, "stuck")
    return (
        f"gradient exactly 0 at {counted(learning.num_steps, 'step')} on {counted(learning.num_samples, 'sample')}, "
        f"not 0 under noise{parts}"
    )


def _cause(chosen: Sequence[str], stuck: list[Opening]) -> str:
    by_name = {opening.parameter: opening for opening in stuck}
    zero = [name for name in by_name if by_name[name].all_equal == 0.0 and by_name[name].use != "shift"]
    if len(zero) > 1 and len(chosen) < len(zero):
        return "two factors of one product are zero, so neither gets a gradient through the other"
    if zero:
        return f"{zero[0]} is all zero, and what follows it passes neither signal nor gradient at zero"
    if chosen and by_name[chosen[0]].num_of("opens"):
        return f"units of {chosen[0]} hold one value together, and get a gradient only through each other"
    if chosen:
        return f"the values of {chosen[0]} cancel every gradient that would change them"
    return "their gradients vanish together, and no single parameter frees them"
