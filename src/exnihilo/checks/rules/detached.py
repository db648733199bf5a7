"""Parameters that the model computes with, and that no gradient can reach.

Finds:
    Trainable parameters that some operation reads while no path leads back to them from the loss: behind
    ``.detach()``, ``torch.no_grad()``, ``argmax`` or a rounding.

Why it is bad:
    They keep their first values, unseen: weight decay alone moves them.

What it misses:
    A parameter with a second path that does reach it.

When it is innocent:
    Where it is meant, as for a target network or a codebook that is moved by hand: say so with
    ``requires_grad_(False)``.

How to fix:
    Take the detachment away, or freeze the parameter.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.checks.rules.wording import counted
from exnihilo.structure.names import as_attribute

CODE = "detached"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for all detached parameters."""
    detached = [o for o in measured.learning.openings if o.fate == "detached"]
    if not detached:
        return ()
    # What is read last stands at the detachment; all in front of it is cut off with it.
    names = tuple(o.parameter for o in sorted(detached, key=lambda o: -o.order))
    line = f"{as_attribute(names[0])}.requires_grad_(False)" if len(names) == 1 else "take .detach() or no_grad away"
    return (
        Finding(
            code=CODE,
            severity="FAIL",
            basis="exact",
            parameters=names,
            evidence=f"{counted(len(names), 'parameter')} read by the model, and no path from the loss leads to them",
            cause="they are used behind detach, no_grad, or an operation without a gradient",
            remedy=Remedy(line=line),
        ),
    )
