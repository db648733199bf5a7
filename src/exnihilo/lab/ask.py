"""The verb ``study``: ask a question, get verdicts."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exnihilo.lab.driver import Progress, execute
from exnihilo.lab.records import RunRecord, Verdict
from exnihilo.lab.schedule import judge
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a study ended with.

    Args:
        study: The question.
        verdicts: One for each comparison; none where the study has no baseline.
        records: Every run, tuning runs too.
    """

    study: Study
    verdicts: tuple[Verdict, ...]
    records: tuple[RunRecord, ...]


def study(
    question: Study,
    *,
    ledger: str | Path | None = None,
    workers: int = 1,
    on_progress: Callable[[Progress], None] | None = None,
) -> Outcome:
    """Run a study to its verdicts.

    Args:
        question: The study.
        ledger: A file that keeps the runs, so that a study that was stopped goes on where it was; None keeps nothing.
        workers: Processes that train, one thread each; 1 trains in this process.
        on_progress: Called after each chunk of runs.

    Raises:
        LedgerError: The file is no ledger of this version.
        WorkerError: A worker process died; finished runs are kept.

    Example:
        >>> import exnihilo as xn
        >>> outcome = xn.study(xn.Study(
        ...     name="zeros", question="Can an all-zero ReLU network keep up with He?", tasks=("wine",),
        ...     networks=(xn.Network(width=8),), starts=(xn.Start(name="zeros"),),
        ...     baseline=xn.Start(name="he_normal"), lrs=(0.1,), looks=(6,), steps=60,
        ... ))
        >>> [verdict.outcome for verdict in outcome.verdicts]
        ['worse']
    """
    if ledger is None:
        with tempfile.TemporaryDirectory(prefix="exnihilo-") as folder:
            return study(question, ledger=Path(folder) / "ledger.sqlite", workers=workers, on_progress=on_progress)
    with Ledger(Path(ledger)) as kept:
        records = execute([question], kept, workers=workers, on_progress=on_progress)
    return Outcome(study=question, verdicts=judge(question, records), records=tuple(records.values()))
