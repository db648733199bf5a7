"""``exnihilo study``: a forecast, the runs, the verdicts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from exnihilo.cli.forecasts import forecast_lines, num_together, total_line
from exnihilo.cli.outcomes import LEDGER
from exnihilo.cli.progress import progress_shown
from exnihilo.cli.studyfile import load_studies
from exnihilo.cli.verdicts import study_shown
from exnihilo.errors import InvalidValueError
from exnihilo.lab.arms import arms_of
from exnihilo.lab.driver import execute, finished
from exnihilo.lab.forecast import Forecast, forecast, measured_costs
from exnihilo.lab.records import Run, RunRecord, plain
from exnihilo.lab.schedule import judge, judge_failures
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import from_file
from exnihilo.report.results_json import strict


def ask_study(
    file: Path,
    *,
    data: Path | None,
    target: str | None,
    kind: str | None,
    seed: int | None,
    workers: int,
    out: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Run the studies of a file to their verdicts, and print them."""
    studies = _asked(load_studies(file), data=data, target=target, kind=kind, seed=seed)
    said = Console(stderr=True, highlight=False)
    if dry_run and not (out / LEDGER).exists():  # a dry run leaves no trace
        _say(said, studies, {}, workers, as_json=as_json, dry_run=True)
        return
    with Ledger(out / LEDGER) as ledger:
        forecasts = _say(said, studies, finished(studies, ledger), workers, as_json=as_json, dry_run=dry_run)
        if dry_run:
            return
        with progress_shown(num_together(studies, forecasts)) as display:
            records = execute(studies, ledger, workers=workers, on_progress=display.show)
    if as_json:
        print(json.dumps({"studies": [_plain(study, records) for study in studies]}, indent=2))
        return
    console = Console()
    for study in studies:
        console.print(
            study_shown(study, arms_of(study, records), judge(study, records), judge_failures(study, records))
        )


def _asked(
    studies: tuple[Study, ...], *, data: Path | None, target: str | None, kind: str | None, seed: int | None
) -> tuple[Study, ...]:
    """The studies with what the command line changes in them."""
    if data is None and (target is not None or kind is not None):
        raise InvalidValueError(
            "--target and --kind describe a data file, and --data names none.", fix="add --data my_data.csv"
        )
    changes: dict[str, Any] = {} if seed is None else {"seed": seed}
    if data is not None:
        changes["tasks"] = (from_file(data, target=target, kind=_kind(kind)),)
    return tuple(replace(study, **changes) for study in studies) if changes else studies


def _kind(kind: str | None) -> Any:
    return kind  # from_file refuses what is none of its kinds


def _say(
    said: Console,
    studies: Sequence[Study],
    stored: Mapping[Run, RunRecord],
    workers: int,
    *,
    as_json: bool,
    dry_run: bool,
) -> list[Forecast]:
    costs = measured_costs(studies)
    forecasts = [forecast(study, stored, costs=costs, workers=workers) for study in studies]
    if dry_run and as_json:
        print(json.dumps({"forecasts": [plain(each) for each in forecasts]}, indent=2))
    for study, expected in zip(studies, forecasts, strict=True):
        for line in forecast_lines(study, expected):
            said.print(line, markup=False)
    if len(studies) > 1:
        said.print(total_line(studies, forecasts), markup=False)
    return forecasts


def _plain(study: Study, records: Mapping[Run, RunRecord]) -> dict[str, Any]:
    declaration = study.declaration()
    return {
        "name": study.name,
        "question": study.question,
        "rule": study.rule,
        "hash": declaration.hash,
        "declaration": json.loads(declaration.text),
        "arms": [strict(plain(arm)) for arm in arms_of(study, records)],
        "verdicts": [strict(plain(verdict)) for verdict in judge(study, records)],
        "failures": [strict(plain(compared)) for compared in judge_failures(study, records)],
    }
