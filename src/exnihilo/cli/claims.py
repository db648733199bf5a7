"""``exnihilo claims``: the answers, one line a claim, and the page."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.text import Text

from exnihilo import claims as catalog
from exnihilo.claims.claim import Claim
from exnihilo.claims.presets import Preset, preset_named
from exnihilo.claims.records import Results
from exnihilo.claims.runner import run
from exnihilo.cli.forecasts import forecast_lines, total_line
from exnihilo.cli.outcomes import LEDGER
from exnihilo.cli.progress import progress_shown
from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.forecast import forecast, measured_costs
from exnihilo.lab.records import plain
from exnihilo.lab.store import Ledger
from exnihilo.report.output import RESULTS, ensure_writable
from exnihilo.report.page import write_report
from exnihilo.report.results_json import from_json, to_json
from exnihilo.report.text import claim_line, summary


def ask_claims(only: str, *, preset: str, seed: int, workers: int, out: Path, dry_run: bool, as_json: bool) -> None:
    """Answer the claims, write the page, and say where it is."""
    claims = claims_named(only)
    chosen = preset_named(preset)
    if dry_run:
        _forecast(claims, chosen, seed, workers, as_json=as_json)
        return
    ensure_writable(out)
    # Without the time, which takes seconds to measure: the exact answers are not to wait for it.
    forecasts = [forecast(study) for claim in claims for study in claim.studies(chosen, seed)]
    expected = sum(each.num_first for each in forecasts)
    with Ledger(out / LEDGER) as ledger, progress_shown(expected, quiet=as_json) as display:
        display.say(total_line(forecasts))
        results = run(
            claims,
            ledger,
            preset=chosen,
            seed=seed,
            workers=workers,
            on_progress=display.show,
            on_answer=lambda answer: display.say(claim_line(answer)),
        )
    results = joined(results, out / RESULTS)
    page = write_report(results, out)
    if as_json:
        print(to_json(results))
    else:
        Console().print(summary(results, page))


def claims_named(only: str) -> tuple[Claim, ...]:
    """The claims of a list such as ``D2,T6``, in the article's order; all of them where it is empty.

    Raises:
        UnknownNameError: A claim that does not exist.
    """
    by_id = {claim.id: claim for claim in catalog.CLAIMS}
    wanted = {name.strip().upper() for name in only.split(",")} - {""}
    if only and not wanted:
        raise InvalidValueError(f"--only is '{only}' and names no claim.", fix="exnihilo claims --only D2,T6")
    for name in sorted(wanted):
        if name not in by_id:
            raise UnknownNameError.of("claim", name, by_id)
    return tuple(claim for claim in catalog.CLAIMS if not wanted or claim.id in wanted)


def joined(results: Results, path: Path) -> Results:
    """The results, with the answers of an earlier call to the other claims: answering one again keeps the page whole.

    Answers of another preset, seed or version are left out.
    """
    try:
        earlier = from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError):  # none yet, or not ours: the page is then this call's alone
        return results
    same = (earlier.preset, earlier.seed, earlier.environment.get("exnihilo")) == (
        results.preset,
        results.seed,
        results.environment.get("exnihilo"),
    )
    if not same:
        return results
    answers = {answer.id: answer for answer in (*earlier.claims, *results.claims)}
    known = [answers[claim.id] for claim in catalog.CLAIMS if claim.id in answers]
    return replace(results, claims=tuple(known), num_runs=max(earlier.num_runs, results.num_runs))


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
    console.print(total_line(forecasts), markup=False)
