"""What lies before studies, said before anything of it is run."""

from collections.abc import Sequence

from exnihilo.cli.progress import time_shown
from exnihilo.lab.forecast import Forecast
from exnihilo.lab.planning import seeds_needed_for_family
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


def total_line(forecasts: Sequence[Forecast]) -> str:
    """All studies together; runs that studies share are counted for each."""
    first, most = sum(each.num_first for each in forecasts), sum(each.num_most for each in forecasts)
    times = [each.seconds for each in forecasts if each.seconds is not None]
    about = f", about {time_shown(sum(times))}" if times else ""
    studies = f"{len(forecasts)} {'study' if len(forecasts) == 1 else 'studies'}"
    return f"{studies}: {first:,} runs to the first look, at most {most:,}{about}"


def _axes(study: Study) -> str:
    counts = {
        "task": len(study.tasks),
        "network": len(study.networks),
        "optimizer": len(study.optimizers),
        "start": len(study.arms),
        "learning rate": len(study.lrs),
    }
    return " × ".join(f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items())
