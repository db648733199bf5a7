"""Writes docs/check-benchmark.md from answers that were kept.

python -m benchmarks.check.page --answers .benchmark-check --commit HASH [--cost FILE]
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import io
import json
import os
import platform
from collections import Counter
from pathlib import Path

from benchmarks.check import real_bugs
from benchmarks.check.all import answers
from benchmarks.check.table import labels, missed, table
from benchmarks.check.tools import PINNED, TOOLS

PAGE = Path(__file__).parents[2] / "docs" / "check-benchmark.md"


def costs(path: Path | None) -> list[str]:
    """What a check takes beside one training step, by the lines that benchmarks/check/cost.py printed."""
    if path is None:
        return []
    found = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
    rows = [f"| {c['model']} | {c['step_ms']:g} | {c['check_ms']:g} | {c['steps']:g} |" for c in found]
    intro = (
        "`benchmarks/check/cost.py`: one step of AdamW in float32 and one check of the same model on the same batch, in"
        " turn, one thread; the fastest of four. Images are 8 of 64×64, texts 8 of 64 tokens."
    )
    head = ["| model | step, ms | check, ms | steps |", "| --- | --- | --- | --- |"]
    return ["## What a check takes", "", intro, "", *head, *rows, ""]


def page(out: Path, commit: str, cost: Path | None = None) -> str:
    truth = labels()
    all_ = {tool: rows for tool in TOOLS if (rows := answers(tool, out))}
    mine = all_["exnihilo"]
    common = set.intersection(*({row["case"] for row in rows} for rows in all_.values()))
    same = {tool: [row for row in rows if row["case"] in common] for tool, rows in all_.items()}
    halves = {half: [row for row in mine if row["half"] == half] for half in ("held-out", "tuning")}
    faults = Counter(row["fault"] for row in mine if row["fault"] and truth.get(row["case"]))
    bugs = io.StringIO()
    with contextlib.redirect_stdout(bugs):
        real_bugs.main()
    where = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    pins = ", ".join(f"{tool} {version}" for tool, version in PINNED.items())
    count = len({row["case"].split("/")[0] for row in mine})
    lines = [
        "<!-- written by benchmarks/check/page.py -->",
        "# How well checks find what stops a model, and how quiet they are",
        "",
        f"Measured on {datetime.date.today()}, {where}, one thread a process, with the version of commit {commit}.",
        f"{count} architectures, each healthy in float32 and bfloat16 with three seeds, and with"
        " every fault that has a home in it. Structural faults are true by construction, and hold in training"
        " in float64; the harm of graded ones was decided by training (`benchmarks/check/label.py`; both in"
        " `benchmarks/check/labels.jsonl`). Half of the architectures, by the hash of their names, had no part in the"
        " choice of a threshold.",
        "",
        "## exnihilo, all cases",
        "",
        table(halves, truth),
        "",
        "Faults that are there, by kind: " + ", ".join(f"{code} {n}" for code, n in sorted(faults.items())) + ".",
        "",
        "Misses, false alarms and wrong first names, each by its case:",
        "",
        "```text",
        *missed(mine, truth),
        "```",
        "",
        f"## All tools on the same {len(common):,} cases",
        "",
        f"{pins}; each as shipped, by its documented entry point. `overfit-one-batch` is what people use now: a hundred"
        " Adam steps on one batch must halve the loss. It passes the dead ends that let the loss fall.",
        "",
        table(same, truth),
        "",
        *costs(cost),
        "## Public bugs, rebuilt",
        "",
        "```text",
        bugs.getvalue().strip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--answers", type=Path, required=True)
    parser.add_argument("--commit", required=True, help="of the version that gave the answers")
    parser.add_argument("--cost", type=Path, help="what benchmarks/check/cost.py printed")
    chosen = parser.parse_args()
    PAGE.write_text(page(chosen.answers, chosen.commit, chosen.cost))
    print(json.dumps({"page": PAGE.name}))


if __name__ == "__main__":
    main()
