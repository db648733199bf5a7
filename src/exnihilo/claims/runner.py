"""Answers claims: the exact ones first, at once; then the measured ones, each as soon as its studies are done."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from exnihilo.claims.claim import Claim, Found
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Answer, Results
from exnihilo.lab.driver import Progress, execute, finished
from exnihilo.lab.records import NUMERICS_VERSION, Run, RunRecord
from exnihilo.lab.schedule import runs_of
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study
from exnihilo.version import __version__


def run(
    claims: Sequence[Claim],
    ledger: Ledger,
    *,
    preset: Preset,
    seed: int = 0,
    workers: int = 1,
    on_answer: Callable[[Answer], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> Results:
    """Answer the claims, in their order; each is declared in the ledger before anything is run or measured.

    Args:
        claims: Which ones.
        ledger: Finished runs are found there and kept there.
        preset: How much is spent.
        seed: Another seed repeats everything on other splits, values and orders.
        workers: Processes that train.
        on_answer: Called with each answer as soon as it is there.
        on_progress: Called after each commit.
    """
    started = time.monotonic()
    ledger.declare(claim.declaration(preset, seed) for claim in claims)
    # The clock's measurements come before the workers, and so do the exact answers, which take seconds.
    measured: dict[str, Any] = {claim.id: claim.measure(preset, seed) for claim in claims if claim.measure is not None}
    answers: dict[str, Answer] = {}

    def answer(claim: Claim, studies: Sequence[Study], records: Mapping[Run, RunRecord]) -> None:
        named = {study.name: study for study in studies}
        found = Found(preset=preset, studies=named, records=records, measured=measured.get(claim.id))
        answers[claim.id] = claim.answer(found)
        if on_answer is not None:
            on_answer(answers[claim.id])

    records: dict[Run, RunRecord] = {}
    for batch, processes in ((_exact(claims), 1), (_others(claims), workers)):
        asked = [(claim, claim.studies(preset, seed)) for claim in batch]
        records |= _answered(asked, ledger, answer, workers=processes, on_progress=on_progress)
    return Results(
        claims=tuple(answers[claim.id] for claim in claims),
        preset=preset.name,
        seed=seed,
        num_runs=len(records),
        seconds=time.monotonic() - started,
        environment={
            **values_environment(),
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {workers} worker processes",
        },
    )


def num_runs_behind(claims: Sequence[Claim], ledger: Ledger, *, preset: Preset, seed: int) -> int:
    """Finished runs that the claims rest on; a run that several of them share is one."""
    studies = [study for claim in claims for study in claim.studies(preset, seed)]
    records = finished(studies, ledger)
    return len({run for study in studies for run in runs_of(study, records)})


def values_environment() -> Mapping[str, str]:
    """Versions of all that the values of a run depend on: answers of others must not be mixed with these."""
    return {"exnihilo": __version__, "torch": torch.__version__, "numerics": str(NUMERICS_VERSION)}


def _answered(
    asked: Sequence[tuple[Claim, Sequence[Study]]],
    ledger: Ledger,
    answer: Callable[[Claim, Sequence[Study], Mapping[Run, RunRecord]], None],
    *,
    workers: int,
    on_progress: Callable[[Progress], None] | None,
) -> Mapping[Run, RunRecord]:
    """Answer one batch of claims, each as soon as its studies are done; return the records of their runs."""
    left = {claim.id: {study.name for study in studies} for claim, studies in asked}

    def done(study: Study, records: Mapping[Run, RunRecord]) -> None:
        for claim, studies in asked:
            if study.name in left[claim.id]:
                left[claim.id].remove(study.name)
                if not left[claim.id]:
                    answer(claim, studies, records)

    for claim, studies in asked:
        if not studies:
            answer(claim, (), {})
    wanted = [study for _, studies in asked for study in studies]
    return execute(wanted, ledger, workers=workers, on_progress=on_progress, on_done=done) if wanted else {}


def _exact(claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.basis == "exact"]


def _others(claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.basis != "exact"]
