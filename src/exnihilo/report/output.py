"""Files of a report: checked before any work, replaced whole or not at all."""

import os
from pathlib import Path

from exnihilo.errors import OutputError

FIGURES = "figures"
PAGE = "index.html"
RESULTS = "results.json"


def ensure_writable(out: Path) -> None:
    """Create the output folder, and prove that a report can be written into it.

    Raises:
        OutputError: The folder cannot be created or written, or something else stands where a file of the report goes.
    """
    for name in (PAGE, RESULTS):
        if (out / name).is_dir():
            raise _refusal(out, f"'{name}' in it is a folder, and must be a file")
    try:
        (out / FIGURES).mkdir(parents=True, exist_ok=True)
        for folder in (out, out / FIGURES):
            probe = folder / f".probe.{os.getpid()}.tmp"
            probe.write_bytes(b"")
            probe.unlink()
    except OSError as error:
        raise _refusal(out, _reason(error)) from error


def replace_file(path: Path, text: str) -> None:
    """Write a file next to its place and move it there: a reader sees the old file or the new one, never half of it.

    Raises:
        OutputError: The file cannot be written; what stood there before is untouched.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise _refusal(path.parent, _reason(error)) from error


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _refusal(out: Path, reason: str) -> OutputError:
    return OutputError(
        f"Output folder '{out}' cannot be written: {reason}.",
        context=[f"needed: a folder for {PAGE}, {RESULTS} and {FIGURES}/"],
        fix="exnihilo claims --out ./report   (or another folder of your own)",
    )
