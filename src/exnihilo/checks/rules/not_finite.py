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
    Draw a parameter that is not finite anew. Of a weight that weight norm or spectral norm divides, zero the length
    instead, or nothing. Else look for a logarithm or square root of zero, a division by zero, or an overflow at the
    module that is named.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Edit, Finding, Remedy
from exnihilo.structure.names import as_attribute

CODE = "not-finite"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """One finding for the first place."""
    found = measured.learning.not_finite
    if found is None:
        return ()
    where = {
        "parameter": f"'{found.name}' holds a value that is not finite",
        "weight": f"{found.by} divides '{found.name}' by its own size, which is zero in some rows",
        "input": f"the batch holds a number that is not finite, in its tensor of {found.name}",
        "output": f"'{found.name}' makes finite inputs into an output that is not finite",
        "loss": "every module without modules of its own gives finite outputs, and the loss is not finite",
        "gradient": f"the gradient of '{found.name}' is not finite, and the loss is",
    }[found.place]
    remedy = None
    if found.place == "parameter":
        remedy = Remedy(line=f"nn.init.normal_({as_attribute(found.name)}, std=0.02)")
    elif found.place == "weight":
        edit = Edit(parameter=found.name, scheme="normal(std=0.02)")
        remedy = Remedy(line=_drawn(found.path, found.by), edits=(edit,))
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
            cause=f"{found.by} of a zero weight" if found.by else "the first step would make the parameters NaN",
            remedy=remedy,
        ),
    )


def _drawn(path: str, by: str) -> str:
    """The line that draws a normalized weight anew; spectral norm made its vectors from the zeros, so it is renewed."""
    owner, found, weight = path.partition("parametrizations.")
    if not found or by != "spectral norm":
        return f"nn.init.normal_({as_attribute(path)}, std=0.02)"
    module, name = as_attribute(owner).rstrip("."), weight.partition(".")[0]
    return (
        f'nn.utils.parametrize.remove_parametrizations({module}, "{name}", leave_parametrized=False); '
        f'nn.init.normal_({module}.{name}, std=0.02); nn.utils.parametrizations.spectral_norm({module}, "{name}")'
    )
