"""Diagnoses as JSON, in a file and back."""

import json
from pathlib import Path
from typing import Any, cast

from exnihilo.checks.records import DIAGNOSIS_VERSION, Diagnosis
from exnihilo.errors import DiagnosisFileError, OutputError
from exnihilo.plain import MalformedError, from_plain, to_plain

_FIX = "exnihilo check MODEL --out diagnosis.json"
# Said for readers of the file, and computed from the rest when it is read back.
_DERIVED = ("opening_step", "effective_width", "ok")


def to_json(diagnosis: Diagnosis) -> str:
    """The diagnosis as indented JSON.

    Its keys are ``version``, ``ok``, ``facts``, ``findings`` (each with ``code``, ``severity``, ``parameters`` with the
    root cause first, ``evidence``, ``cause``, ``remedy``), ``opening_step`` of each parameter, ``effective_width`` of
    each map, and the records behind them.
    """
    derived = {
        "ok": diagnosis.ok,
        "opening_step": diagnosis.opening_step,
        "effective_width": diagnosis.effective_width,
    }
    whole = {"version": DIAGNOSIS_VERSION, **derived, **to_plain(diagnosis)}
    return json.dumps(whole, indent=1, ensure_ascii=False, allow_nan=False)


def from_json(text: str, source: str = "This text") -> Diagnosis:
    """The diagnosis that ``to_json`` wrote.

    Raises:
        DiagnosisFileError: The text is no JSON, holds something else, or was written by another version.
    """
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DiagnosisFileError(f"{source} is no diagnosis: it is no JSON. {error}", fix=_FIX) from None
    fields = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    version = fields.pop("version", None)
    if type(version) is not int or version != DIAGNOSIS_VERSION:
        raise DiagnosisFileError(
            f"{source} is no diagnosis of version {DIAGNOSIS_VERSION}: its version is {version!r}.", fix=_FIX
        )
    kept = {name: value for name, value in fields.items() if name not in _DERIVED}
    try:
        return from_plain(Diagnosis, kept, "diagnosis")
    except MalformedError as error:
        raise DiagnosisFileError(f"{source} is no diagnosis: {error}.", fix=_FIX) from None


def save(diagnosis: Diagnosis, path: str | Path) -> None:
    """Write the diagnosis to a file as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    write_text(path, to_json(diagnosis) + "\n")


def load(path: str | Path) -> Diagnosis:
    """The diagnosis in a file.

    Raises:
        DiagnosisFileError: The file cannot be read, or holds no diagnosis.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise DiagnosisFileError(f"{path} cannot be read: {why}.", fix=_FIX) from None
    return from_json(text, str(path))


def write_text(path: str | Path, text: str) -> None:
    """Write a file.

    Raises:
        OutputError: It cannot be written.
    """
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", fix="choose another path") from None
