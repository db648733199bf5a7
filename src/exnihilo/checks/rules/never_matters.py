"""Parameters that the loss does not depend on, whatever their values.

Finds:
    Parameters whose gradient is zero at the start, after steps, under noise and for fresh values of all parameters,
    though the model computes with them.

Why it is bad:
    A map that never matters learns nothing: a router whose only weight is normalized to one, a head behind a constant.

What it misses:
    What matters for other inputs than those of the batch, or for values far from all that are tried.

When it is innocent:
    A shift, scale or bias that a later operation removes by design: the bias of an attention's keys, of a map in front
    of a norm. It costs a little memory, and is told as information.

How to fix:
    Of a map: find the normalization, the single choice or the constant that hides it. Of a bias: leave it out.
"""

import math

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.checks.roots import is_closed, is_whole
from exnihilo.checks.rules.wording import counted
from exnihilo.probes.records import Opening

CODE = "never-matters"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A failure for maps, information for the rest."""
    openings = measured.learning.openings
    told = measured.lost_in_rounding  # by rank-collapse
    maps = [o.parameter for o in openings if _is_map(o) and is_whole(o, "invariant")]
    maps = [name for name in maps if name not in told and name not in measured.resting]
    # Of packed biases a part is that of the keys; some units of a scale may only look removed, to float32.
    resting = measured.resting  # told by unused
    removed = [o for o in openings if is_whole(o, "invariant") or (o.use == "shift" and is_closed(o, "invariant"))]
    removed = [o for o in removed if o.parameter not in resting]
    others = [o.parameter for o in removed if not _is_map(o)]
    found: list[Finding] = []
    if maps and not any(o.step is not None for o in openings):
        found.append(_flat(measured, maps))
    elif maps:
        found.append(
            Finding(
                code=CODE,
                severity="FAIL" if measured.learning.confirmed else "WARN",
                basis="exact",
                parameters=tuple(maps),
                num_roots=len(maps),
                evidence="gradient exactly 0 at every step, under noise, and for fresh values of all parameters",
                cause="the loss does not depend on it: what follows removes whatever it gives out",
            )
        )
    if others:
        found.append(
            Finding(
                code=CODE,
                severity="INFO",
                basis="exact",
                parameters=tuple(others),
                num_roots=len(others),
                evidence=f"{counted(len(others), 'parameter')} without a gradient, whatever the values",
                cause="a later softmax or norm removes what they do: harmless",
            )
        )
    return tuple(found)


def _flat(measured: Measured, maps: list[str]) -> Finding:
    """No parameter gets a gradient: it is the loss that is flat."""
    return Finding(
        code=CODE,
        severity="FAIL",
        basis="exact",
        parameters=tuple(maps),
        num_roots=len(maps),
        evidence=f"the loss is {measured.learning.loss:.4g}, and the gradient of every parameter is exactly 0, under"
        " noise and for fresh values too",
        cause="the loss is flat on this batch: a hinge that is satisfied, a reward of zero, or a constant",
        remedy=Remedy(line="give a batch whose loss can change, or look at what the loss is made of"),
    )


def _is_map(opening: Opening) -> bool:
    """A matrix or table, also one of a single unit, such as the scores of a pooling; all else is a shift or a scale."""
    return opening.use in {"map", "table"} and math.prod(opening.shape) > 1
