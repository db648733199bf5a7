"""Outputs that no input reaches.

Finds:
    Models whose outputs are the same for every sample, and to which no gradient leads back from an output to an input:
    at the start, and for fresh values of all parameters.

Why it is bad:
    The model can learn one answer for all samples, and nothing else.

What it misses:
    An input that is one of several and is ignored alone; a batch whose samples are all equal.

When it is innocent:
    Where the output is meant to be one constant for all samples.

How to fix:
    Follow the input through ``forward``: a wrong variable, a product with zero, a mean over the wrong dim.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy
from exnihilo.checks.rules.wording import counted

CODE = "ignores-input"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A failure for the model as a whole; the map that makes its output is named."""
    signals = measured.signals
    if signals is None or not measured.samples.ignored:
        return ()
    return (
        Finding(
            code=CODE,
            severity="FAIL",
            basis="exact",
            parameters=(signals.head,) if signals.head else (),
            evidence=f"outputs equal for all of {counted(measured.learning.num_samples, 'sample')}, here and for fresh"
            " values of all parameters",
            cause="nothing that the model is given reaches what it returns",
            remedy=Remedy(line="follow the input through forward: it is left out, or multiplied by zero"),
        ),
    )
