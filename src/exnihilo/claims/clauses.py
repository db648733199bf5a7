"""Statements that say several things at once: each clause has cells of its own, and the parts of a place are joined."""

from collections.abc import Iterable, Sequence

from exnihilo.claims.presets import ALPHA, PRESETS
from exnihilo.claims.records import Cell

SEPARATOR = " · "


def family(share: float = 1.0) -> str:
    """How the comparisons of one family are tested, in words, where it may spend this share of ``ALPHA``.

    Example:
        >>> family(0.5)
        'exact sign-flip, Holm, alpha 0.025'
    """
    return f"exact sign-flip, Holm, alpha {ALPHA * share:.2g}"


def margin() -> str:
    """The difference of accuracies that matters, in words.

    Example:
        >>> margin()
        '2 points'
    """
    return f"{' or '.join(sorted({f'{100 * preset.margin:g}' for preset in PRESETS.values()}))} points"


def seeds_compared() -> str:
    """Seeds of what each preset judges once, in words.

    Example:
        >>> seeds_compared()
        '16 fresh seeds (full preset: 40)'
    """
    return f"{PRESETS['quick'].one_look} fresh seeds (full preset: {PRESETS['full'].one_look})"


def seeds_shown() -> str:
    """Seeds of what each preset describes and does not compare, in words.

    Example:
        >>> seeds_shown()
        '3 seeds (full preset: 10)'
    """
    return f"{PRESETS['quick'].shown_seeds} seeds (full preset: {PRESETS['full'].shown_seeds})"


def place(clause: str, *parts: object) -> str:
    """Where a cell of a clause stands.

    Example:
        >>> place("can work", "wine", "sigmoid")
        'can work · wine · sigmoid'
    """
    return SEPARATOR.join(map(str, (clause, *parts)))


def of_clause(cells: Iterable[Cell], clause: str) -> tuple[Cell, ...]:
    """The cells of one clause."""
    return tuple(cell for cell in cells if cell.where.split(SEPARATOR)[0] == clause)


def agreed(sides: Iterable[bool | None]) -> bool | None:
    """What all say, such as the runs of a place; None where they differ, where one is open, and where there are none.

    Example:
        >>> agreed([True, True]), agreed([False, False]), agreed([True, False]), agreed([True, None])
        (True, False, None, None)
    """
    seen = set(sides)
    return seen.pop() if len(seen) == 1 else None


def somewhere(sides: Iterable[bool | None]) -> bool | None:
    """Whether a thing that can happen did: one place is enough, and that there is none takes a decision in each.

    Example:
        >>> somewhere([True, False, None]), somewhere([False, False]), somewhere([False, None])
        (True, False, None)
    """
    seen = set(sides)
    return True if True in seen else None if None in seen or not seen else False


def num_holding(cells: Iterable[Cell]) -> int:
    """How many cells support what they were asked."""
    return sum(cell.supports is True for cell in cells)


def listed(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence, the rest counted.

    Example:
        >>> listed(["wine"]), listed(["a", "b", "c"]), listed(["a", "b", "c", "d"], most=2), listed([])
        ('wine', 'a, b and c', 'a, b and 2 more', 'none')
    """
    if not names:
        return "none"
    if len(names) > most:
        return f"{', '.join(names[:most])} and {len(names) - most} more"
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def factor_by_clause(cells: Sequence[Cell]) -> str | None:
    """What the verdict of a compound claim depends on, clause by clause; None where no two cells disagree.

    Example:
        >>> cells = [Cell(where=place(*where), supports=says, finding="") for where, says in
        ...          ((("can work", "wine"), True), (("can work", "digits"), False), (("symmetry", "wine"), True))]
        >>> print(factor_by_clause(cells))
        the part of the statement and the place: 'can work' holds at wine and fails at digits; 'symmetry' holds
        >>> factor_by_clause(cells[:1]) is None
        True
    """
    if not {True, False} <= {cell.supports for cell in cells}:
        return None
    clauses = list(dict.fromkeys(cell.where.split(SEPARATOR)[0] for cell in cells))
    told = [text for clause in clauses if (text := _told(clause, of_clause(cells, clause)))]
    return f"the part of the statement and the place: {'; '.join(told)}"


def _told(clause: str, cells: Sequence[Cell]) -> str:
    """One clause, its two sides named; empty where all its cells are open."""
    sides = {says: [_where(cell) for cell in cells if cell.supports is says] for says in (True, False)}
    if sides[True] and sides[False]:
        return f"'{clause}' holds at {listed(sides[True])} and fails at {listed(sides[False])}"
    return f"'{clause}' {'holds' if sides[True] else 'fails'}" if sides[True] or sides[False] else ""


def _where(cell: Cell) -> str:
    return " ".join(cell.where.split(SEPARATOR)[1:])
