"""Answers claims: the exact ones first, at once; then the measured ones, each as soon as its studies are done."""

import platform
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from exnihilo.claims.claim import Claim, Found
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Answer, Results
from exnihilo.lab.driver import Progress, execute
from exnihilo.lab.records import Run, RunRecord
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
    """Answer the claims, in their order.

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
    answers: dict[str, Answer] = {}
    records: dict[Run, RunRecord] = {}
    # The clock's measurements come before the workers, and so do the exact answers, which take seconds.
    measured: dict[str, Any] = {claim.id: claim.measure() for claim in claims if claim.measure is not None}
    for batch, processes in ((_exact(claims), 1), (_others(claims), workers)):
        waiting = {claim.id: claim.studies(preset, seed) for claim in batch}
        by_id = {claim.id: claim for claim in batch}

        def answer(claim_id: str, found: Mapping[Run, RunRecord]) -> None:
            studies = {study.name: study for study in by_id[claim_id].studies(preset, seed)}  # noqa: B023
            claim = by_id[claim_id]  # noqa: B023
            answers[claim.id] = claim.answer(
                Found(preset=preset, studies=studies, records=found, measured=measured.get(claim.id))
            )
            if on_answer is not None:
                on_answer(answers[claim.id])

        left = {claim_id: {study.name for study in studies} for claim_id, studies in waiting.items()}

        def done(study: Study, found: Mapping[Run, RunRecord]) -> None:
            for claim_id, names in left.items():  # noqa: B023
                if study.name in names:
                    names.remove(study.name)
                    if not names:
                        answer(claim_id, found)

        for claim in batch:
            if not waiting[claim.id]:
                answer(claim.id, {})
        studies = [study for of in waiting.values() for study in of]
        if studies:
            records |= execute(studies, ledger, workers=processes, on_progress=on_progress, on_done=done)
    return Results(
        claims=tuple(answers[claim.id] for claim in claims),
        preset=preset.name,
        seed=seed,
        num_runs=len(records),
        seconds=time.monotonic() - started,
        environment={
            "exnihilo": __version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
            "machine": f"{platform.machine()}, {workers} worker processes",
        },
    )


def _exact(claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.basis == "exact"]


def _others(claims: Sequence[Claim]) -> list[Claim]:
    return [claim for claim in claims if claim.basis != "exact"]
