"""How a command ends: the one place that turns errors and interrupts into messages and exit codes."""

import shlex
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import typer

from exnihilo.errors import ExnihiloError

LEDGER = "ledger.sqlite"
COULD_NOT_RUN = 2
INTERRUPTED = 130


@contextmanager
def outcomes_shown(out: Path) -> Generator[None]:
    """Errors of ours are shown without a traceback and exit with 2; Ctrl-C says how to go on and exits with 130."""
    try:
        yield
    except ExnihiloError as error:
        print(error, file=sys.stderr)
        raise typer.Exit(COULD_NOT_RUN) from error
    except KeyboardInterrupt as interrupt:
        ledger = out / LEDGER
        kept = f"Finished runs are kept in {ledger}." if ledger.exists() else "No run was finished."
        again = shlex.join(["exnihilo", *sys.argv[1:]])
        print(f"\nInterrupted. {kept}\n  Continue with: {again}", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from interrupt
