"""Plans and what came of them, as plain text. Needs no torch."""

import re
from collections.abc import Mapping, Sequence

from exnihilo.plans.records import Applied, Change, Difference, Overwritten, Plan, Row, Survival, Written
from exnihilo.structure.folding import folded

_FLOAT = re.compile(r"\d+\.\d+(?:e[+-]?\d+)?")


def table(plan: Plan) -> str:
    """The plan as a table: parameter, role, law, std, why; names that differ in their numbers alone share a line."""
    head = ("parameter", "role", "law", "std", "why")
    lines = [(pattern, *_cells(row)) for pattern, row, _ in folded(plan.rows, lambda row: row.parameter, _cells)]
    return "\n".join([f"{plan.recipe} for {plan.model}: {_counted(plan)}", *_aligned([head, *lines])])


def _counted(plan: Plan) -> str:
    counts = plan.counts
    noun = "parameter" if len(plan.rows) == 1 else "parameters"
    return f"{len(plan.rows)} {noun}: {counts['assign']} assigned, {counts['keep']} kept, {counts['tied']} tied"


def _cells(row: Row) -> tuple[str, str, str, str]:
    std = "" if row.expected_std is None else f"{row.expected_std:.4g}"
    return str(row.role), scheme_shown(row.scheme) if row.scheme else row.action, std, row.reason


def scheme_shown(scheme: str) -> str:
    """A scheme's text with its numbers to four digits.

    Example:
        >>> scheme_shown("Normal(std=0.004082482904638631)")
        'Normal(std=0.004082)'
    """
    return _FLOAT.sub(lambda found: f"{float(found[0]):.4g}", scheme)


def applied_lines(applied: Applied) -> str:
    """What was written, a line for each pattern of names."""
    written = f"{len(applied.written)} written, {applied.num_kept} kept, {applied.num_tied} tied"
    head = ("parameter", "law", "expected std", "std", "mean", "largest")
    lines = folded(applied.written, lambda entry: entry.parameter, lambda entry: (entry.scheme, entry.expected_std))
    rows = [(pattern, *_written_cells(entry)) for pattern, entry, _ in lines]
    return "\n".join(
        [
            f"{applied.recipe} applied to {applied.model} under seed {applied.seed}: {written}",
            *(_aligned([head, *rows]) if rows else []),
        ]
    )


def _written_cells(entry: Written) -> tuple[str, ...]:
    numbers = (entry.expected_std, entry.std, entry.mean, entry.max_abs)
    return (scheme_shown(entry.scheme), *(f"{number:.4g}" for number in numbers))


def survival_lines(survival: Survival) -> str:
    """How many parameters still hold what was written, and each pattern of those that do not."""
    changed = folded(survival.overwritten, lambda entry: entry.parameter, _was)
    cast = f"{len(survival.cast)} as written but cast, " if survival.cast else ""
    return "\n".join(
        [
            f"{len(survival.kept)} as written, {cast}{len(survival.overwritten)} overwritten, "
            f"{len(survival.gone)} gone",
            *(f"  {pattern} holds what was written, cast" for pattern, _, _ in folded(survival.cast, str, lambda _: 0)),
            *(f"  {pattern} {_was(entry)}" for pattern, entry, _ in changed),
            *(f"  {pattern} is gone" for pattern, _, _ in folded(survival.gone, str, lambda _: 0)),
        ]
    )


def _was(entry: Overwritten) -> str:
    return f"was {scheme_shown(entry.scheme)}, now {entry.found}"


def difference_lines(difference: Difference) -> str:
    """What differs, a line for each pattern of names: ``+`` added, ``-`` removed, ``~`` changed."""
    if difference.is_empty:
        return "The plans are equal."
    changes: dict[str, dict[str, Change]] = {}
    for change in difference.changed:
        changes.setdefault(change.parameter, {})[change.field] = change
    changed = folded(changes.items(), lambda entry: entry[0], lambda entry: _change_said(entry[1]))
    return "\n".join(
        [
            *(f"- {pattern}: {_said(row)}" for pattern, row, _ in _folded_rows(difference.removed)),
            *(f"+ {pattern}: {_said(row)}" for pattern, row, _ in _folded_rows(difference.added)),
            *(f"~ {pattern}: {_change_said(entry[1])}" for pattern, entry, _ in changed),
        ]
    )


def _change_said(changes: Mapping[str, Change]) -> str:
    """What changed of one parameter; std and reason only where the law stayed, since they follow from it."""
    implied = {"expected_std", "reason"} if changes.keys() & {"action", "scheme"} else set[str]()
    shown = [change for field, change in changes.items() if field not in implied]
    return ", ".join(f"{change.field} {scheme_shown(change.before)} → {scheme_shown(change.after)}" for change in shown)


def _folded_rows(rows: Sequence[Row]) -> list[tuple[str, Row, int]]:
    return folded(rows, lambda row: row.parameter, _said)


def _said(row: Row) -> str:
    return f"{scheme_shown(row.scheme) if row.scheme else row.action} ({row.reason})"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
