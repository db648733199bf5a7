"""Samples that see each other.

Finds:
    A sample whose output changes when the others change places, and the innermost module in which that begins. Means
    over all samples, as in a batch norm, stay as they were, and are not told.

Why it is bad:
    What a model says of one sample then hangs on its neighbors: a view or a transpose ran over the wrong dim, or a
    module that takes the first dim for time was given samples there. The loss may fall all the same.

What it misses:
    A mixture that is the same whatever the order, such as a mean over the batch.

When it is innocent:
    In graphs, and where samples are compared on purpose: it is told as information where an input relates samples to
    each other, or where nothing says that the first dim is that of samples.

How to fix:
    Look at every ``view``, ``reshape`` and ``transpose`` in the module that is named; give recurrent layers and
    attention ``batch_first=True``.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy

CODE = "mixes-samples"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning, or information where it may be meant."""
    samples = measured.samples
    if not samples.mixed_by:
        return ()
    meant = samples.may_be_meant
    return (
        Finding(
            code=CODE,
            severity="INFO" if meant else "WARN",
            basis="measured",
            parameters=samples.parameters,
            evidence=f"a sample's output changes by {samples.change:.2g} of its size when the other samples change"
            f" places; it begins in {samples.mixed_by}" + (f"; {meant}" if meant else ""),
            cause="a view, a transpose or a time-first module runs over the dim of the samples",
            remedy=None if meant else Remedy(line=f"look at the dims in {samples.mixed_by}; batch_first=True"),
        ),
    )
