"""From paired outcomes to verdicts: a whole family of comparisons at once, by a rule declared before the runs."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from exnihilo.errors import InvalidValueError
from exnihilo.lab.planning import alpha_spent, more_seeds
from exnihilo.lab.proportions import clopper_pearson, mcnemar_p, superiority
from exnihilo.lab.records import Outcome, RunRecord, Verdict
from exnihilo.lab.statistics import SignFlip, holm, holm_levels, sign_flip

# Two scores that differ by less than this share of themselves are equal: they differ by rounding.
SAME_SCORE = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedOutcomes:
    """The metric of a start and of its baseline on the same seeds, in the order in which the seeds were declared.

    Args:
        start, baseline: One number per seed; not finite where the run left no usable result (it diverged).
        start_failed, baseline_failed: Whether the run failed: it diverged, or it never moved. A run that never moved
            keeps its metric, which is finite and measured; failures are compared apart too (`compare_failures`).
    """

    start: tuple[float, ...]
    baseline: tuple[float, ...]
    start_failed: tuple[bool, ...]
    baseline_failed: tuple[bool, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.start), len(self.baseline), len(self.start_failed), len(self.baseline_failed)}
        if len(lengths) != 1 or lengths == {0}:
            raise InvalidValueError(
                f"PairedOutcomes has {len(self.start)} start and {len(self.baseline)} baseline values, "
                f"{len(self.start_failed)} and {len(self.baseline_failed)} flags; it needs one of each per seed.",
                fix="PairedOutcomes.of(start=(0.9, 0.8), baseline=(0.7, 0.8))",
            )

    @classmethod
    def of(cls, start: Sequence[float], baseline: Sequence[float]) -> "PairedOutcomes":
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
        )


def final_score(record: RunRecord) -> float:
    """The score on test data after the last step; NaN for a run that diverged."""
    return math.nan if record.diverged else record.test_score


def pair_records(
    start: Iterable[RunRecord], baseline: Iterable[RunRecord], metric: Callable[[RunRecord], float] = final_score
) -> PairedOutcomes:
    """Pairs the runs of a start and of a baseline by seed, in ascending order of the seeds.

    Seeds that only one side has are left out: a baseline that is shared by several starts may have been given more.

    Args:
        start, baseline: Records that differ in the start alone (and the learning rate), one per seed.
        metric: Of one run; a value that is not finite says that the run has no usable result.
    """
    starts = {record.run.seed: record for record in start}
    baselines = {record.run.seed: record for record in baseline}
    seeds = sorted(starts.keys() & baselines.keys())
    return PairedOutcomes(
        start=tuple(metric(starts[seed]) for seed in seeds),
        baseline=tuple(metric(baselines[seed]) for seed in seeds),
        start_failed=tuple(_failed(starts[seed]) for seed in seeds),
        baseline_failed=tuple(_failed(baselines[seed]) for seed in seeds),
    )


def compare(
    pairs: Mapping[str, PairedOutcomes],
    *,
    margin: float,
    alpha: float = 0.05,
    looks: Sequence[int] = (),
    higher_is_better: bool = True,
    worst: float | None = None,
) -> tuple[Verdict, ...]:
    """The verdicts on one claim's whole family of comparisons.

    Rule:
        At each look, the sign-flip test is inverted for every comparison that is still open. Equivalent: the interval
        lies strictly inside ±margin. Else better or worse: it excludes 0. Else undecided, and open at the next look.
        Holm's step-down over the family shares alpha among the comparisons, once for differences and once for
        equivalences, so each of the two kinds of false verdict has a family-wise probability of at most alpha.
        A verdict stays final: a settled comparison counts as rejected in its own kind at later looks, and as not
        rejected in the other.

    Args:
        pairs: Outcomes by the comparison's name.
        margin: Differences smaller than this do not matter in practice, in the metric's unit; 0 for none.
        alpha: For the family and all looks.
        looks: Seeds at each look, at most three, declared before the runs; see `planning.alpha_spent`. Looks that the
            outcomes do not reach yet are not taken. Empty: one look at all seeds of each pair.
        higher_is_better: False for a loss, or for steps to a target.
        worst: Stands for the metric of a run that left no finite value, and bounds the others: nothing counts as worse.
            Needed as soon as there is such a run.

    Returns:
        A verdict for each comparison, in order. ``p_adjusted`` is to be compared with ``alpha``: it holds Holm's factor
        and that of the look's share.

    Example:
        >>> he, zeros = (0.97, 0.98, 0.96, 0.97, 0.98, 0.97), (0.08, 0.10, 0.09, 0.08, 0.10, 0.09)
        >>> [verdict] = compare({"he vs zeros": PairedOutcomes.of(he, zeros)}, margin=0.01)
        >>> verdict.outcome, round(verdict.estimate, 3), verdict.p_value
        ('better', 0.882, 0.03125)
    """
    sizes = tuple(looks) or (max((pair.n for pair in pairs.values()), default=1),)
    _check(pairs, margin=margin, first_look=sizes[0] if looks else 1)
    differences = {
        name: _differences(name, pair, higher_is_better=higher_is_better, worst=worst) for name, pair in pairs.items()
    }
    verdicts: dict[str, Verdict] = {}
    for look, share in enumerate(alpha_spent(sizes, alpha)):
        settled: dict[str, Outcome] = {
            name: verdict.outcome for name, verdict in verdicts.items() if verdict.outcome != "undecided"
        }
        seen = {name: values[: sizes[look]] for name, values in differences.items() if name not in settled}
        if not seen or (look > 0 and min(len(values) for values in seen.values()) < sizes[look]):
            break
        rule = _Rule(len(pairs), alpha, share, sizes, look, margin, worst)
        flips = {name: sign_flip(values) for name, values in seen.items()}
        for name, level in _levels(tuple(pairs), flips, settled, rule).items():
            verdicts[name] = _verdict(name, pairs[name].first(sizes[look]), flips[name], level, rule)
    return tuple(verdicts[name] for name in pairs)


def decide(flip: SignFlip, *, margin: float, difference_alpha: float, equivalence_alpha: float) -> Outcome:
    """The outcome of one comparison at its own shares of alpha; see `compare` for the rule.

    Example:
        >>> decide(sign_flip([0.1] * 6), margin=0.2, difference_alpha=0.05, equivalence_alpha=0.05)
        'equivalent'
    """
    if flip.equivalence_p(margin) <= equivalence_alpha:
        return "equivalent"
    if flip.p_value() <= difference_alpha:
        return "better" if flip.mean > 0.0 else "worse"
    return "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class FailureComparison:
    """How often a start fails, against its baseline on the same seeds.

    Args:
        comparison: What is compared with what.
        n: Paired seeds.
        failures: Of the start and of the baseline.
        start_rate, baseline_rate: Exact (Clopper-Pearson) intervals of the two failure rates, at level 1 - alpha.
        discordant: Seeds at which only the start failed, and only the baseline.
        p_value: Exact McNemar test, two-sided.
        p_adjusted: After Holm over the family.
    """

    comparison: str
    n: int
    failures: tuple[int, int]
    start_rate: tuple[float, float]
    baseline_rate: tuple[float, float]
    discordant: tuple[int, int]
    p_value: float
    p_adjusted: float


def compare_failures(pairs: Mapping[str, PairedOutcomes], *, alpha: float = 0.05) -> tuple[FailureComparison, ...]:
    """Failures as outcomes of their own: counts, rates with exact intervals, McNemar's test, Holm over the family.

    Example:
        >>> pair = PairedOutcomes.of([math.nan] * 6, [0.9] * 6)
        >>> [found] = compare_failures({"hot vs cold": pair})
        >>> found.failures, found.p_value
        ((6, 0), 0.03125)
    """
    _check(pairs, margin=0.0, first_look=1)
    discordant = {name: _discordant(pair) for name, pair in pairs.items()}
    p_values = [mcnemar_p(*counts) for counts in discordant.values()]
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
        for (name, pair), p_value, p_adjusted in zip(pairs.items(), p_values, holm(p_values), strict=True)
    )


class _Rule(NamedTuple):
    """The declared rule as it stands at one look."""

    family_size: int
    alpha: float
    share: float
    sizes: tuple[int, ...]
    look: int
    margin: float
    worst: float | None

    def text(self, flip: SignFlip, level: "_Level") -> str:
        """The rule in words, with the numbers that were used."""
        kind = "exact" if flip.is_exact else f"{flip.num_splits} splits"
        test = [f"Paired sign-flip test ({kind}, n = {flip.num_seeds})"]
        test += [f"Holm over {self.family_size} comparisons"] if self.family_size > 1 else []
        test += [f"alpha = {self.alpha:g}"]
        if len(self.sizes) > 1:
            test += [f"of which look {self.look + 1} of {len(self.sizes)} spends {self.share:.3g}"]
        equivalent = f"equivalent if the {_percent(level.alike)} interval lies inside ±{self.margin:g}; else "
        text = f"{', '.join(test)}: {equivalent if self.margin > 0.0 else ''}better or worse if the "
        text += f"{_percent(level.apart)} interval excludes 0; else undecided."
        if self.worst is not None:
            text += f" A run without a finite result counts as {self.worst:g}, and nothing counts as worse."
        return text


class _Level(NamedTuple):
    """What Holm leaves for one comparison: alpha for a difference and for equivalence, and the adjusted p-value."""

    apart: float
    alike: float
    p_adjusted: float


def _levels(
    names: tuple[str, ...], flips: Mapping[str, SignFlip], settled: Mapping[str, Outcome], rule: _Rule
) -> dict[str, _Level]:
    """The levels of the open comparisons, those of ``flips``.

    A settled comparison counts as rejected (p = 0) in its own kind and as never rejected (p = 1) in the other: Holm's
    divisor may fall only by hypotheses of the same kind that were rejected. Were one family of p-values kept for both
    kinds, many true effects of exactly the margin would free all of alpha for calling the last of them equivalent.
    """
    apart = [flips[name].p_value() if name in flips else float(settled[name] == "equivalent") for name in names]
    alike = [
        flips[name].equivalence_p(rule.margin) if name in flips else float(settled[name] != "equivalent")
        for name in names
    ]
    family = zip(names, holm_levels(apart, rule.share), holm_levels(alike, rule.share), holm(apart), strict=True)
    return {
        name: _Level(for_apart, for_alike, min(1.0, adjusted * rule.alpha / rule.share))
        for name, for_apart, for_alike, adjusted in family
        if name in flips
    }


def _verdict(name: str, pair: PairedOutcomes, flip: SignFlip, level: _Level, rule: _Rule) -> Verdict:
    outcome = decide(flip, margin=rule.margin, difference_alpha=level.apart, equivalence_alpha=level.alike)
    # The interval that is shown is the one that decided; undecided, the wider of the two, which fails both conditions.
    shown = {"equivalent": level.alike, "undecided": min(level.apart, level.alike)}.get(outcome, level.apart)
    wins, losses = int((flip.differences > 0.0).sum()), int((flip.differences < 0.0).sum())
    is_open = outcome == "undecided"
    return Verdict(
        comparison=name,
        outcome=outcome,
        estimate=flip.mean,
        interval=flip.interval(shown),
        level=1.0 - shown,
        n=flip.num_seeds,
        p_value=flip.p_value(),
        p_adjusted=level.p_adjusted,
        superiority=superiority(wins, flip.num_seeds - wins - losses, losses, shown),
        failures=(sum(pair.start_failed), sum(pair.baseline_failed)),
        more_seeds=more_seeds(flip.mean, flip.spread, flip.num_seeds, rule.margin, shown) if is_open else None,
        rule=rule.text(flip, level),
    )


def _differences(name: str, pair: PairedOutcomes, *, higher_is_better: bool, worst: float | None) -> tuple[float, ...]:
    """Differences oriented so that positive favors the start; exactly 0.0 where the scores differ by rounding only."""
    sign = 1.0 if higher_is_better else -1.0
    starts = _bounded(name, pair.start, sign, worst)
    baselines = _bounded(name, pair.baseline, sign, worst)
    return tuple(
        0.0 if math.isclose(a, b, rel_tol=SAME_SCORE) else sign * (a - b)
        for a, b in zip(starts, baselines, strict=True)
    )


def _bounded(name: str, values: tuple[float, ...], sign: float, worst: float | None) -> list[float]:
    lost = [index for index, value in enumerate(values) if not math.isfinite(value)]
    if worst is None:
        if lost:
            raise InvalidValueError(
                f"'{name}': the metric of seed number {lost[0]} is {values[lost[0]]}, and no worst value is declared.",
                context=[f"{len(lost)} of {len(values)} runs of one side left no finite value; none may be dropped"],
                fix="declare what such a run is worth, e.g. compare(pairs, worst=0.0, ...) for an accuracy",
            )
        return list(values)
    return [worst if not math.isfinite(value) else sign * max(sign * value, sign * worst) for value in values]


def _discordant(pair: PairedOutcomes) -> tuple[int, int]:
    flags = tuple(zip(pair.start_failed, pair.baseline_failed, strict=True))
    return sum(a and not b for a, b in flags), sum(b and not a for a, b in flags)


def _failed(record: RunRecord) -> bool:
    return record.diverged or not record.moved


def _percent(alpha: float) -> str:
    # Four digits of the confidence level, so that 1 - 0.05 / 28 does not read as 100 %.
    return f"{100.0 * (1.0 - alpha):.4g} %"


def _check(pairs: Mapping[str, PairedOutcomes], *, margin: float, first_look: int) -> None:
    if not pairs:
        raise InvalidValueError(
            "The family has no comparison; a claim compares at least one pair.",
            fix="compare({'he vs zeros': PairedOutcomes.of(he, zeros)}, margin=0.01)",
        )
    if not (math.isfinite(margin) and margin >= 0.0):
        raise InvalidValueError(f"margin is {margin}; it must be finite and not negative.", fix="margin=0.01")
    short = {name: pair.n for name, pair in pairs.items() if pair.n < first_look}
    if short:
        name, n = next(iter(short.items()))
        raise InvalidValueError(
            f"'{name}' has {n} seeds; the first declared look needs {first_look}.",
            context=[f"{len(short)} of {len(pairs)} comparisons have too few seeds"],
            fix=f"run the seeds up to {first_look} first, or declare looks=({min(short.values())}, ...)",
        )
