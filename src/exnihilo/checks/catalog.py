"""The rules in the order in which they are asked: root causes before what they bring about."""

from collections.abc import Callable

from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Finding
from exnihilo.checks.rules import (
    dead_region,
    detached,
    never_matters,
    not_finite,
    opens_later,
    stuck_saddle,
    twin_units,
    unused,
)

Rule = Callable[[Measured], tuple[Finding, ...]]

RULES: tuple[tuple[str, Rule], ...] = (
    (not_finite.CODE, not_finite.rule),
    (stuck_saddle.CODE, stuck_saddle.rule),
    (dead_region.CODE, dead_region.rule),
    (twin_units.CODE, twin_units.rule),
    (detached.CODE, detached.rule),
    (never_matters.CODE, never_matters.rule),
    (unused.CODE, unused.rule),
    (opens_later.CODE, opens_later.rule),
)
