"""Simulated studies with a known truth, put through the lab's own tuning and verdicts: how often are they wrong?

Shape legend: A arms (the baseline first, then the starts), R rates, S seeds.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.outcomes import PairedOutcomes
from exnihilo.lab.records import Outcome
from exnihilo.lab.statistics import Floats
from exnihilo.lab.tuning import choose_rate, judged_rates
from exnihilo.lab.verdict import compare

Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]


def _lognormal(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    mean, std = math.exp(0.5), math.sqrt((math.e - 1.0) * math.e)
    return np.asarray((rng.lognormal(size=shape) - mean) / std, dtype=np.float64)


def _collapsing(rng: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    # One run in ten falls far below the others: failed training at an otherwise good rate.
    return np.where(rng.random(shape) < 0.1, -0.9, 0.1) / 0.3


# Each of mean 0 and standard deviation 1.
NOISES: Mapping[str, Draw] = {
    "normal": lambda rng, shape: rng.normal(size=shape),
    "exponential": lambda rng, shape: rng.exponential(size=shape) - 1.0,
    "exponential, left": lambda rng, shape: 1.0 - rng.exponential(size=shape),
    "lognormal": _lognormal,
    "one in ten collapses": _collapsing,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A study whose truth is declared; every size in units of the standard deviation between the seeds of a start.

    The mean score of an arm at rate r is ``effect - curvature * (r - middle)**2``, r counted in steps of the grid. So
    the best rate is on the grid and the same for all arms, and the best scores differ by the effects exactly.

    Args:
        effects: True difference of each start's best score from the baseline's, one per start; 0.0 is a null.
        curvature: What one step beside the best rate loses; 0.0 makes every rate equally good.
        num_rates: Rates of the grid, odd.
        tuning_seeds: Seeds that choose the rates.
        looks: Judging seeds at each look.
        margin, alpha: Of the decision rule.
        correlation: Between arms on one seed: what pairing and common random numbers remove.
        noise: A key of ``NOISES``: the law of the starts' own noise; the baseline's is normal.
        neighbors: Whether the rates next to the chosen one are judged too.
    """

    effects: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0)
    curvature: float = 0.5
    num_rates: int = 7
    tuning_seeds: int = 3
    looks: tuple[int, ...] = (8, 10, 12)
    margin: float = 1.0
    alpha: float = 0.05
    correlation: float = 0.5
    noise: str = "normal"
    neighbors: bool = True

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise UnknownNameError.of("noise", self.noise, NOISES)
        if self.num_rates % 2 == 0 or not 0.0 <= self.correlation <= 1.0:
            raise InvalidValueError(
                f"Design has {self.num_rates} rates and correlation {self.correlation}; the first must be odd, so that "
                "the best is in the middle, and the second in [0, 1].",
                fix="Design(num_rates=7, correlation=0.5)",
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What a number of simulated studies concluded.

    Args:
        num_studies: Studies.
        false_differences: Studies with at least one better or worse of a start that is neither.
        false_equivalences: Studies with at least one equivalent of a start whose effect is not inside the margin.
        any_false: Studies with at least one of either.
        outcomes: Share of all comparisons that ended in each outcome.
        seeds: Mean of the judging seeds at which comparisons ended.
    """

    num_studies: int
    false_differences: int
    false_equivalences: int
    any_false: int
    outcomes: Mapping[Outcome, float]
    seeds: float


def simulate(design: Design, study: int) -> tuple[tuple[Outcome, int], ...]:
    """Outcome and judging seeds of each comparison of one simulated study, keyed by its number alone.

    Example:
        >>> simulate(Design(effects=(5.0, 0.0), curvature=2.0), study=1)
        (('better', 8), ('undecided', 12))
    """
    rng = np.random.Generator(np.random.Philox(key=study))
    tuning_ARS = _scores(design, rng, design.tuning_seeds)
    judging_ARS = _scores(design, rng, design.looks[-1])
    grid = [10.0**rate for rate in range(design.num_rates)]
    chosen = [choose_rate(dict(zip(grid, scores_RS.tolist(), strict=True)))[0] for scores_RS in tuning_ARS]

    def near(arm: int) -> tuple[tuple[float, ...], ...]:
        rates = [rate for rate in judged_rates(chosen[arm], grid) if rate != chosen[arm]] if design.neighbors else []
        return tuple(at(arm, rate) for rate in rates)

    def at(arm: int, rate: float) -> tuple[float, ...]:
        return tuple(judging_ARS[arm, grid.index(rate)].tolist())

    none_failed = (False,) * design.looks[-1]
    pairs = {
        str(arm): PairedOutcomes(
            start=at(arm, chosen[arm]),
            baseline=at(0, chosen[0]),
            start_failed=none_failed,
            baseline_failed=none_failed,
            start_near=near(arm),
            baseline_near=near(0),
        )
        for arm in range(1, len(design.effects) + 1)
    }
    verdicts = compare(pairs, margin=design.margin, alpha=design.alpha, looks=design.looks)
    return tuple((verdict.outcome, verdict.n) for verdict in verdicts)


def tally(design: Design, studies: Iterable[int]) -> Tally:
    """Simulates the studies of these numbers and counts their verdicts against the truth."""
    found = [simulate(design, study) for study in studies]
    different = [_has(outcomes, design, _is_false_difference) for outcomes in found]
    equivalent = [_has(outcomes, design, _is_false_equivalence) for outcomes in found]
    ends = list(itertools.chain.from_iterable(found))
    kinds: tuple[Outcome, ...] = ("better", "worse", "equivalent", "undecided")
    return Tally(
        num_studies=len(found),
        false_differences=sum(different),
        false_equivalences=sum(equivalent),
        any_false=sum(a or b for a, b in zip(different, equivalent, strict=True)),
        outcomes={kind: sum(outcome == kind for outcome, _ in ends) / len(ends) for kind in kinds},
        seeds=sum(seeds for _, seeds in ends) / len(ends),
    )


Judgement = Callable[[float, Outcome, float], bool]


def _has(outcomes: tuple[tuple[Outcome, int], ...], design: Design, is_false: Judgement) -> bool:
    return any(
        is_false(effect, outcome, design.margin) for effect, (outcome, _) in zip(design.effects, outcomes, strict=True)
    )


def _is_false_difference(effect: float, outcome: Outcome, _: float) -> bool:
    return (outcome == "better" and effect <= 0.0) or (outcome == "worse" and effect >= 0.0)


def _is_false_equivalence(effect: float, outcome: Outcome, margin: float) -> bool:
    return outcome == "equivalent" and abs(effect) >= margin


def _scores(design: Design, rng: np.random.Generator, num_seeds: int) -> Floats:
    """``(A, R, S)`` scores: a part that all arms share on a seed, and each run's own."""
    num_arms = len(design.effects) + 1
    shared_S = rng.normal(size=num_seeds)
    own_ARS = rng.normal(size=(num_arms, design.num_rates, num_seeds))
    if design.noise != "normal":
        own_ARS[1:] = NOISES[design.noise](rng, (num_arms - 1, design.num_rates, num_seeds))
    effect_A = np.array([0.0, *design.effects])
    loss_R = design.curvature * (np.arange(design.num_rates) - design.num_rates // 2) ** 2
    mean_AR = effect_A[:, None] - loss_R
    share = design.correlation
    return mean_AR[:, :, None] + math.sqrt(share) * shared_S + math.sqrt(1.0 - share) * own_ARS
