"""Writes docs/published.md, what the claims of papers came to, from the results of a run.

exnihilo claims --set published --out report && python scripts/write_published.py report
"""

import json
import sys
from datetime import date
from pathlib import Path

from exnihilo.claims.catalog import PUBLISHED
from exnihilo.report.numbers import duration_shown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "published.md"


def main() -> None:
    """Reads the report's folder."""
    results = json.loads((Path(sys.argv[1]) / "results.json").read_text(encoding="utf-8"))
    answers = {answer["id"]: answer for answer in results["claims"]}
    found = [answers[claim.id] for claim in PUBLISHED]
    where = results["environment"]
    lines = [
        "# What papers found, put to the test",
        "",
        f"Written by `scripts/write_published.py` on {date.today()} from `exnihilo claims --set published`: preset "
        f"{results['preset']}, seed {results['seed']}, {results['num_runs']:,} training runs in "
        f"{duration_shown(results['seconds'])} (torch {where['torch']}, "
        f"numerics version {where['numerics']}, {where['machine']}).",
        "These are small versions: digits and the characters of Python's standard library, narrow networks, few steps. "
        "A verdict is about them. The rules were declared before the runs; the page that the command writes has every "
        "cell, table and figure.",
        "",
        "| id | result | verdict | runs |",
        "| --- | --- | --- | --- |",
        *(f"| {a['id']} | {a['title']} | {a['verdict']} | {a['n']:,} |" for a in found),
        "",
    ]
    for answer in found:
        factor = [f"It depends on {answer['factor']}.", ""] if answer["factor"] else []
        cells = [f"- {_stance(cell)} {cell['where']}: {cell['finding']}" for cell in answer["evidence"]["cells"]]
        lines += [f"## {answer['id']}: {answer['title']}", "", answer["statement"], ""]
        lines += [f"**{answer['verdict'].capitalize()}.** {answer['finding']}", "", *factor, *cells, ""]
    PAGE.write_text("\n".join(lines), encoding="utf-8")


def _stance(cell: dict) -> str:
    return {True: "supports ·", False: "refutes ·", None: "open ·"}[cell["supports"]]


if __name__ == "__main__":
    main()
