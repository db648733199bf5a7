"""Plans as JSON, in a file and back."""

import json
import math
from pathlib import Path
from typing import Any, cast

from exnihilo.errors import ExnihiloError, OutputError, PlanFileError
from exnihilo.plain import MalformedError, from_plain, to_plain
from exnihilo.plans.live import fingerprint
from exnihilo.plans.records import PLAN_VERSION, Plan, Row
from exnihilo.schemes.spec import from_text

_FIX = "exnihilo.plans.files.save(exnihilo.plan(model, recipe, example=example), 'plan.json')"


def to_json(plan: Plan) -> str:
    """The plan as indented JSON.

    Its keys are ``version``, ``recipe``, ``model`` and ``rows``; a row has ``parameter``, ``role``, ``action``,
    ``scheme``, ``expected_std``, ``reason`` and the facts by which the parameter is known again.
    """
    return json.dumps({"version": PLAN_VERSION, **to_plain(plan)}, indent=1, ensure_ascii=False)


def from_json(text: str, source: str = "This text") -> Plan:
    """The plan that ``to_json`` wrote, perhaps edited since: schemes are read, and their promises checked.

    Args:
        text: JSON.
        source: What to call it in an error.

    Raises:
        PlanFileError: The text is no JSON, holds something else, was written by another version, or a row contradicts
            itself.
    """
    try:
        data: Any = json.loads(text)
    except ValueError as error:
        raise PlanFileError(f"{source} is no plan: it is no JSON. {error}", fix=_FIX) from None
    except RecursionError:
        raise PlanFileError(f"{source} is no plan: it is nested too deeply.", fix=_FIX) from None
    fields = cast("dict[str, object]", data) if isinstance(data, dict) else {}
    version = fields.pop("version", None)
    if type(version) is not int or version != PLAN_VERSION:  # True and 1.0 equal 1
        raise PlanFileError(
            f"{source} is no plan of version {PLAN_VERSION}: its version is {version!r}.",
            context=["a plan is made anew by every version that changes its records"],
            fix=_FIX,
        )
    try:
        plan = from_plain(Plan, fields, "plan")
        for i, row in enumerate(plan.rows):
            _require_consistent(row, f"plan.rows[{i}]")
        _require_unique(plan)
    except MalformedError as error:
        raise PlanFileError(f"{source} is no plan: {error}.", fix=_FIX) from None
    except OverflowError:
        raise PlanFileError(f"{source} is no plan: a number in it is too large.", fix=_FIX) from None
    return plan


def save(plan: Plan, path: str | Path) -> None:
    """Write the plan to a file as JSON.

    Raises:
        OutputError: The file cannot be written.
    """
    try:
        Path(path).write_text(to_json(plan) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}.", fix="choose another path") from None


def load(path: str | Path) -> Plan:
    """The plan in a file.

    Raises:
        PlanFileError: The file cannot be read, or holds no plan.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise PlanFileError(f"{path} cannot be read: {why}.", fix=_FIX) from None
    return from_json(text, str(path))


def _require_consistent(row: Row, place: str) -> None:
    """Raise MalformedError where a row's fields contradict one another."""
    what = f"{place} of '{row.parameter}'"
    if (row.action == "assign") != (row.scheme is not None and row.expected_std is not None):
        raise MalformedError(f"{what} has action '{row.action}', scheme {row.scheme!r} and std {row.expected_std!r}")
    if (row.action == "tied") != (row.tied_to is not None):
        raise MalformedError(f"{what} has action '{row.action}' and is tied to {row.tied_to!r}")
    if row.layout.numel != math.prod(row.shape):
        raise MalformedError(f"{what} has shape {row.shape} and a layout of shape {row.layout.shape}")
    if row.fingerprint != fingerprint(row.parameter, row.shape, row.dtype, row.tied_to, frozen=row.frozen):
        raise MalformedError(f"{what} has a fingerprint of another name, shape, dtype or tie, or frozen otherwise")
    if row.scheme is None or row.expected_std is None:
        return
    try:
        promised = from_text(row.scheme).expected_std(row.layout)
    except ExnihiloError as error:
        raise MalformedError(f"{what} has the scheme {row.scheme!r}: {error.fact}") from error
    if not math.isclose(promised, row.expected_std, rel_tol=1e-9, abs_tol=1e-12):
        raise MalformedError(f"{what} expects std {row.expected_std!r}, and its scheme promises {promised!r}")


def _require_unique(plan: Plan) -> None:
    if len(plan.by_name) != len(plan.rows):
        names = [row.parameter for row in plan.rows]
        twice = next(name for name in names if names.count(name) > 1)
        raise MalformedError(f"plan.rows names '{twice}' twice")
