"""Steps to a target as censored data: a run that never got there is later than all that did, and is never dropped.

Steps are the clock, and not seconds: the wall time of a batch belongs to no single run.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from exnihilo.errors import InvalidValueError
from exnihilo.lab.proportions import superiority
from exnihilo.lab.statistics import sign_flip


@dataclass(frozen=True, slots=True, kw_only=True)
class StepsComparison:
    """Which of two starts reaches a target sooner, on the same seeds.

    Args:
        n: Paired seeds.
        horizon: Steps of every run: where the runs that never reached the target are censored.
        reached: Runs of the start and of the baseline that reached the target.
        sooner, tied, later: Seeds at which the start was sooner, equally soon (or neither got there), later.
        p_value: Two-sided sign-flip test of these signs, ties as zeros: the exact sign test.
        superiority: P(sooner) + P(tie) / 2, with its exact interval at level 1 - alpha.
        medians: Kaplan-Meier medians; None where fewer than half of the runs got there.
        restricted_means: Mean steps within the horizon, a run that never got there counted at the horizon.
        difference: Restricted mean of the baseline minus that of the start (positive: the start is sooner).
        interval: Of ``difference``, by inversion of the sign-flip test, at level 1 - alpha.
    """

    n: int
    horizon: float
    reached: tuple[int, int]
    sooner: int
    tied: int
    later: int
    p_value: float
    superiority: tuple[float, float, float]
    medians: tuple[float | None, float | None]
    restricted_means: tuple[float, float]
    difference: float
    interval: tuple[float, float]


def compare_steps(
    start: Sequence[float], baseline: Sequence[float], *, horizon: float, alpha: float = 0.05
) -> StepsComparison:
    """Compares steps to a target, paired by seed.

    The test looks at order only, for which a censored run is later than any that got there; of two censored runs
    neither is sooner. Where no run of either side got there, nothing is known: p = 1, medians None, difference 0.

    Args:
        start, baseline: Steps until the target, one number per seed; infinite or NaN where it was never reached.
        horizon: Steps that each run had, positive.
        alpha: Of the intervals.

    Example:
        >>> found = compare_steps([10, 20, 20, 10, 30, 20], [40, math.inf, 60, 50, math.inf, 40], horizon=100)
        >>> found.p_value, found.medians, found.difference
        (0.03125, (20.0, 50.0), 46.666666666666664)
    """
    _check(start, baseline, horizon)
    starts, baselines = _censored(start), _censored(baseline)
    signs = [float((b > a) - (b < a)) for a, b in zip(starts, baselines, strict=True)]
    sooner, later = signs.count(1.0), signs.count(-1.0)
    restricted = sign_flip([min(b, horizon) - min(a, horizon) for a, b in zip(starts, baselines, strict=True)])
    return StepsComparison(
        n=len(starts),
        horizon=horizon,
        reached=(sum(map(math.isfinite, starts)), sum(map(math.isfinite, baselines))),
        sooner=sooner,
        tied=len(starts) - sooner - later,
        later=later,
        p_value=sign_flip(signs).p_value(),
        superiority=superiority(sooner, len(starts) - sooner - later, later, alpha),
        medians=(median_steps(starts), median_steps(baselines)),
        restricted_means=(restricted_mean(starts, horizon), restricted_mean(baselines, horizon)),
        difference=restricted.mean,
        interval=restricted.interval(alpha),
    )


def median_steps(steps: Sequence[float]) -> float | None:
    """The first step at which half of the runs had reached the target, or None where fewer ever did.

    It is the Kaplan-Meier median, since runs are censored at one common horizon only.

    Example:
        >>> median_steps([30, 10, math.inf, 20]), median_steps([30, math.inf, math.inf])
        (20.0, None)
    """
    middle = sorted(_censored(steps))[(len(steps) - 1) // 2]
    return middle if math.isfinite(middle) else None


def restricted_mean(steps: Sequence[float], horizon: float) -> float:
    """Mean steps to the target within the horizon (Royston and Parmar, 2013); never reached counts as the horizon.

    Example:
        >>> restricted_mean([30, 10, math.inf], horizon=50)
        30.0
    """
    return math.fsum(min(step, horizon) for step in _censored(steps)) / len(steps)


def _censored(steps: Sequence[float]) -> list[float]:
    return [float(step) if math.isfinite(step) else math.inf for step in steps]


def _check(start: Sequence[float], baseline: Sequence[float], horizon: float) -> None:
    example = "compare_steps([10, 20], [40, math.inf], horizon=100)"
    if not start or len(start) != len(baseline):
        raise InvalidValueError(
            f"compare_steps got {len(start)} runs of the start and {len(baseline)} of the baseline; they are paired by "
            "seed, at least one.",
            fix=example,
        )
    if not (math.isfinite(horizon) and horizon > 0.0):
        raise InvalidValueError(f"horizon is {horizon}; it must be positive and finite.", fix=example)
    beyond = [step for step in (*start, *baseline) if math.isfinite(step) and not 0.0 <= step <= horizon]
    if beyond:
        raise InvalidValueError(
            f"A run reached the target at step {beyond[0]:g}, outside its {horizon:g} steps.",
            fix="pass the steps of the runs as horizon, and math.inf where the target was never reached",
        )
