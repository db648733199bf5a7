"""The rules in the order in which they are asked: root causes before what they bring about."""

from collections.abc import Callable

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules import (
    below_resolution,
    dead_region,
    dead_units,
    decayed_gates,
    detached,
    double_softmax,
    enlarged_gradients,
    entropy_collapse,
    growing_stream,
    ignores_input,
    initial_loss,
    learning_rate,
    mixes_samples,
    never_matters,
    not_finite,
    opens_later,
    padding_row,
    rank_collapse,
    router_balance,
    saturated,
    slowed_zeros,
    stuck_saddle,
    twin_units,
    uninitialized,
    unused,
    vanishing_signal,
)

Rule = Callable[[Measured], tuple[Finding, ...]]

RULES: tuple[tuple[str, Rule], ...] = (
    (uninitialized.CODE, uninitialized.rule),
    (not_finite.CODE, not_finite.rule),
    (stuck_saddle.CODE, stuck_saddle.rule),
    (dead_region.CODE, dead_region.rule),
    (twin_units.CODE, twin_units.rule),
    (detached.CODE, detached.rule),
    (never_matters.CODE, never_matters.rule),
    (ignores_input.CODE, ignores_input.rule),
    (mixes_samples.CODE, mixes_samples.rule),
    (double_softmax.CODE, double_softmax.rule),
    (enlarged_gradients.CODE, enlarged_gradients.rule),
    (growing_stream.CODE, growing_stream.rule),
    (saturated.CODE, saturated.rule),
    (dead_units.CODE, dead_units.rule),
    (entropy_collapse.CODE, entropy_collapse.rule),
    (rank_collapse.CODE, rank_collapse.rule),
    (vanishing_signal.CODE, vanishing_signal.rule),
    (router_balance.CODE, router_balance.rule),
    (initial_loss.CODE, initial_loss.rule),
    (learning_rate.CODE, learning_rate.rule),
    (below_resolution.CODE, below_resolution.rule),
    (decayed_gates.CODE, decayed_gates.rule),
    (slowed_zeros.CODE, slowed_zeros.rule),
    (unused.CODE, unused.rule),
    (padding_row.CODE, padding_row.rule),
    (opens_later.CODE, opens_later.rule),
)


# What only an optimizer can be asked.
OF_THE_OPTIMIZER = frozenset({learning_rate.CODE, below_resolution.CODE, decayed_gates.CODE, slowed_zeros.CODE})


def findings_of(measured: Measured) -> tuple[Finding, ...]:
    """What all rules find, in their order."""
    return tuple(finding for _, rule in RULES for finding in rule(measured))


def rule_of(code: str) -> Rule:
    """The rule of a code."""
    return dict(RULES)[code]
