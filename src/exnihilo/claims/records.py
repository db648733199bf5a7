"""What a claim says and what was found, as frozen records of plain values (no torch)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

ClaimVerdict = Literal["supported", "refuted", "depends", "undecided", "explained"]
Basis = Literal["exact", "measured", "explained"]
Value = str | float | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One encoded field of a figure.

    Args:
        field: Key of each row.
        title: Label with its unit.
        kind: ``quantitative`` numbers, ``ordinal`` or ``nominal`` categories (kept in order of first appearance).
        scale: ``linear``, ``log`` or ``symlog`` (which shows zero beside powers of ten).
    """

    field: str
    title: str
    kind: Literal["quantitative", "ordinal", "nominal"] = "quantitative"
    scale: Literal["linear", "log", "symlog"] = "linear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A chart as data: the report alone decides how it is drawn.

    Args:
        name: Unique in the report, usable as a file name, such as ``d3-gradient-norm``.
        title: What one sees, in a sentence without a period.
        caption: What was measured, with n; what the bands or bars are.
        mark: ``line`` (a band too where rows have ``low`` and ``high``), ``bar``, ``point``, ``interval`` (a dot with a
            whisker from ``low`` to ``high``, with a line at ``reference``) or ``heatmap`` (``color`` is then a number).
        x, y: The encoded axes.
        color: Series, or the number of a heatmap.
        facet: Small multiples, one for each value.
        rows: The data; a missing number is None.
        reference: A value of the quantitative axis to mark by a line, such as 0 or the prior's accuracy.
    """

    name: str
    title: str
    caption: str
    mark: Literal["line", "bar", "point", "interval", "heatmap"]
    x: Axis
    y: Axis
    color: Axis | None = None
    facet: Axis | None = None
    rows: tuple[Mapping[str, Value], ...]
    reference: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of cells; a column's name carries its unit."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One place where the claim was put to the test.

    Args:
        where: The place: task, network, comparison.
        supports: True supports the claim, False refutes it, None leaves it open.
        estimate: The measured number, oriented so that larger favors the claim; None for a certificate.
        interval: Of the estimate, at the corrected level; None for a certificate.
        n: Paired seeds or runs behind it; None for a certificate.
        failures: Of the two sides that were compared: runs that diverged or never moved; None for a certificate.
        more_seeds: Of an undecided comparison: about how many more seeds would decide it, where a number would.
        finding: What was seen, in one sentence with its numbers.
    """

    where: str
    supports: bool | None
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    n: int | None = None
    failures: tuple[int, int] | None = None
    more_seeds: int | None = None
    finding: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that a verdict rests on."""

    cells: tuple[Cell, ...] = ()
    tables: tuple[Table, ...] = ()
    figures: tuple[Figure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer to one claim.

    Args:
        id: The claim's id, such as ``D2``.
        title: A few words.
        statement: What is claimed, in our words.
        verdict: Computed from the records.
        basis: ``exact`` (a certificate), ``measured`` (estimate, interval, n, rule) or ``explained`` (F1 alone).
        n: Training runs behind the answer (0 where a certificate needs none).
        rule: The decision rule in words, with its numbers.
        finding: The answer in one to three plain sentences, with numbers.
        factor: For ``depends``: what it depends on.
        evidence: Cells, tables and figures.
        snippet: At most 15 lines of plain PyTorch that show it, or None.
        rerun: The command that reruns just this claim.
    """

    id: str
    title: str
    statement: str
    verdict: ClaimVerdict
    basis: Basis
    n: int
    rule: str
    finding: str
    factor: str | None = None
    evidence: Evidence = field(default_factory=Evidence)
    snippet: str | None = None
    rerun: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """Everything the report shows.

    Args:
        claims: All answers, in the article's order, F1 first on the page.
        preset: ``quick`` or ``full``.
        seed: The seed of the whole set.
        num_runs: Training runs in the ledger behind the answers.
        seconds: Wall time of this call, and of the earlier ones whose answers it keeps.
        environment: Version of exnihilo, torch, the numerics and Python, and the machine class.
    """

    claims: tuple[Answer, ...]
    preset: str
    seed: int
    num_runs: int
    seconds: float
    environment: Mapping[str, str]
