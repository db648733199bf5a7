"""The whole benchmark: every tool in its own environment on the same cases, sharded over processes, resumable.

    python -m benchmarks.check.all [--every 1] [--seeds 3] [--workers 2] [--out .benchmark-check] [--only exnihilo]

Answers are kept in the output folder, one file a tool and shard; what is there is not asked again. It prints the table
for the held-out half and for all, and every miss of ours by name, and ends with 1 where a healthy model fails or a
structural fault is not found in more than one of a hundred.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path

from benchmarks.check.table import alarmed, judged, labels, missed, table
from benchmarks.check.tools import PINNED, TOOLS

ROOT = Path(__file__).parents[2]
ENVIRONMENTS = ROOT / ".rivals"


def python_of(tool: str) -> Path | None:
    """The interpreter of a tool: this one, or one of an environment with the rival beside what is installed here."""
    if tool not in PINNED:
        return Path(sys.executable)
    home = ENVIRONMENTS / tool
    python = home / "bin" / "python"
    if (home / ".complete").exists():
        return python
    print(f"installing {tool}=={PINNED[tool]}", flush=True)
    venv.create(home, with_pip=True, clear=True)
    packages = next((home / "lib").glob("python*")) / "site-packages"
    ours = Path(sys.prefix) / "lib" / packages.parent.name / "site-packages"
    (packages / "beside.pth").write_text(f"{ours}\n")  # one torch for all: what is compared is the tools
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", f"{tool}=={PINNED[tool]}"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        print(f"{tool} could not be installed: {done.stderr.strip().splitlines()[-1:]}", flush=True)
        return None
    (home / ".complete").touch()
    return python


def started(tool: str, python: Path, part: int, chosen: argparse.Namespace) -> subprocess.Popen[bytes]:
    out = chosen.out / f"{tool}.{part}of{chosen.workers}.jsonl"
    words = [tool, "--out", str(out), "--shard", f"{part}/{chosen.workers}", "--seeds", str(chosen.seeds)]
    words += ["--every", str(chosen.every), "--seconds", str(chosen.seconds)]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [python, "-m", "benchmarks.check.run", *words], cwd=ROOT, env=surroundings, stdout=subprocess.DEVNULL
    )


def asked(tool: str, chosen: argparse.Namespace) -> None:
    """Ask one tool about all cases, and say how it goes."""
    python = python_of(tool)
    if python is None:
        return
    began = time.perf_counter()
    running = [started(tool, python, part, chosen) for part in range(chosen.workers)]
    while any(process.poll() is None for process in running):
        time.sleep(1)
        if sys.stdout.isatty():
            print(f"\r{tool}: {len(answers(tool, chosen.out))} cases, {time.perf_counter() - began:.0f} s", end="")
    codes = [process.returncode for process in running]
    ended = "" if not any(codes) else f", and ended early with {codes}"
    print(f"\r{tool}: {len(answers(tool, chosen.out))} cases in {time.perf_counter() - began:.0f} s{ended}", flush=True)


def answers(tool: str, out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for path in sorted(out.glob(f"{tool}.*.jsonl")) for line in path.read_text().splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--out", type=Path, default=ROOT / ".benchmark-check")
    parser.add_argument("--only", nargs="*", choices=list(TOOLS), default=list(TOOLS))
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    for tool in chosen.only:
        asked(tool, chosen)
    truth = labels()
    found = {tool: answers(tool, chosen.out) for tool in chosen.only}
    found = {tool: rows for tool, rows in found.items() if rows}
    held_out = {tool: [row for row in rows if row["half"] == "held-out"] for tool, rows in found.items()}
    print(f"\nArchitectures held out from the choice of thresholds:\n\n{table(held_out, truth)}")
    print(f"\nAll:\n\n{table(found, truth)}\n")
    ours = found.get("exnihilo", [])
    print("\n".join(missed(ours, truth)))
    groups = judged(ours, truth)
    failed = [row for row in groups["healthy"] if alarmed(row, fail=True)]
    unfound = [row for row in groups["structural"] if not alarmed(row)]
    if failed or 100 * len(unfound) > max(len(groups["structural"]), 100):
        sys.exit(1)


if __name__ == "__main__":
    main()
