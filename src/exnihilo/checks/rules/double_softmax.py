"""Probabilities where logits are expected.

Finds:
    A log-softmax whose inputs are rows of probabilities already: not negative, each row's sum 1.

Why it is bad:
    The loss cannot fall below ``ln(1 + (C - 1) / e)`` of C classes, and its gradient is small everywhere.

What it misses:
    A sigmoid in front of a binary cross-entropy that expects logits.

When it is innocent:
    Where rows that sum to 1 are meant to be compared as scores, as in distillation.

How to fix:
    Return the logits: leave the softmax out of the model, or take its logarithm and use ``NLLLoss``.
"""

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding, Remedy

CODE = "double-softmax"


def rule(measured: Measured) -> tuple[Finding, ...]:
    """A warning where a log-softmax was given probabilities."""
    signals = measured.signals
    if signals is None or not signals.probabilities:
        return ()
    return (
        Finding(
            code=CODE,
            severity="WARN",
            basis="measured",
            parameters=(signals.head,) if signals.head else (),
            evidence="every row given to log_softmax is not negative and sums to 1",
            cause="softmax is applied twice: once by the model, once by the loss",
            remedy=Remedy(line="return logits from forward, without softmax"),
        ),
    )
