"""How a command ends: the one place that turns errors and interrupts into messages and exit codes."""

import shlex
import sys
import traceback
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import typer

from exnihilo.errors import ExnihiloError

LEDGER = "ledger.sqlite"
COULD_NOT_RUN = 2
INTERRUPTED = 130


@contextmanager
def outcomes_shown(out: Path | None = None) -> Generator[None]:
    """Errors of ours are shown without a traceback and exit with 2; Ctrl-C says how to go on and exits with 130.

    Whatever else is raised keeps its traceback, and exits with 2 too: 1 is an answer.

    Args:
        out: The folder of the ledger that resumes; None for a command that begins anew.
    """
    try:
        yield
    except ExnihiloError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(COULD_NOT_RUN) from error
    except (typer.Exit, typer.Abort, typer.BadParameter):
        raise
    except Exception as error:
        traceback.print_exc()
        raise typer.Exit(COULD_NOT_RUN) from error
    except KeyboardInterrupt as interrupt:
        again = shlex.join(["exnihilo", *sys.argv[1:]])
        print(f"\nInterrupted. {_kept(out)}\n  Continue with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from interrupt


def _kept(out: Path | None) -> str:
    if out is None:
        return "Nothing was written."
    ledger = out / LEDGER
    return f"Finished runs are kept in {ledger}." if ledger.exists() else "No run was finished."
