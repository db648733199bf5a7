"""The commands and their arguments; what they do is imported when they run, so that the core alone can answer."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from exnihilo.cli.extras import require_lab
from exnihilo.cli.outcomes import outcomes_shown
from exnihilo.version import __version__

app = typer.Typer(
    help="Start PyTorch networks right, from zero or from anything: what is true about initialization, measured.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


ALL_CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

Workers = Annotated[int, typer.Option(min=1, help="Processes that train, one thread each.", show_default="all cores")]
Out = Annotated[Path, typer.Option(help="Folder of the report and of the ledger that resumes.")]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Say how many runs, how long, and what can be decided; run none.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print the results as JSON, alone on standard output.")]


def _version(asked: bool) -> None:
    if asked:
        print(f"exnihilo {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command("claims")
def claims(
    only: Annotated[str, typer.Option(help="Ids of claims, such as D2,T6.", show_default="all 24")] = "",
    preset: Annotated[
        str, typer.Option(help="quick: minutes. full: more tasks, seeds and steps; --dry-run says how long.")
    ] = "quick",
    seed: Annotated[int, typer.Option(min=0, help="Another seed repeats all on other splits, values and orders.")] = 0,
    workers: Workers = ALL_CORES,
    out: Out = Path("report"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Measure what the article claims about zero initialization, and write the page that answers."""
    with outcomes_shown(out):
        require_lab("exnihilo claims")
        from exnihilo.cli.claims import ask_claims  # needs the extra

        ask_claims(only, preset=preset, seed=seed, workers=workers, out=out, dry_run=dry_run, as_json=as_json)


@app.command("study")
def study(
    file: Annotated[Path, typer.Argument(metavar="FILE.py", help="Holds `study = Study(...)`, or `studies`.")],
    data: Annotated[
        Path | None, typer.Option(help="A CSV, Parquet or .npz file that takes the place of the study's tasks.")
    ] = None,
    target: Annotated[str | None, typer.Option(help="The column of --data to learn.", show_default="target")] = None,
    kind: Annotated[
        str | None, typer.Option(help="classification or regression.", show_default="read from the target")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Base seed.", show_default="as in the file")] = None,
    workers: Workers = ALL_CORES,
    out: Out = Path("report"),
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Run a study of your own, on the lab's tasks or on your data, to its verdicts."""
    with outcomes_shown(out):
        require_lab("exnihilo study")
        from exnihilo.cli.study import ask_study  # needs the extra

        ask_study(
            file,
            data=data,
            target=target,
            kind=kind,
            seed=seed,
            workers=workers,
            out=out,
            dry_run=dry_run,
            as_json=as_json,
        )


def main() -> None:
    """The entry point of ``exnihilo``."""
    try:
        app()
    except KeyboardInterrupt:  # before a command could answer it, as while torch is imported
        sys.exit(130)
