"""From paired outcomes to verdicts: a whole family of comparisons at once, by a rule declared before the runs."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from exnihilo.errors import InvalidValueError
from exnihilo.lab.bracket import Bracket
from exnihilo.lab.outcomes import FailureComparison, PairedOutcomes, compare_failures, pair_records
from exnihilo.lab.planning import alpha_spent
from exnihilo.lab.proportions import superiority
from exnihilo.lab.records import Outcome, Verdict
from exnihilo.lab.statistics import holm, holm_levels

__all__ = ["FailureComparison", "PairedOutcomes", "compare", "compare_failures", "decide", "pair_records"]


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
    outcomes = {
        name: pair.bounded(name, higher_is_better=higher_is_better, worst=worst) for name, pair in pairs.items()
    }
    verdicts: dict[str, Verdict] = {}
    for look, share in enumerate(alpha_spent(sizes, alpha)):
        settled: dict[str, Outcome] = {
            name: verdict.outcome for name, verdict in verdicts.items() if verdict.outcome != "undecided"
        }
        seen = {name: pair.first(sizes[look]) for name, pair in outcomes.items() if name not in settled}
        if not seen or (look > 0 and min(pair.n for pair in seen.values()) < sizes[look]):
            break
        rule = _Rule(len(pairs), alpha, share, sizes, look, margin, worst)
        brackets = {name: pair.bracket() for name, pair in seen.items()}
        for name, level in _levels(tuple(pairs), brackets, settled, rule).items():
            verdicts[name] = _verdict(name, seen[name], brackets[name], level, rule)
    return tuple(verdicts[name] for name in pairs)


def decide(bracket: Bracket, *, margin: float, difference_alpha: float, equivalence_alpha: float) -> Outcome:
    """The outcome of one comparison at its own shares of alpha; see `compare` for the rule.

    Example:
        >>> pair = PairedOutcomes.of([0.9] * 6, [0.8] * 6)
        >>> decide(pair.bracket(), margin=0.2, difference_alpha=0.05, equivalence_alpha=0.05)
        'equivalent'
        >>> decide(pair.bracket(), margin=0.02, difference_alpha=0.05, equivalence_alpha=0.05)
        'better'
    """
    if bracket.equivalence_p(margin) <= equivalence_alpha:
        return "equivalent"
    if bracket.p_value() <= difference_alpha:
        return "better" if bracket.chosen.mean > 0.0 else "worse"
    return "undecided"


class _Rule(NamedTuple):
    """The declared rule as it stands at one look."""

    family_size: int
    alpha: float
    share: float
    sizes: tuple[int, ...]
    look: int
    margin: float
    worst: float | None

    def text(self, bracket: Bracket, level: "_Level") -> str:
        """The rule in words, with the numbers that were used."""
        flip, num_rates = bracket.chosen, max(len(bracket.below), len(bracket.above))
        kind = "exact" if flip.is_exact else f"{flip.num_splits} splits"
        test = [f"Paired sign-flip test ({kind}, n = {flip.num_seeds})"]
        test += [f"at the chosen rate and its neighbors (up to {num_rates} rates a side)"] if num_rates > 1 else []
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
    names: tuple[str, ...], brackets: Mapping[str, Bracket], settled: Mapping[str, Outcome], rule: _Rule
) -> dict[str, _Level]:
    """The levels of the open comparisons, those of ``brackets``.

    A settled comparison counts as rejected (p = 0) in its own kind and as never rejected (p = 1) in the other: Holm's
    divisor may fall only by hypotheses of the same kind that were rejected. Were one family of p-values kept for both
    kinds, many true effects of exactly the margin would free all of alpha for calling the last of them equivalent.
    """
    apart = [brackets[name].p_value() if name in brackets else float(settled[name] == "equivalent") for name in names]
    alike = [
        brackets[name].equivalence_p(rule.margin) if name in brackets else float(settled[name] != "equivalent")
        for name in names
    ]
    family = zip(names, holm_levels(apart, rule.share), holm_levels(alike, rule.share), holm(apart), strict=True)
    return {
        name: _Level(for_apart, for_alike, min(1.0, adjusted * rule.alpha / rule.share))
        for name, for_apart, for_alike, adjusted in family
        if name in brackets
    }


def _verdict(name: str, pair: PairedOutcomes, bracket: Bracket, level: _Level, rule: _Rule) -> Verdict:
    outcome = decide(bracket, margin=rule.margin, difference_alpha=level.apart, equivalence_alpha=level.alike)
    # The interval that is shown is the one that decided; undecided, the wider of the two, which fails both conditions.
    shown = {"equivalent": level.alike, "undecided": min(level.apart, level.alike)}.get(outcome, level.apart)
    more = None
    if outcome == "undecided":
        total = bracket.seeds_to_decide(rule.margin, shown)
        more = None if total is None else max(1, total - pair.n)
    differences = bracket.chosen.differences
    wins, losses = int((differences > 0.0).sum()), int((differences < 0.0).sum())
    return Verdict(
        comparison=name,
        outcome=outcome,
        estimate=bracket.chosen.mean,
        interval=bracket.interval(shown),
        level=1.0 - shown,
        n=pair.n,
        p_value=bracket.p_value(),
        p_adjusted=level.p_adjusted,
        superiority=superiority(wins, pair.n - wins - losses, losses, shown),
        failures=(sum(pair.start_failed), sum(pair.baseline_failed)),
        more_seeds=more,
        rule=rule.text(bracket, level),
    )


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
