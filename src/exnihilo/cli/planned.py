"""A plan to review on a terminal, and what was written of it: what changes in full, what stays by role."""

from collections.abc import Callable, Sequence

from exnihilo.cli.shown import Cells, fold, table, widths_of
from exnihilo.plans.records import Applied, Plan, Row
from exnihilo.plans.text import scheme_shown
from exnihilo.structure.folding import folded

_HEAD = ("parameter", "law", "promised", "std", "mean", "largest")


def plan_lines(plan: Plan, columns: int, *, everything: bool = False) -> list[str]:
    """The plan as lines of this width at most, apart from names and laws that are longer: these are never broken.

    Rows with one reason stand together below it; names that differ in their numbers alone share a line.

    Args:
        plan: What to show.
        columns: Characters in a line.
        everything: Show each kept parameter too, in place of one example for each role.
    """
    counts = plan.counts
    noun = "parameter" if len(plan.rows) == 1 else "parameters"
    said = f"{len(plan.rows):,} {noun}: {counts['assign']:,} assigned, {counts['keep']:,} kept, {counts['tied']:,} tied"
    assigned, kept, tied = ([row for row in plan.rows if row.action == which] for which in ("assign", "keep", "tied"))
    widths = widths_of(_assignments(assigned))  # one grid for all reasons
    return [
        *fold(f"{plan.recipe} for {plan.model}", columns),
        *fold(said, columns),
        *_by_reason("Assigned", assigned, columns, lambda rows: table(_assignments(rows), widths, columns)),
        *_by_reason("Kept", kept, columns, _each if everything else _examples),
        *_by_reason("Tied", tied, columns, _each),
    ]


def applied_lines(applied: Applied, columns: int) -> list[str]:
    """What was written, each law with what it promised and what came, as lines of at most this width."""
    said = f"{len(applied.written):,} written, {applied.num_kept:,} kept, {applied.num_tied:,} tied"
    lines = folded(applied.written, lambda entry: entry.parameter, lambda entry: (entry.scheme, entry.expected_std))
    rows = [
        (
            pattern,
            scheme_shown(entry.scheme),
            *(f"{number:.4g}" for number in (entry.expected_std, entry.std, entry.mean, entry.max_abs)),
        )
        for pattern, entry, _ in lines
    ]
    titled = [_HEAD, *rows] if rows else []
    return [
        *fold(f"{applied.recipe} applied to {applied.model} under seed {applied.seed}", columns),
        *fold(said, columns),
        *([""] if rows else []),
        *table(titled, widths_of(titled), columns),
    ]


def _by_reason(
    title: str, rows: Sequence[Row], columns: int, shown: Callable[[Sequence[Row]], Sequence[str]]
) -> list[str]:
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(_reason(row), []).append(row)
    return [
        line
        for reason, group in groups.items()
        for line in ("", *fold(f"{title} ({len(group):,}): {reason}", columns), *shown(group))
    ]


def _reason(row: Row) -> str:
    # Each tied row names its owner; as a title that would make a section of every one.
    return "one tensor with another name, written once" if row.action == "tied" else row.reason


def _assignments(rows: Sequence[Row]) -> list[Cells]:
    def cells(row: Row) -> Cells:
        return str(row.role), scheme_shown(row.scheme or ""), f"std {row.expected_std:.4g}"

    return [(pattern, *cells(row)) for pattern, row, _ in folded(rows, lambda row: row.parameter, cells)]


def _each(rows: Sequence[Row]) -> list[str]:
    def said(row: Row) -> str:
        return f"= {row.tied_to}" if row.action == "tied" else str(row.role)

    cells = [(pattern, said(row)) for pattern, row, _ in folded(rows, lambda row: row.parameter, said)]
    width = max(len(pattern) for pattern, _ in cells)
    return [f"  {pattern:<{width}}  {what}" for pattern, what in cells]


def _examples(rows: Sequence[Row]) -> list[str]:
    """A line for each role: how many, and the first of them."""
    by_role: dict[str, list[Row]] = {}
    for row in rows:
        by_role.setdefault(str(row.role), []).append(row)
    cells: list[tuple[str, str, str]] = []
    for role, group in by_role.items():
        pattern, _, count = folded(group, lambda row: row.parameter, lambda _: 0)[0]
        more = f" and {len(group) - count:,} more" if len(group) > count else ""
        cells.append((role, f"{len(group):,}", f"{pattern}{more}"))
    roles, counts, _ = widths_of(cells)
    lines = [f"  {role:<{roles}}  {count:>{counts}}  {example}" for role, count, example in cells]
    return [*lines, "  (--all lists each of them)"] if any(" more" in example for _, _, example in cells) else lines
