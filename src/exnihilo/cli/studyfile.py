"""A study's Python file, run for the studies that it holds."""

import runpy
import sys
import traceback
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from exnihilo.errors import ExnihiloError, InvalidValueError
from exnihilo.lab.study import Study

EXAMPLE = "study = Study(name=..., question=..., tasks=(...), ...)   as in examples/zero_head.py"


def load_studies(path: Path) -> tuple[Study, ...]:
    """The studies of a file: its ``study``, or its ``studies``. What the file prints goes to standard error.

    Raises:
        InvalidValueError: The file is missing or unreadable, fails, or holds no study; or two of its studies have one
            name.
        ExnihiloError: What the study itself is refused for.
    """
    _require_readable(path)
    with redirect_stdout(sys.stderr):  # standard output is for results, as JSON perhaps
        names = _run(path)
    found: Any = names.get("studies", (names["study"],) if "study" in names else ())
    studies: tuple[Any, ...] = tuple(found) if isinstance(found, list | tuple) else (found,)
    if not studies or not all(isinstance(study, Study) for study in studies):
        raise InvalidValueError(
            f"Study file '{path}' holds no study.",
            context=["needed: a variable `study` of type Study, or `studies`, a tuple of them"],
            fix=EXAMPLE,
        )
    repeated = {study.name for study in studies if sum(other.name == study.name for other in studies) > 1}
    if repeated:
        raise InvalidValueError(
            f"Study file '{path}' holds several studies of the name '{min(repeated)}'.", fix="give each its own name"
        )
    return studies


def _require_readable(path: Path) -> None:
    try:
        path.read_bytes()
    except FileNotFoundError as error:
        raise InvalidValueError(
            f"Study file '{path}' does not exist.", fix="give the path of a Python file: exnihilo study my_study.py"
        ) from error
    except OSError as error:
        raise InvalidValueError(
            f"Study file '{path}' cannot be read: {error.strerror}.",
            fix="give the path of a Python file that you may read: exnihilo study my_study.py",
        ) from error


def _run(path: Path) -> dict[str, Any]:
    try:
        return runpy.run_path(str(path), run_name="exnihilo_study")
    except ExnihiloError:
        raise
    except SyntaxError as error:
        raise InvalidValueError(
            f"Study file '{path}' is not valid Python: {error.msg}.",
            context=[] if error.lineno is None else [f"line {error.lineno}: {(error.text or '').strip()}"],
            fix=EXAMPLE,
        ) from error
    except SystemExit as error:
        raise InvalidValueError(
            f"Study file '{path}' ends the program, by exit({error.code}), before it holds a study.",
            fix="put what is run as a script below: if __name__ == '__main__':",
        ) from error
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        raise InvalidValueError(
            f"Study file '{path}' failed: {type(error).__name__}: {error}",
            context=[f"line {lines[-1]}"] if lines else [],
            fix=f"mend it; it must run by itself: python {path}",
        ) from error
