"""When a gradient has vanished on its way down a network: the one rule for every claim that asks."""

import math

from exnihilo.lab.records import RunRecord

# Gradients that fall by more than this many decades from the head to the map next to the input have vanished.
DECADES = 3.0
# Below the smallest number of float32 a gradient underflows to zero; it counts as this.
UNDERFLOW = 1e-45


def is_dead(record: RunRecord) -> bool:
    """Whether no map's weight, the head's included, had any gradient at any measured step."""
    return not any(norm != 0.0 for norms in record.gradient_norm for norm in norms)


def fall(record: RunRecord) -> float:
    """Decades by which the gradient falls from the head to the map next to the input, at the last measured step.

    NaN where the head has no gradient, or a norm is not finite.
    """
    lowest, *_, head = record.gradient_norm[-1]
    if not (math.isfinite(lowest) and math.isfinite(head) and head > 0.0):
        return math.nan
    return math.log10(head / max(lowest, UNDERFLOW))


def vanishes(record: RunRecord) -> bool | None:
    """Whether the gradient of one run vanishes on its way down; None where it cannot be told.

    Rule:
        True where it falls by more than ``DECADES``. False where it falls by less, and where no map ever has a
        gradient, the head's included: that is no small gradient, but none.
    """
    if is_dead(record):
        return False
    decades = fall(record)
    return None if math.isnan(decades) else decades > DECADES
