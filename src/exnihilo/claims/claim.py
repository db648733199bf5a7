"""What a claim is: a statement, the studies that put it to the test, and the rule that reads their records."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Answer, Basis, Cell, ClaimVerdict, Evidence
from exnihilo.lab.metrics import metric_named
from exnihilo.lab.records import Run, RunRecord, Start, Verdict
from exnihilo.lab.schedule import Comparison, Tuning, comparisons_of, judge, runs_of, tunings_of
from exnihilo.lab.store import Declaration
from exnihilo.lab.study import Place, Study
from exnihilo.lab.verdict import compare, pair_records


class Judged(tuple[RunRecord, ...]):
    """The judging runs of a start in a place, by seed, which know those at the rates next to theirs.

    Args:
        records: The runs at one rate.
        near: Those at each rate next to it, where their own study tuned it; else none.
    """

    near: tuple[tuple[RunRecord, ...], ...]

    def __new__(cls, records: Iterable[RunRecord], near: Iterable[tuple[RunRecord, ...]] = ()) -> Self:
        """A tuple of the runs; see the class."""
        judged = super().__new__(cls, records)
        judged.near = tuple(near)
        return judged


@dataclass(frozen=True, kw_only=True)
class Found:
    """All that a claim's rule may look at.

    Args:
        preset: The preset.
        studies: The claim's own studies by name.
        records: Finished runs, of these studies and others; a rule sees only those that its studies asked for.
        measured: What the claim's ``measure`` returned; None where it has none.
    """

    preset: Preset
    studies: Mapping[str, Study]
    records: Mapping[Run, RunRecord]
    measured: Any = None

    @property
    def num_runs(self) -> int:
        """Runs that the claim's own studies rest on; a run that two of them share is one."""
        return len({run for name in self.studies for run in self._own[name]})

    def runs(self, study: str) -> tuple[RunRecord, ...]:
        """Every finished run of a study, tuning runs too."""
        return tuple(self._own[study].values())

    def judged(self, study: str, place: Place, start: Start, lr: float | None = None) -> Judged:
        """The judging runs of a start in a place, by seed, at its chosen rate (or at ``lr``).

        Runs at a rate that was asked for, or of a study that tunes nothing, have no neighbors: which rates lie next to
        theirs was then no choice of the study, whatever another one chose.
        """
        of = self.studies[study]
        if lr is not None or of.policy != "tuned":
            return Judged(self._judging(study, place, start, of.lrs[0] if lr is None else lr))
        tuning = self._tunings[study][place]
        near = (self._judging(study, place, start, rate) for rate in tuning.near(start))
        return Judged(self._judging(study, place, start, tuning.chosen[start]), near)

    def rate(self, study: str, place: Place, start: Start) -> float:
        """The chosen learning rate."""
        return self._tunings[study][place].chosen[start]

    def verdicts(self, study: str) -> tuple[tuple[Comparison, Verdict], ...]:
        """Every comparison of a study with its verdict."""
        of = self.studies[study]
        return tuple(zip(comparisons_of(of, self._tunings[study].values()), judge(of, self._own[study]), strict=True))

    def _judging(self, study: str, place: Place, start: Start, lr: float) -> tuple[RunRecord, ...]:
        of, own = self.studies[study], self._own[study]
        runs = (of.run(place, start, lr, of.judging_seed(index)) for index in range(of.looks[-1]))
        return tuple(own[run] for run in runs if run in own)

    @cached_property
    def _own(self) -> Mapping[str, Mapping[Run, RunRecord]]:
        """By study: what it asked for, and nothing that others ran."""
        return {
            name: {run: self.records[run] for run in runs_of(study, self.records)}
            for name, study in self.studies.items()
        }

    @cached_property
    def _tunings(self) -> Mapping[str, Mapping[Place, Tuning]]:
        return {
            name: {tuning.place: tuning for tuning in tunings_of(study, self._own[name])}
            for name, study in self.studies.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a claim's rule made of what was found; ``n`` counts the runs that were measured in place."""

    verdict: ClaimVerdict
    finding: str
    evidence: Evidence
    factor: str | None = None
    n: int = 0


class Studies(Protocol):
    """Builds a claim's studies."""

    def __call__(self, preset: Preset, seed: int) -> tuple[Study, ...]:
        """The studies of one preset, on fresh seeds for each base seed."""
        ...


class Measure(Protocol):
    """Measures something in place, outside of studies: in a minute at most, before anything trains."""

    def __call__(self, preset: Preset, seed: int) -> Any:
        """What is measured with one preset; what it draws comes from the seeds of the base seed, as in studies."""
        ...


def _no_studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    del preset, seed
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One row of the article, or one result of a paper, put to the test.

    Args:
        id: As in the article's list, such as ``D2``; of a paper's result P and a number.
        title: A few words.
        statement: What is claimed, in our words.
        basis: ``exact``, ``measured`` or ``explained``.
        rule: How the verdict follows from what was found, in words, with its numbers.
        read: The rule itself, a pure function.
        studies: What is run.
        measure: What is measured in place, outside of studies.
        snippet: At most 15 lines of plain PyTorch that show it.
    """

    id: str
    title: str
    statement: str
    basis: Basis
    rule: str
    read: Callable[[Found], Reading]
    studies: Studies = _no_studies
    measure: Measure | None = None
    snippet: str | None = None

    def declaration(self, preset: Preset, seed: int) -> Declaration:
        """The claim and its rule as they are written into the ledger before its first run.

        The text names the studies and their hashes: each of them is declared by itself.
        """
        studies = {study.name: study.declaration().hash for study in self.studies(preset, seed)}
        fields = {"id": self.id, "statement": self.statement, "basis": self.basis, "rule": self.rule}
        return Declaration.of(self.id, question=self.statement, rule=self.rule, fields={**fields, "studies": studies})

    def answer(self, found: Found) -> Answer:
        """The answer: a pure function of what was found."""
        reading = self.read(found)
        return Answer(
            id=self.id,
            title=self.title,
            statement=self.statement,
            verdict=reading.verdict,
            basis=self.basis,
            n=found.num_runs + reading.n,
            rule=self.rule,
            finding=reading.finding,
            factor=reading.factor,
            evidence=reading.evidence,
            snippet=self.snippet,
            rerun=f"exnihilo claims --only {self.id}",
        )


def contrast(
    found: Found,
    pairs: Mapping[str, tuple[Sequence[RunRecord], Sequence[RunRecord]]],
    *,
    metric: str = "test_score",
    target: float | None = None,
    margin: float | None = None,
    share: float = 1.0,
    num_seeds: int | None = None,
) -> Mapping[str, Verdict]:
    """Verdicts on pairs that no study compares by itself, such as two networks or two optimizers, as one family.

    The runs of a pair must share their seeds, so that they share the data splits: ``Found.judged`` of studies with one
    base seed gives such runs. Only the first ``num_seeds`` seeds count: a later look of a study may have given a side
    more, and whether it did depends on the outcomes. A side that ``Found.judged`` gave at its tuned rate counts at the
    rates next to it too.

    Args:
        found: What the claim found.
        pairs: By the comparison's name: the runs of the one side, and those of the other which it is compared with.
        metric: A key of ``exnihilo.lab.metrics.METRICS``.
        target: Of a metric that counts steps to one.
        margin: Difference that matters; None takes the preset's, which is one of accuracies.
        share: The part of ``ALPHA`` that this family may spend.
        num_seeds: Seeds of each pair, declared before the runs; None takes the preset's first look.

    Raises:
        InvalidValueError: A pair with fewer seeds.
    """
    read = metric_named(metric)
    size = found.preset.looks[0] if num_seeds is None else num_seeds
    steps = max(record.run.steps for sides in pairs.values() for side in sides for record in side)
    verdicts = compare(
        {
            name: pair_records(
                one,
                other,
                lambda record: read.of(record, target),
                start_near=_near(one),
                baseline_near=_near(other),
            ).first(size)
            for name, (one, other) in pairs.items()
        },
        margin=found.preset.margin if margin is None else margin,
        alpha=ALPHA * share,
        looks=(size,),
        higher_is_better=read.higher_is_better,
        worst=read.worst_of(steps),
    )
    return dict(zip(pairs, verdicts, strict=True))


def _near(side: Sequence[RunRecord]) -> tuple[tuple[RunRecord, ...], ...]:
    return side.near if isinstance(side, Judged) else ()


def conclude(cells: Iterable[Cell]) -> ClaimVerdict:
    """The verdict on a claim from its cells, each already corrected for their number.

    Rule:
        Supported if a cell supports it and none refutes it; refuted if a cell refutes it and none supports it; depends
        if there are both; undecided if there are neither.
    """
    seen = {cell.supports for cell in cells}
    if {True, False} <= seen:
        return "depends"
    if True in seen:
        return "supported"
    return "refuted" if False in seen else "undecided"


def factor_of(cells: Sequence[Cell]) -> str | None:
    """What a verdict ``depends`` on, read off the cells that disagree; None where none do.

    The parts of ``Cell.where`` stand between " · ". The sides are named by the part that tells them apart best, such as
    the task or the clause; a name that is on both sides says how many of its cells are on each.

    Example:
        >>> cells = [Cell(where=where, supports=says, finding="") for where, says in
        ...          (("gap · wine", True), ("gap · digits", True), ("accuracy · wine", False))]
        >>> factor_of(cells)
        'which of these is asked: gap supports the claim; accuracy refutes it'
    """
    sides = {says: [cell.where.split(" · ") for cell in cells if cell.supports is says] for says in (True, False)}
    if not sides[True] or not sides[False]:
        return None
    length = min(len(parts) for side in sides.values() for parts in side)
    counts = [
        {says: Counter(parts[position] for parts in side) for says, side in sides.items()} for position in range(length)
    ]
    best = min(counts, key=lambda of: sum((of[True] & of[False]).values()))
    total = best[True] + best[False]
    texts: dict[bool, str] = {}
    for says, verbs in ((True, ("supports", "support")), (False, ("refutes", "refute"))):
        names = [name if n == total[name] else f"{name} ({n} of {total[name]})" for name, n in best[says].items()]
        texts[says] = f"{', '.join(names)} {verbs[len(names) > 1]}"
    return f"which of these is asked: {texts[True]} the claim; {texts[False]} it"


def cell_of(where: str, verdict: Verdict, finding: str, *, supports: bool | None) -> Cell:
    """A cell that rests on a verdict."""
    return Cell(
        where=where,
        supports=supports,
        estimate=verdict.estimate,
        interval=verdict.interval,
        n=verdict.n,
        failures=verdict.failures,
        more_seeds=verdict.more_seeds,
        finding=finding,
    )
