"""M3: zero initialization does not remove overfitting, and may leave too many zeros."""

from collections.abc import Mapping, Sequence
from statistics import mean

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast
from exnihilo.claims.clauses import (
    agreed,
    factor_by_clause,
    family,
    listed,
    margin,
    num_holding,
    of_clause,
    place,
    seeds_compared,
    somewhere,
)
from exnihilo.claims.networks import shallow, short_label
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.claims.tables import counted
from exnihilo.lab.metrics import metric_named
from exnihilo.lab.records import Network, Optimizer, RunRecord, Start, Verdict
from exnihilo.lab.study import Study
from exnihilo.lab.verdict import PairedOutcomes, compare

PLAIN, DECAYED, DROPPED = "M3 plain", "M3 weight decay", "M3 dropout"
XAVIER, ZERO = Start(name="xavier_normal"), Start(name="zeros")
# All zero cannot learn with ReLU; a little noise on top of the zeros can.
NEAR_ZERO = Start(name="zeros_noise", value=0.03)
DECAY, DROPOUT = 0.01, 0.3
# Tasks on which a plain run fits its training rows better than new ones; spirals and wine leave no gap to remove.
TASKS = ("digits", "breast_cancer", "teacher_student", "diabetes")
# One rate and twice the preset's steps for all: a rate chosen on validation data would stop the overfitting by itself.
LR, LONGER = 0.05, 2
MANY_ZEROS = 0.5
# Gaps against none, gaps against each other, and test scores are a family each.
SHARE = 1 / 3
STAYS, MORE, SPARSE = "overfitting stays", "decay and dropout do more", "sparsity"
X, N, Z, W, D = "Xavier", "near zero", "all zero", "weight decay", "dropout"

Runs = Mapping[tuple[str, str], tuple[RunRecord, ...]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero starts, plain Xavier, and Xavier with weight decay or dropout: compared on equal seeds."""

    def study(name: str, starts: Sequence[Start], network: Network, optimizer: Optimizer) -> Study:
        return preset.study(
            name,
            "How far is the training score above the test score at the end of a long run?",
            seed=seed,
            tasks=TASKS,
            networks=(network,),
            optimizers=(optimizer,),
            starts=starts,
            lrs=(LR,),
            looks=(preset.one_look,),
            steps=LONGER * preset.steps,
            metric="gap",
        )

    plain = shallow()
    dropped = Network(depth=plain.depth, width=plain.width, activation=plain.activation, dropout=DROPOUT)
    return (
        study(PLAIN, (XAVIER, NEAR_ZERO, ZERO), plain, Optimizer()),
        study(DECAYED, (XAVIER,), plain, Optimizer(weight_decay=DECAY)),
        study(DROPPED, (XAVIER,), dropped, Optimizer()),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    runs = _runs(found)
    stays = _gaps_against_none(found, runs)
    pairs = [(arm, X) for arm in (N, Z)] + [(arm, N) for arm in (W, D)]
    more = _contrasts(found, runs, [(arm, N) for arm in (W, D)], "gap")
    scores = _contrasts(found, runs, pairs, "test_score")
    cells = (
        *(_stays(task, arm, stays, scores) for arm in (N, Z) for task in TASKS),
        *(_more(task, arm, more, scores) for arm in (W, D) for task in TASKS),
        _sparse(runs),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, runs, stays, scores),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(runs),),
            figures=(
                _bars(found, runs),
                figures.intervals(
                    "m3-more",
                    "Weight decay and dropout against a start near zero",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    of_clause(cells, MORE),
                    x_title="gap of the start near zero minus that with decay or dropout",
                ),
            ),
        ),
    )


def _runs(found: Found) -> Runs:
    """The runs of each arm on each task."""
    arms = {X: (PLAIN, XAVIER), N: (PLAIN, NEAR_ZERO), Z: (PLAIN, ZERO), W: (DECAYED, XAVIER), D: (DROPPED, XAVIER)}
    return {
        (spot.task, arm): found.judged(study, spot, start)
        for arm, (study, start) in arms.items()
        for spot in found.studies[study].places
    }


def _gaps_against_none(found: Found, runs: Runs) -> Mapping[tuple[str, str], Verdict]:
    """The gap of each plain arm, tested against a gap of zero: worse is a gap that is there."""
    gap = metric_named("gap")
    pairs = {
        (task, arm): PairedOutcomes.of(values, [0.0] * len(values))
        for task in TASKS
        for arm in (X, N, Z)
        if (values := [gap.of(record) for record in runs[task, arm][: found.preset.one_look]])
    }
    verdicts = compare(
        {f"{arm}: {task}": pair for (task, arm), pair in pairs.items()},
        margin=found.preset.margin,
        alpha=ALPHA * SHARE,
        looks=(found.preset.one_look,),
        higher_is_better=False,
        worst=gap.worst,
    )
    return dict(zip(pairs, verdicts, strict=True))


def _contrasts(
    found: Found, runs: Runs, pairs: Sequence[tuple[str, str]], metric: str
) -> Mapping[tuple[str, str], Verdict]:
    names = {(task, arm): f"{arm} against {other}: {task}" for task in TASKS for arm, other in pairs}
    verdicts = contrast(
        found,
        {names[task, arm]: (runs[task, arm], runs[task, other]) for task in TASKS for arm, other in pairs},
        metric=metric,
        share=SHARE,
        num_seeds=found.preset.one_look,
    )
    return {key: verdicts[name] for key, name in names.items()}


def _stays(
    task: str, arm: str, gaps: Mapping[tuple[str, str], Verdict], scores: Mapping[tuple[str, str], Verdict]
) -> Cell:
    """A gap that is there supports; none refutes, unless the run has none because it learned less."""
    gap, plain, score = gaps[task, arm], gaps[task, X], scores[task, arm]
    has_none = gap.outcome in ("equivalent", "better")
    supports: bool | None = True if gap.outcome == "worse" else None
    if has_none and plain.outcome == "worse":
        supports = {"worse": True, "undecided": None}.get(score.outcome, False)
    return Cell(
        where=place(STAYS, arm, task),
        supports=supports,
        estimate=-gap.estimate,
        interval=(-gap.interval[1], -gap.interval[0]),
        n=gap.n,
        finding=(
            f"Training score minus test score is {-gap.estimate:.3f}, and {-plain.estimate:.3f} from Xavier; the test "
            f"score is higher by {score.estimate:+.3f} than Xavier's ({score.outcome})."
        ),
    )


def _more(
    task: str, arm: str, gaps: Mapping[tuple[str, str], Verdict], scores: Mapping[tuple[str, str], Verdict]
) -> Cell:
    """A smaller gap supports, unless the test score paid for it."""
    gap, score = gaps[task, arm], scores[task, arm]
    supports = {"better": None if score.outcome == "worse" else True, "worse": False, "equivalent": False}
    return cell_of(
        place(MORE, arm, task),
        gap,
        f"The gap is smaller by {gap.estimate:+.3f} than that of the start near zero ({gap.outcome}), the test score "
        f"higher by {score.estimate:+.3f} ({score.outcome}).",
        supports=supports.get(gap.outcome),
    )


def _many_zeros(records: Sequence[RunRecord]) -> bool | None:
    return agreed(record.zero_weights[-1] >= MANY_ZEROS for record in records)


def _sparse(runs: Runs) -> Cell:
    """One task is enough: the statement is that it may happen."""
    zero, other = ([record for task in TASKS for record in runs[task, arm]] for arm in (Z, X))
    weights, units = ([getattr(record, name)[-1] for record in zero] for name in ("zero_weights", "zero_activations"))
    many = [_many_zeros(runs[task, Z]) for task in TASKS]
    return Cell(
        where=place(SPARSE, "all zero"),
        supports=somewhere(many),
        n=len(zero),
        finding=(
            f"After training from all zeros {100 * min(weights):.0f} to {100 * max(weights):.0f} % of the weights are "
            f"exactly zero (at least {100 * MANY_ZEROS:.0f} % in every run of {many.count(True)} of {len(TASKS)} "
            f"tasks), and {100 * mean(units):.0f} % of the hidden activations; from Xavier "
            f"{100 * mean(r.zero_weights[-1] for r in other):.0f} and "
            f"{100 * mean(r.zero_activations[-1] for r in other):.0f} %."
        ),
    )


def _finding(
    cells: Sequence[Cell],
    runs: Runs,
    gaps: Mapping[tuple[str, str], Verdict],
    scores: Mapping[tuple[str, str], Verdict],
) -> str:
    more = of_clause(cells, MORE)
    leaves = "; ".join(f"a start {arm} {_left(arm, gaps, scores)}" for arm in (N, Z))
    means = {arm: mean(_gap(runs[task, arm]) for task in TASKS) for arm in (X, N, W, D)}
    texts = [f"{value:.2f} with {arm}" for arm, value in means.items()]
    sparse = sum(_many_zeros(runs[task, Z]) is True for task in TASKS)
    return (
        f"Between training and test score, {leaves}. Over the tasks the mean gap is {listed(texts)}; decay or dropout "
        f"narrow it more than the start near zero, at no cost in the test score, in {num_holding(more)} of {len(more)} "
        f"cells. From all zeros, at least {100 * MANY_ZEROS:.0f} % of the weights are still zero after every run in "
        f"{sparse} of {len(TASKS)} tasks."
    )


def _left(arm: str, gaps: Mapping[tuple[str, str], Verdict], scores: Mapping[tuple[str, str], Verdict]) -> str:
    """In how many tasks a gap was found, and in how many there is none because less was learned."""
    there = [task for task in TASKS if gaps[task, arm].outcome == "worse"]
    none = [task for task in TASKS if gaps[task, arm].outcome in ("equivalent", "better")]
    less = [task for task in none if scores[task, arm].outcome == "worse"]
    text = f"leaves a gap in {len(there)} of {len(TASKS)} tasks"
    if none:
        text += f" and none in {len(none)}"
    return f"{text} (in {len(less)} of these its test score is below Xavier's: it learned less)" if less else text


def _gap(records: Sequence[RunRecord]) -> float:
    gap = metric_named("gap")
    worst = gap.worst_of(0)
    return mean(worst if record.diverged else gap.of(record) for record in records)


def _table(runs: Runs) -> Table:
    rows: list[tuple[Value, ...]] = []
    for (task, arm), records in sorted(runs.items(), key=lambda item: TASKS.index(item[0][0])):
        rows.append(
            (
                task,
                arm,
                mean(counted(record, "train_score") for record in records),
                mean(counted(record, "test_score") for record in records),
                _gap(records),
                100 * mean(record.zero_weights[-1] for record in records),
                100 * mean(record.zero_activations[-1] for record in records),
                len(records),
            )
        )
    return Table(
        title="After training, means over seeds (accuracy; R² for diabetes)",
        columns=(
            "task",
            "arm",
            "training score",
            "test score",
            "gap",
            "zero weights (%)",
            "zero activations (%)",
            "seeds",
        ),
        rows=tuple(rows),
    )


def _bars(found: Found, runs: Runs) -> Figure:
    return Figure(
        name="m3-gap",
        title="Training score minus test score",
        caption=(
            f"Mean over {found.preset.one_look} seeds; accuracy, R² for diabetes. Near zero is "
            f"N(0, {NEAR_ZERO.value:g}²)."
        ),
        mark="bar",
        x=Axis(field="arm", title="start, or remedy on top of Xavier", kind="nominal"),
        y=Axis(field="gap", title="training score minus test score"),
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple({"task": task, "arm": arm, "gap": _gap(records)} for (task, arm), records in runs.items()),
        reference=0.0,
    )


CLAIM = Claim(
    id="M3",
    title="No cure for overfitting",
    statement=(
        "Zero initialization does not remove overfitting; weight decay and dropout do more against it. It may lead to "
        "too many zeros."
    ),
    basis="measured",
    rule=(
        f"{short_label(shallow())} networks at rate {LR:g}, not tuned, since a rate chosen on validation data stops "
        f"overfitting by itself; the same {seeds_compared()} on {listed(TASKS)}. 'Overfitting stays', from "
        f"N(0, {NEAR_ZERO.value:g}²) and from all zeros: a gap of training score minus test score above 0 supports. No "
        f"gap (equivalent to 0, within {margin()}, or below it), where Xavier has one: supports if the test score is "
        "worse than Xavier's, as less was learned; refutes if it is better or equivalent; else it is open. It is open "
        f"too if the gap is undecided, or if neither has one. 'Do more': Xavier with weight decay {DECAY:g} or dropout "
        f"{DROPOUT:g} has a smaller gap than the start near zero and no worse test score; a larger or equivalent gap "
        "refutes, and a smaller one with a worse test score, or an undecided one, is open. Three families, each by "
        f"{family(SHARE)}. 'Sparsity', which may happen: one task with at least {100 * MANY_ZEROS:.0f} % of the "
        "weights exactly zero at the end of every all-zero run supports, no such run in any task refutes, else it is "
        "open; this part describes these runs and is no test."
    ),
    read=read,
    studies=studies,
)
