"""Numbers that are NaN or infinite before the first step.

Finds:
    A parameter, a module's output, the loss or a gradient that is not finite on this batch, or an input that makes the
    loss so.

Why it is bad:
    The first step makes every parameter that the gradient reaches NaN.

What it misses:
    Overflow that only a lower dtype, a longer sequence or a later step brings about.

When it is innocent:
    Never.

How to fix:
    Draw a parameter that is not finite anew; look for a logarithm or square root of zero, a division by zero, or an
    overflow at the module that is named.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.structure.names import as_attribute

CODE = "not-finite"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for the first place."""
    found = measured.learning.not_finite
    if found is None:
        return ()
    where = {
        "parameter": f"'{found.name}' holds a value that is not finite",
        "input": f"the batch holds a number that is not finite, in its tensor of {found.name}",
        "output": f"'{found.name}' makes finite inputs into an output that is not finite",
        "loss": "every module without modules of its own gives finite outputs, and the loss is not finite",
        "gradient": f"the gradient of '{found.name}' is not finite, and the loss is",
    }[found.place]
    remedy = None
    if found.place == "parameter":
        remedy = Remedy(line=f"nn.init.normal_({as_attribute(found.name)}, std=0.02)")
    elif found.place == "input":
        remedy = Remedy(line="mend the data: torch.nan_to_num(x), or leave such samples out")
    return (
        Finding(
            code=CODE,
            severity="FAIL",
            basis="exact",
            parameters=found.parameters,
            num_roots=len(found.parameters),
            evidence=f"{where}; loss {measured.learning.loss:g}",
            cause="the first step would make the parameters NaN",
            remedy=remedy,
        ),
    )
