"""The benchmark's table: recall, false alarms, exact location, time and state left, of every tool on the same cases.

python -m benchmarks.check.table ANSWERS.jsonl ... [--half held-out] [--misses]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.check.tools import TOOLS

LABELS = sorted(Path(__file__).parent.glob("labels*.jsonl"))
Row = dict[str, Any]


def labels() -> dict[str, bool]:
    """Which faults are really there, or do harm."""
    found = [json.loads(line) for path in LABELS for line in path.read_text().splitlines()]
    return {entry["case"]: entry["true"] for entry in found if entry["true"] is not None}


def judged(rows: Iterable[Row], truth: dict[str, bool]) -> dict[str, list[Row]]:
    """The answers by what the case is: healthy, structural, harmful; what is neither is left out."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "healthy":
            groups["healthy"].append(row)
        elif truth.get(row["case"]):
            groups["structural" if row["kind"] == "structural" else "harmful"].append(row)
    return groups


def alarmed(row: Row, *, fail: bool = False) -> bool:
    return row["severity"] == "fail" or (not fail and row["severity"] == "warn")


def share(rows: Sequence[Row], is_so: Any) -> str:
    return f"{sum(map(is_so, rows))}/{len(rows)}" if rows else "-"


def located(row: Row, among: int) -> bool:
    """Whether a parameter at fault is among the first that are named; a fault of a rate has none to name."""
    return not row["truth"] or bool(set(row["named"][:among]) & set(row["truth"]))


def line(tool: str, rows: Sequence[Row], truth: dict[str, bool]) -> list[str]:
    groups = judged(rows, truth)
    healthy, structural, harmful = groups["healthy"], groups["structural"], groups["harmful"]
    broken = [row for row in (*structural, *harmful) if row["truth"]]
    caught = [row for row in broken if alarmed(row)]
    ratios = [row["seconds"] / row["step"] for row in healthy if row["severity"] != "error" and row["step"] > 0]
    return [
        tool,
        share(structural, alarmed),
        share(structural, lambda row: alarmed(row, fail=True)),
        share(harmful, alarmed),
        share(healthy, lambda row: alarmed(row, fail=True)),
        share(healthy, alarmed),
        share(caught, lambda row: located(row, 1)),
        share(caught, lambda row: located(row, 3)),
        f"{statistics.median(ratios):.1f}" if ratios else "-",
        share(rows, lambda row: row["changed"]),
        share(rows, lambda row: row["severity"] == "error"),
    ]


HEAD = [
    "tool",
    "structural found",
    "as a failure",
    "harmful found",
    "healthy failed",
    "healthy alarmed",
    "named first",
    "among three",
    "steps of time",
    "state changed",
    "could not run",
]


def table(answers: dict[str, list[Row]], truth: dict[str, bool]) -> str:
    """In Markdown."""
    lines = [HEAD, ["---"] * len(HEAD), *(line(tool, rows, truth) for tool, rows in answers.items())]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def missed(rows: Sequence[Row], truth: dict[str, bool]) -> list[str]:
    """Every miss and false alarm by name."""
    groups = judged(rows, truth)
    found = [
        f"missed   {r['case']}: {r['severity']} {r['found']}"
        for kind in ("structural", "harmful")
        for r in groups[kind]
        if not alarmed(r)
    ]
    found += [
        f"alarmed  {r['case']}: {r['severity']} {r['found']} {r['named'][:2]}" for r in groups["healthy"] if alarmed(r)
    ]
    found += [
        f"named    {r['case']}: {r['named'][:3]} for {r['truth'][:2]}"
        for kind in ("structural", "harmful")
        for r in groups[kind]
        if alarmed(r) and not located(r, 1)
    ]
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("answers", type=Path, nargs="+")
    parser.add_argument("--half", choices=["tuning", "held-out"])
    parser.add_argument("--misses", action="store_true")
    chosen = parser.parse_args()
    answers: dict[str, list[Row]] = {}
    for path in chosen.answers:
        rows = [json.loads(text) for text in path.read_text().splitlines()]
        tool = next((t for t in TOOLS if path.stem.startswith(t)), path.stem)
        answers.setdefault(tool, []).extend(r for r in rows if chosen.half in (None, r["half"]))
    truth = labels()
    print(table(answers, truth))
    if chosen.misses:
        for tool, rows in answers.items():
            print(f"\n{tool}")
            print("\n".join(f"  {text}" for text in missed(rows, truth)))


if __name__ == "__main__":
    main()
