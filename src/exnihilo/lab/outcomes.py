"""What the runs of two starts left on the same seeds: their metric, and whether they failed."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from exnihilo.errors import InvalidValueError
from exnihilo.lab.bracket import Bracket
from exnihilo.lab.planning import alpha_spent
from exnihilo.lab.proportions import clopper_pearson, mcnemar_p
from exnihilo.lab.records import RunRecord
from exnihilo.lab.statistics import holm, sign_flip

# Two scores that differ by less than this share of themselves are equal: they differ by rounding.
SAME_SCORE = 1e-9

Values = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedOutcomes:
    """The metric of a start and of its baseline on the same seeds, in the order in which the seeds were declared.

    Args:
        start, baseline: One number per seed; not finite where the run left no usable result (it diverged).
        start_failed, baseline_failed: Whether the run failed: it diverged, or it never moved. A run that never moved
            keeps its metric, which is finite and measured; failures are compared apart too (`compare_failures`).
        start_near, baseline_near: The metric on the same seeds at the learning rates next to the chosen one, a tuple
            per rate, where rates were tuned; see `exnihilo.lab.bracket` for what they guard against.
    """

    start: Values
    baseline: Values
    start_failed: tuple[bool, ...]
    baseline_failed: tuple[bool, ...]
    start_near: tuple[Values, ...] = ()
    baseline_near: tuple[Values, ...] = ()

    def __post_init__(self) -> None:
        sides = {
            "start": self.start,
            "baseline": self.baseline,
            "start_failed": self.start_failed,
            "baseline_failed": self.baseline_failed,
            **{f"start_near[{index}]": values for index, values in enumerate(self.start_near)},
            **{f"baseline_near[{index}]": values for index, values in enumerate(self.baseline_near)},
        }
        lengths = {name: len(values) for name, values in sides.items()}
        if set(lengths.values()) != {len(self.start)} or not self.start:
            raise InvalidValueError(
                f"PairedOutcomes has {len(self.start)} start and {len(self.baseline)} baseline values; it needs one of "
                "each per seed, and at least one seed.",
                context=[f"values given: {lengths}"],
                fix="PairedOutcomes.of(start=(0.9, 0.8), baseline=(0.7, 0.8))",
            )

    @classmethod
    def of(cls, start: Sequence[float], baseline: Sequence[float]) -> Self:
        """Outcomes whose only failures are the values that are not finite."""
        return cls(
            start=tuple(start),
            baseline=tuple(baseline),
            start_failed=tuple(not math.isfinite(value) for value in start),
            baseline_failed=tuple(not math.isfinite(value) for value in baseline),
        )

    @property
    def n(self) -> int:
        """Paired seeds."""
        return len(self.start)

    def first(self, n: int) -> "PairedOutcomes":
        """The outcomes of the first ``n`` seeds, which is what a look at n sees."""
        return PairedOutcomes(
            start=self.start[:n],
            baseline=self.baseline[:n],
            start_failed=self.start_failed[:n],
            baseline_failed=self.baseline_failed[:n],
            start_near=tuple(values[:n] for values in self.start_near),
            baseline_near=tuple(values[:n] for values in self.baseline_near),
        )

    def bounded(self, name: str, *, higher_is_better: bool, worst: float | None) -> "PairedOutcomes":
        """The same outcomes with larger values better, none missing, and none worse than ``worst``.

        Args:
            name: What is compared, for errors.
            higher_is_better: False turns every sign.
            worst: Stands for values that are not finite, in the metric's own direction; None declares none.

        Raises:
            InvalidValueError: A value that is not finite where no worst value is declared.
        """
        sign = 1.0 if higher_is_better else -1.0

        def oriented(values: Values) -> Values:
            return _oriented(name, values, sign=sign, worst=worst)

        return PairedOutcomes(
            start=oriented(self.start),
            baseline=oriented(self.baseline),
            start_failed=self.start_failed,
            baseline_failed=self.baseline_failed,
            start_near=tuple(map(oriented, self.start_near)),
            baseline_near=tuple(map(oriented, self.baseline_near)),
        )

    def bracket(self) -> Bracket:
        """The sign-flip tests of the difference, start minus baseline; of finite values (see `bounded`)."""
        chosen = sign_flip(_differences(self.start, self.baseline))
        below = [sign_flip(_differences(self.start, values)) for values in self.baseline_near]
        above = [sign_flip(_differences(values, self.baseline)) for values in self.start_near]
        return Bracket(chosen=chosen, below=(chosen, *below), above=(chosen, *above))


def final_score(record: RunRecord) -> float:
    """The score on test data after the last step; NaN for a run that diverged."""
    return math.nan if record.diverged else record.test_score


def pair_records(
    start: Iterable[RunRecord],
    baseline: Iterable[RunRecord],
    metric: Callable[[RunRecord], float] = final_score,
    *,
    start_near: Iterable[Iterable[RunRecord]] = (),
    baseline_near: Iterable[Iterable[RunRecord]] = (),
) -> PairedOutcomes:
    """Pairs the runs of a start and of a baseline by seed, in ascending order of the seeds.

    Seeds that some side lacks are left out: a baseline that several starts share may have been given more.

    Args:
        start, baseline: Records that differ in the start alone (and the learning rate), one per seed.
        metric: Of one run; a value that is not finite says that the run has no usable result.
        start_near, baseline_near: The records at each learning rate next to the chosen one.
    """
    sides = [_by_seed(records) for records in (start, baseline)]
    start_sides, baseline_sides = [_by_seed(r) for r in start_near], [_by_seed(r) for r in baseline_near]
    everywhere = set[int].intersection(*(set(side) for side in (*sides, *start_sides, *baseline_sides)))
    seeds = sorted(everywhere)

    def values(side: Mapping[int, RunRecord]) -> Values:
        return tuple(metric(side[seed]) for seed in seeds)

    return PairedOutcomes(
        start=values(sides[0]),
        baseline=values(sides[1]),
        start_failed=tuple(_failed(sides[0][seed]) for seed in seeds),
        baseline_failed=tuple(_failed(sides[1][seed]) for seed in seeds),
        start_near=tuple(map(values, start_sides)),
        baseline_near=tuple(map(values, baseline_sides)),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureComparison:
    """How often a start fails, against its baseline on the same seeds.

    Args:
        comparison: What is compared with what.
        n: Paired seeds.
        failures: Of the start and of the baseline.
        start_rate, baseline_rate: Exact (Clopper-Pearson) intervals of the two failure rates, at level 1 - alpha.
        discordant: Seeds at which only the start failed, and only the baseline.
        p_value: Exact McNemar test, two-sided, before any correction.
        p_adjusted: After the share of its look and Holm over the family; to be compared with the family's alpha.
    """

    comparison: str
    n: int
    failures: tuple[int, int]
    start_rate: tuple[float, float]
    baseline_rate: tuple[float, float]
    discordant: tuple[int, int]
    p_value: float
    p_adjusted: float


def compare_failures(
    pairs: Mapping[str, PairedOutcomes], *, alpha: float = 0.05, looks: Sequence[int] = ()
) -> tuple[FailureComparison, ...]:
    """Failures as outcomes of their own: counts, rates with exact intervals, McNemar's test, Holm over the family.

    Args:
        pairs: Outcomes by the comparison's name, each of as many seeds as the look that settled it.
        alpha: For the family and all looks; the intervals are at level 1 - alpha each.
        looks: Seeds at each declared look. A p-value at one of them counts by the look's share of alpha, so that it
            holds whatever stopped the looks. Empty: one look.

    Example:
        >>> pair = PairedOutcomes.of([math.nan] * 6, [0.9] * 6)
        >>> [found] = compare_failures({"hot vs cold": pair})
        >>> found.failures, found.p_value
        ((6, 0), 0.03125)
    """
    discordant = {name: _discordant(pair) for name, pair in pairs.items()}
    p_values = [mcnemar_p(*counts) for counts in discordant.values()]
    shares = dict(zip(looks, alpha_spent(tuple(looks), alpha), strict=True)) if looks else {}
    factors = [alpha / shares.get(pair.n, alpha) for pair in pairs.values()]
    by_look = [min(1.0, factor * p) for factor, p in zip(factors, p_values, strict=True)]
    return tuple(
        FailureComparison(
            comparison=name,
            n=pair.n,
            failures=(sum(pair.start_failed), sum(pair.baseline_failed)),
            start_rate=clopper_pearson(sum(pair.start_failed), pair.n, alpha),
            baseline_rate=clopper_pearson(sum(pair.baseline_failed), pair.n, alpha),
            discordant=discordant[name],
            p_value=p_value,
            p_adjusted=p_adjusted,
        )
        for (name, pair), p_value, p_adjusted in zip(pairs.items(), p_values, holm(by_look), strict=True)
    )


def _oriented(name: str, values: Values, *, sign: float, worst: float | None) -> Values:
    lost = [index for index, value in enumerate(values) if not math.isfinite(value)]
    if lost and worst is None:
        raise InvalidValueError(
            f"'{name}': the metric of seed number {lost[0]} is {values[lost[0]]}, and no worst value is declared.",
            context=[f"{len(lost)} of {len(values)} runs of one side left no finite value; none may be dropped"],
            fix="declare what such a run is worth, e.g. compare(pairs, worst=0.0, ...) for an accuracy",
        )
    floor = -math.inf if worst is None else sign * worst
    return tuple(max(sign * value, floor) if math.isfinite(value) else floor for value in values)


def _differences(starts: Values, baselines: Values) -> Values:
    """Start minus baseline; exactly 0.0 where two scores differ by rounding only."""
    return tuple(
        0.0 if math.isclose(a, b, rel_tol=SAME_SCORE) else a - b for a, b in zip(starts, baselines, strict=True)
    )


def _discordant(pair: PairedOutcomes) -> tuple[int, int]:
    flags = tuple(zip(pair.start_failed, pair.baseline_failed, strict=True))
    return sum(a and not b for a, b in flags), sum(b and not a for a, b in flags)


def _by_seed(records: Iterable[RunRecord]) -> dict[int, RunRecord]:
    return {record.run.seed: record for record in records}


def _failed(record: RunRecord) -> bool:
    return record.diverged or not record.moved
