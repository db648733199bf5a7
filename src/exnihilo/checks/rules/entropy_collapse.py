"""Attention that looks at one place alone before anything is learned.

Finds:
    An attention whose rows have, on average, less than a quarter of the entropy of equal weights.

Why it is bad:
    The softmax is saturated, so queries and keys get next to no gradient, and what each place sees is arbitrary.

What it misses:
    A single head among many.

When it is innocent:
    For attention with positional terms that are meant to be sharp at the start.

How to fix:
    Draw queries and keys smaller, or scale the scores by one over the root of the head's width.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding

CODE = "entropy-collapse"
# Equal weights have 1; at usual starts attention stays above 0.8.
_ENTROPY = 0.25


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning for the first attention that collapsed, and those behind it."""
    if measured.signals is None:
        return ()
    sharp = [a for a in measured.signals.attentions if a.entropy < _ENTROPY and a.query]
    if not sharp:
        return ()
    sizes = {o.parameter: o.size for o in measured.learning.openings}
    names = [name for a in sharp for name in (a.query, a.key) if name]
    first = sorted(dict.fromkeys(n for n in (sharp[0].query, sharp[0].key) if n), key=lambda n: -sizes.get(n, 0.0))
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=tuple(dict.fromkeys([*first, *names])),
            evidence=f"mean entropy of attention rows {sharp[0].entropy:.2f} of that of equal weights",
            cause="its scores are so large that the softmax picks one place",
            remedy=measured.redrawn(first[0]),
        ),
    )
