"""The difference of two starts, each at its best learning rate, when the choice of the rates was itself noisy.

A few tuning seeds choose a rate near the best one, not always the best. Judged at the chosen rates alone, two equal
starts then differ in truth, and enough judging seeds find it: false verdicts come several times as often as declared
(docs/statistics.md measures it). So the rates next to the chosen one are judged too, and the difference of the *best*
rates is bracketed. With chosen rate c and candidates r,

    mean(start, c) - best of r mean(baseline, r)  <=  best(start) - best(baseline)
                                                  <=  best of r mean(start, r) - mean(baseline, c).

Each side is an intersection-union test (Berger, 1982): the interval ends at the least favorable candidate, and needs no
correction for their number, because the true best rate is one of them. Candidates that are far worse cost nothing.
"""

from dataclasses import dataclass

from exnihilo.lab.planning import seeds_to_see
from exnihilo.lab.statistics import SignFlip


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """What a verdict needs of one comparison; of one sign-flip test alone where no neighboring rates were judged.

    Args:
        chosen: The start against the baseline, both at their chosen rates: the estimate.
        below: The start at its chosen rate against the baseline at each candidate rate: bounds the difference below.
        above: The start at each candidate rate against the baseline at its chosen rate: bounds it above.
    """

    chosen: SignFlip
    below: tuple[SignFlip, ...]
    above: tuple[SignFlip, ...]

    def p_value(self) -> float:
        """Two-sided p-value of no difference: the smallest alpha at which the interval excludes zero."""
        better = max(flip.p_value() if flip.mean > 0.0 else 1.0 for flip in self.below)
        worse = max(flip.p_value() if flip.mean < 0.0 else 1.0 for flip in self.above)
        return min(better, worse)

    def equivalence_p(self, margin: float) -> float:
        """The smallest alpha at which the interval lies strictly inside ``(-margin, margin)``; 1.0 where none does."""
        low = max(flip.p_value(-margin) if flip.mean > -margin else 1.0 for flip in self.below)
        high = max(flip.p_value(margin) if flip.mean < margin else 1.0 for flip in self.above)
        return max(low, high)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Interval of level 1 - alpha for the difference of the two best means."""
        return min(flip.lower(alpha) for flip in self.below), max(flip.upper(alpha) for flip in self.above)

    def seeds_to_decide(self, margin: float, alpha: float) -> int | None:
        """About how many seeds in all would decide, if the observed means and spreads are true; None where none would.

        To exclude zero, or to stay inside the margin, whichever takes fewer, with a power of 0.8.
        """
        better = [seeds_to_see(flip.mean, flip.spread, alpha) for flip in self.below]
        worse = [seeds_to_see(-flip.mean, flip.spread, alpha) for flip in self.above]
        inside = [seeds_to_see(margin + flip.mean, flip.spread, alpha) for flip in self.below]
        inside += [seeds_to_see(margin - flip.mean, flip.spread, alpha) for flip in self.above]
        needs = [max(known) for known in (_all_known(better), _all_known(worse), _all_known(inside)) if known]
        return min(needs, default=None)


def _all_known(needs: list[int | None]) -> list[int]:
    known = [need for need in needs if need is not None]
    return known if len(known) == len(needs) else []
