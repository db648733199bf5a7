"""``exnihilo claims``: the answers, one line a claim, and the page."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from exnihilo.claims import catalog
from exnihilo.claims.catalog import claims_in, claims_named
from exnihilo.claims.claim import Claim
from exnihilo.claims.presets import Preset, preset_named
from exnihilo.claims.records import Results
from exnihilo.claims.runner import num_runs_behind, run, values_environment
from exnihilo.cli.forecasts import forecast_lines, num_together, total_line
from exnihilo.cli.outcomes import LEDGER
from exnihilo.cli.progress import progress_shown
from exnihilo.errors import InvalidValueError
from exnihilo.lab.forecast import forecast, measured_costs
from exnihilo.lab.records import plain
from exnihilo.lab.store import Ledger
from exnihilo.report.output import RESULTS, ensure_writable
from exnihilo.report.page import write_report
from exnihilo.report.results_json import from_json, to_json
from exnihilo.report.text import claim_line, summary


def ask_claims(
    only: str, *, of_set: str, preset: str, seed: int, workers: int, out: Path, dry_run: bool, as_json: bool
) -> None:
    """Answer the claims, write the page, and say where it is; earlier answers to other claims stay on it."""
    claims = claims_asked(only, of_set)
    chosen = preset_named(preset)
    if dry_run:
        _forecast(claims, chosen, seed, workers, as_json=as_json)
        return
    ensure_writable(out)
    # Without the time, which takes seconds to measure: the exact answers are not to wait for it.
    studies = [study for claim in claims for study in claim.studies(chosen, seed)]
    forecasts = [forecast(study) for study in studies]
    with Ledger(out / LEDGER) as ledger, progress_shown(num_together(studies, forecasts)) as display:
        display.say(total_line(studies, forecasts))
        results = run(
            claims,
            ledger,
            preset=chosen,
            seed=seed,
            workers=workers,
            on_progress=display.show,
            on_answer=lambda answer: display.say(claim_line(answer)),
        )
        earlier = kept(results, out / RESULTS)
        shown = results if earlier is None else joined(results, earlier, _num_runs(results, earlier, ledger))
    page = write_report(shown, out)
    if as_json:
        print(to_json(results))
    else:
        Console().print(summary(results, page))


def claims_asked(only: str, of_set: str) -> tuple[Claim, ...]:
    """The claims of a list such as ``D2,T6``, of whatever set; all of one set where it is empty.

    Raises:
        UnknownNameError: A claim or a set that does not exist.
        InvalidValueError: The list holds no name at all.
    """
    names = [name for name in only.split(",") if name.strip()]
    if only and not names:
        raise InvalidValueError(f"--only is '{only}' and names no claim.", fix="exnihilo claims --only D2,T6")
    whole = claims_in(of_set)
    return claims_named(names) if names else whole


def kept(results: Results, path: Path) -> Results | None:
    """What an earlier call left, where it answers other claims: answering one again keeps the page whole.

    Answers of another preset or seed, or of other versions of what the values depend on, are not kept.
    """
    try:
        earlier = from_json(path.read_text(encoding="utf-8"))
        same = _origin(earlier) == _origin(results)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):  # none yet, or not ours
        return None
    known = {claim.id for claim in catalog.every_claim()}
    return earlier if same and _ids(earlier) & known - _ids(results) else None


def joined(results: Results, earlier: Results, num_runs: int) -> Results:
    """The results with earlier answers to other claims, in the order of the page.

    Args:
        results: Of this call.
        earlier: What ``kept`` found.
        num_runs: Runs behind all of them; a run that several share is one.
    """
    answers = {answer.id: answer for answer in (*earlier.claims, *results.claims)}
    claims = tuple(answers[claim.id] for claim in catalog.every_claim() if claim.id in answers)
    return replace(results, claims=claims, num_runs=num_runs, seconds=earlier.seconds + results.seconds)


def _num_runs(results: Results, earlier: Results, ledger: Ledger) -> int:
    if results.num_runs == 0 or _ids(results) <= _ids(earlier):
        return earlier.num_runs  # the same runs as before: reading them all again takes seconds
    known = {claim.id for claim in catalog.every_claim()} & (_ids(earlier) | _ids(results))
    return num_runs_behind(claims_named(known), ledger, preset=preset_named(results.preset), seed=results.seed)


def _ids(results: Results) -> set[str]:
    return {answer.id for answer in results.claims}


def _origin(results: Results) -> tuple[object, ...]:
    return results.preset, results.seed, *(results.environment.get(key) for key in values_environment())


def _forecast(claims: Sequence[Claim], preset: Preset, seed: int, workers: int, *, as_json: bool) -> None:
    studies = [(claim, study) for claim in claims for study in claim.studies(preset, seed)]
    costs = measured_costs([study for _, study in studies])
    forecasts = [forecast(study, costs=costs, workers=workers) for _, study in studies]
    if as_json:
        print(json.dumps({"forecasts": [plain(each) for each in forecasts]}, indent=2))
        return
    console = Console(highlight=False)
    for (claim, study), expected in zip(studies, forecasts, strict=True):
        console.print(Text(f"{claim.id}  {claim.title}", style="bold"))
        for line in forecast_lines(study, expected):
            console.print(f"  {line}", markup=False)
    console.print(total_line([study for _, study in studies], forecasts), markup=False)
