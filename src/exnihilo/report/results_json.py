"""Results as strict JSON, and back.

JSON knows no NaN and no infinity: a number that is not finite is written as ``null``. Keys keep one order.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from exnihilo.claims.records import Answer, Axis, Cell, Evidence, Figure, Results, Table

_FIRST = ("id", "statement", "verdict", "basis", "n", "rule", "evidence")


def to_json(results: Results) -> str:
    """Everything the report shows, as strict JSON with a stable order of keys.

    Example:
        >>> print(to_json(Results(claims=(), preset="quick", seed=0, num_runs=0, seconds=float("nan"), environment={})))
        {
         "preset": "quick",
         "seed": 0,
         "num_runs": 0,
         "seconds": null,
         "environment": {},
         "claims": []
        }
    """
    plain = asdict(results)
    claims = plain.pop("claims")
    document = {**plain, "claims": [_first_keys_first(claim) for claim in claims]}
    return json.dumps(strict(document), ensure_ascii=False, allow_nan=False, indent=1)


def from_json(text: str) -> Results:
    """The results that ``to_json`` wrote; numbers that were not finite come back as None."""
    document = json.loads(text)
    answers = tuple(_answer(claim) for claim in document.pop("claims"))
    return Results(claims=answers, **document)


def strict(value: Any) -> Any:
    """The value with None in place of every number that is not finite."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): strict(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [strict(entry) for entry in value]
    return value


def _first_keys_first(claim: dict[str, Any]) -> dict[str, Any]:
    return {key: claim[key] for key in _FIRST} | claim


def _answer(claim: dict[str, Any]) -> Answer:
    evidence = claim["evidence"]
    records = Evidence(
        cells=tuple(_cell(cell) for cell in evidence["cells"]),
        tables=tuple(_table(table) for table in evidence["tables"]),
        figures=tuple(_figure(figure) for figure in evidence["figures"]),
    )
    fields: dict[str, Any] = {**claim, "evidence": records}
    return Answer(**fields)


def _cell(cell: dict[str, Any]) -> Cell:
    pairs = {key: tuple(cell[key]) for key in ("interval", "failures") if cell.get(key) is not None}
    fields: dict[str, Any] = {**cell, **pairs}
    return Cell(**fields)


def _table(table: dict[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in table["rows"])
    return Table(title=table["title"], columns=tuple(table["columns"]), rows=rows)


def _figure(figure: dict[str, Any]) -> Figure:
    axes: dict[str, Any] = {
        key: Axis(**figure[key]) if figure[key] is not None else None for key in ("x", "y", "color", "facet")
    }
    fields: dict[str, Any] = {**figure, **axes, "rows": tuple(figure["rows"])}
    return Figure(**fields)
