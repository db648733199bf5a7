"""A study's verdicts as a table that fits 80 columns."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from exnihilo.lab.arms import Arm
from exnihilo.lab.records import Outcome, Verdict
from exnihilo.lab.study import Study
from exnihilo.lab.verdict import FailureComparison

COLORS: dict[Outcome, str] = {
    "better": "green",
    "worse": "red",
    "equivalent": "blue",
    "undecided": "bright_black",
}


def study_shown(
    study: Study, arms: Sequence[Arm], verdicts: Sequence[Verdict], failures: Sequence[FailureComparison]
) -> RenderableType:
    """Everything a study found: its verdicts, where it has a baseline, and each start by itself."""
    parts: list[RenderableType] = [Text(), Text(study.question, style="bold")]
    if verdicts:
        parts += [_verdicts(verdicts, failures), Text(_legend(study, verdicts, failures), style="dim")]
    parts.append(_arms(study, arms))
    return Group(*parts)


def _verdicts(verdicts: Sequence[Verdict], failures: Sequence[FailureComparison]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("comparison", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("difference", no_wrap=True)
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("P(better)", justify="right", no_wrap=True)
    table.add_column("failed", justify="right", no_wrap=True)
    for verdict, failed in zip(verdicts, failures, strict=True):
        what, _, where = verdict.comparison.partition(": ")
        outcome = Text(verdict.outcome, style=COLORS[verdict.outcome])
        if verdict.more_seeds is not None:
            outcome.append(f"\n~{verdict.more_seeds:,} more seeds", style="dim")
        low, high = verdict.interval
        difference = Text(f"{verdict.estimate:+.3g}")
        difference.append(f"\n[{low:+.3g}, {high:+.3g}]", style="dim")
        comparison = Text(what)
        comparison.append(f"\n{where}", style="dim")
        table.add_row(comparison, outcome, difference, str(verdict.n), f"{verdict.superiority[0]:.2f}", _failed(failed))
    return table


def _failed(compared: FailureComparison) -> Text:
    """Failed runs of the start and of the baseline; where there are any, what McNemar's test says of them."""
    text = Text(" / ".join(map(str, compared.failures)))
    if any(compared.failures):
        text.append(f"\np {compared.p_adjusted:.2g}", style="dim")
    return text


def _arms(study: Study, arms: Sequence[Arm]) -> Table:
    table = Table(show_edge=False, pad_edge=False)
    table.add_column("start", overflow="fold")
    table.add_column("rate", justify="right", no_wrap=True)
    table.add_column(f"mean {study.metric}", justify="right")
    table.add_column("n", justify="right", no_wrap=True)
    table.add_column("failed", justify="right")
    for arm in arms:
        start = Text(arm.start.label)
        start.append(f"  {arm.place.task}, {arm.place.network.label}, {arm.place.optimizer.label}", style="dim")
        failures = [f"{arm.num_diverged} diverged"] if arm.num_diverged else []
        failures += [f"{arm.num_unmoved} unmoved"] if arm.num_unmoved else []
        rate = f"{arm.lr:g}{' (edge)' if arm.at_edge else ''}"
        table.add_row(start, rate, f"{arm.mean:.4g}", str(arm.n), ", ".join(failures) or "0")
    return table


def _legend(study: Study, verdicts: Sequence[Verdict], failures: Sequence[FailureComparison]) -> str:
    where = "" if study.vary_split else " On one data split."
    tested = "; p: McNemar's exact test, corrected alike" if any(any(each.failures) for each in failures) else ""
    return (
        f"Difference of the {study.judged_by.title}, positive where the start is better; equivalent inside"
        f" ±{study.margin:g}; alpha {study.alpha:g} for all {len(verdicts)}.{where} Failed: runs of the"
        f" start / the baseline that diverged or never moved{tested}."
    )
