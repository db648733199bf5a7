"""What lies before studies, said before anything of it is run."""

from collections.abc import Sequence

from exnihilo.cli.progress import time_shown
from exnihilo.lab.forecast import Forecast
from exnihilo.lab.planning import seeds_needed_for_family
from exnihilo.lab.schedule import pending
from exnihilo.lab.study import Study


def forecast_lines(study: Study, expected: Forecast) -> list[str]:
    """A few lines on one study: its runs, its time, and whether it can decide anything."""
    extras = [f"{expected.num_finished:,} of them in the ledger already"] if expected.num_finished else []
    extras += [f"about {time_shown(expected.seconds)}"] if expected.seconds is not None else []
    lines = [
        f"Study '{study.name}': {study.question}",
        f"  {_axes(study)}",
        f"  {expected.num_first:,} runs to the first look, at most {expected.num_most:,}"
        + (f" ({', '.join(extras)})" if extras else ""),
    ]
    if expected.num_tuning:
        lines.append(
            f"  {expected.num_tuning:,} of these choose learning rates, on validation data and their own seeds"
        )
    if expected.can_decide is None:
        return [*lines, "  compares nothing: no baseline"]
    looks = " / ".join(map(str, study.looks))
    judged = f"{expected.num_comparisons} comparison{'s' if expected.num_comparisons > 1 else ''}, {looks} paired seeds"
    if expected.can_decide:
        return [*lines, f"  {judged}: enough to decide"]
    needed = seeds_needed_for_family(expected.num_comparisons, study.alpha)
    return [
        *lines,
        f"  {judged}: CANNOT DECIDE anything at alpha {study.alpha:g}, whatever the runs show",
        f"  Fix: looks=({needed},) or more seeds, or fewer comparisons",
    ]


def num_together(studies: Sequence[Study], forecasts: Sequence[Forecast]) -> int:
    """Runs to the first look of all the studies, where a run that several share is one.

    The rates at which starts will be judged are not known yet, and so neither are those runs: they are taken to be
    shared as often as the runs that come first.

    Args:
        studies: The studies.
        forecasts: Of each of them.
    """
    opening = [pending(study, ()) for study in studies]
    counted = sum(map(len, opening))
    alone = sum(each.num_first for each in forecasts)
    return round(alone * len(set().union(*opening)) / counted) if counted else alone


def total_line(studies: Sequence[Study], forecasts: Sequence[Forecast]) -> str:
    """All studies together; a run that several share is one, and takes its time once."""
    alone, together = sum(each.num_first for each in forecasts), num_together(studies, forecasts)
    most = sum(each.num_most for each in forecasts)
    runs = f"{together:,}" if together == alone else f"about {round(together, 2 - len(str(together))):,}"
    times = [each.seconds for each in forecasts if each.seconds is not None]
    about = f", about {time_shown(sum(times) * together / alone)}" if times and alone else ""
    counted = f"{len(forecasts)} {'study' if len(forecasts) == 1 else 'studies'}"
    return f"{counted}: {runs} runs to the first look, at most {most:,}{about}"


def _axes(study: Study) -> str:
    counts = {
        "task": len(study.tasks),
        "network": len(study.networks),
        "optimizer": len(study.optimizers),
        "start": len(study.arms),
        "learning rate": len(study.lrs),
    }
    return " × ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items())
