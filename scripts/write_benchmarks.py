"""Writes the figures of docs/benchmarks.md from what the benchmarks print, so that none is typed by hand.

Each table stands between its two markers, ``<!-- begin: NAME -->`` and ``<!-- end: NAME -->``.

    python scripts/write_benchmarks.py                  runs all of them, some minutes; the machine should be idle
    python scripts/write_benchmarks.py --only ledger    runs one, and leaves the other table as it is
"""

import argparse
import datetime
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "benchmarks.md"

Rows = Sequence[Mapping[str, Any]]


def engine_table(rows: Rows) -> list[str]:
    """Ratios of the batched engine to a plain loop."""
    columns = ("network", "optimizer", "ratio", "rounds", "plain loop, run-steps/s", "engine, run-steps/s")
    return table(
        columns,
        [
            (
                row["case"],
                row["optimizer"],
                f"**{median(row['ratios']):.1f}×**",
                f"{min(row['ratios']):.1f} to {max(row['ratios']):.1f}, n = {len(row['ratios'])}",
                f"{row['plain']:,.0f}",
                f"{row['batched']:,.0f}",
            )
            for row in rows
        ],
    )


def ledger_table(rows: Rows) -> list[str]:
    """Seconds of planning and of the ledger's answers."""
    return table(
        ("work", "wall time", "rounds", "CPU time", "goal"),
        [
            (
                row["work"],
                f"**{median(row['wall']):.2f} s**",
                f"{min(row['wall']):.2f} to {max(row['wall']):.2f} s, n = {len(row['wall'])}",
                f"{median(row['cpu']):.2f} s",
                f"{row['goal']:g} s",
            )
            for row in rows
        ],
    )


def structure_table(found: Any) -> list[str]:
    """How many real models are read, and how rightly."""
    totals = found["totals"]
    rows = [
        ("read without an error", f"**{totals['read']} of {totals['models']}**"),
        ("read, and planned with the recipe `he`", f"**{totals['read_and_planned']} of {totals['models']}**"),
        ("other branches or roles when every submodule is renamed", f"**{len(totals['renamed_differ'])}**"),
        ("slower than 1 s, and than 1.5 × the bare forward pass", ", ".join(totals["slow"]) or "**0**"),
        *(
            (
                f"residual outputs by `{oracle}`: {row['models']} models, {row['true']} outputs",
                f"precision **{row['precision']:.2%}**, recall **{row['recall']:.2%}**",
            )
            for oracle, row in totals["oracles"].items()
        ),
    ]
    return table(("of the models", "figure"), rows)


def reading_table(found: Any) -> list[str]:
    """What reading costs, by depth and for a large model."""
    rows = [
        (
            f"{row['depth']} residual blocks",
            f"{row['ops']:,}",
            f"**{row['seconds']:.3f} s**",
            f"{1e6 * row['per_op']:.0f} µs",
            f"{row['forward']:.3f} s",
        )
        for row in found["cost"]
    ]
    large = found["large"]
    name = f"Llama, {large['parameters'] / 1e9:.1f} billion parameters; peak {large['peak_mb']:,.0f} MB"
    taken = f"**{large['read_seconds']:.2f} s**, plan {large['plan_seconds']:.2f} s"
    per_op = f"{1e6 * large['read_seconds'] / large['ops']:.0f} µs"
    columns = ("model", "operations", "read", "an operation", "bare forward pass")
    return table(columns, [*rows, (name, f"{large['ops']:,}", taken, per_op, "–")])


def fills_table(found: Any) -> list[str]:
    """Ratios of our fills to torch.nn.init's, beside what is asked, and how near both come to writing alone."""
    rows = [
        (
            row["case"],
            f"**{row['one'][0]:.1f}×** ({row['one'][1]:.1f} to {row['one'][2]:.1f}, n = {row['rounds']})",
            asked(row["wanted"][0]),
            f"**{row['two'][0]:.1f}×** ({row['two'][1]:.1f} to {row['two'][2]:.1f})",
            asked(row["wanted"][1]),
            f"{row['of_fill'][0]:.2f} / {row['of_fill'][1]:.2f}",
            f"{row['rate'] / 1e6:,.0f}",
            *([f"{row['defects'][1]:.1e} / {row['defects'][0]:.1e}"] if row["defects"] else []),
        )
        for part in ("laws", "orthogonal")
        for row in found.get(part, [])
    ]
    columns = ("law", "one core", "asked", "two cores", "asked", "of `fill_`, one / two", "million/s")
    more = ("defect, ours / torch's",) if len(rows[0]) > len(columns) else ()
    return [*table((*columns, *more), rows), "", f"Kernel: {found['kernel']}."]


def asked(ratio: float) -> str:
    """What a ratio should reach; a dash where nothing was asked."""
    return f"{ratio:g}×" if ratio else "–"


def small_table(found: Any) -> list[str]:
    """Microseconds a call for tensors of 256 elements."""
    columns = ("call", "torch.nn.init", "exnihilo.init", "ratio", "with a key", "ratio")
    return table(
        columns,
        [
            (
                f"`{row['call']}`",
                f"{row['torch']:.2f} µs, n = {row['rounds']}",
                f"{row['ours']:.2f} µs",
                f"**{row['ours'] / row['torch']:.2f}**",
                f"{row['keyed']:.2f} µs",
                f"**{row['keyed'] / row['torch']:.2f}**",
            )
            for row in found["small"]
        ],
    )


def building_table(rows: Rows) -> list[str]:
    """Seconds of building a model from its configuration."""
    columns = ("model", "parameters", "its own", "recorded", "one core", "asked", "two cores", "asked")
    return table(
        columns,
        [
            (
                row["model"],
                f"{row['parameters'] / 1e6:,.0f} million",
                f"{median(row['theirs'][0]):.2f} s, n = {len(row['theirs'][0])}",
                f"{median(row['ours'][0]):.2f} s",
                f"**{median(row['theirs'][0]) / median(row['ours'][0]):.1f}×**",
                asked(row["wanted"][0]),
                f"**{median(row['theirs'][1]) / median(row['ours'][1]):.1f}×**",
                asked(row["wanted"][1]),
            )
            for row in rows
        ],
    )


# Each block: the script that measures it, its options, and how its figures are laid out.
TABLES: Mapping[str, tuple[str, tuple[str, ...], Callable[[Any], list[str]]]] = {
    "engine": ("engine", (), engine_table),
    "ledger": ("ledger", (), ledger_table),
    "structure": ("structure", ("--renamed",), structure_table),
    "reading": ("structure", ("--cost", "--large"), reading_table),
    "fills": ("fills", ("--only", "laws"), fills_table),
    "orthogonal": ("fills", ("--only", "orthogonal"), fills_table),
    "small": ("fills", ("--only", "small"), small_table),
    "building": ("building", (), building_table),
}


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def rewritten(text: str, name: str, lines: Sequence[str]) -> str:
    """The page with one block written anew, and nothing else changed.

    Raises:
        SystemExit: The page has no markers of that name.
    """
    begin, end = f"<!-- begin: {name} -->", f"<!-- end: {name} -->"
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), flags=re.DOTALL)
    if not pattern.search(text):
        raise SystemExit(f"{PAGE.relative_to(ROOT)} has no markers {begin} and {end}")
    return pattern.sub(lambda _: "\n".join([begin, *lines, end]), text)


def machine_class(cpuinfo: str) -> str:
    """The kind of machine, which names no host.

    Args:
        cpuinfo: What /proc/cpuinfo says; empty where there is none.
    """
    model = re.search(r"^model name\s*: (.+)$", cpuinfo, re.MULTILINE)
    shared = "shared " if re.search(r"^flags\s*:.* hypervisor\b", cpuinfo, re.MULTILINE) else ""
    name = model[1].strip() if model else platform.machine()
    return f"{os.cpu_count()} {shared}{name} cores, one thread"


def measured(script: str, arguments: Sequence[str]) -> Any:
    """What one benchmark prints, on one thread."""
    command = [sys.executable, str(ROOT / "benchmarks" / f"{script}.py"), "--json", *arguments]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)


def origin() -> str:
    """When and where the figures were measured, and with what."""
    import torch  # slow to import, and not needed to lay out a table

    path = Path("/proc/cpuinfo")
    where = machine_class(path.read_text() if path.exists() else "")
    date = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    return f"Measured on {date}: {where}; Python {platform.python_version()}, torch {torch.__version__}."


def main() -> None:
    """Reads the arguments, runs, writes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=tuple(TABLES), default=tuple(TABLES))
    parser.add_argument(
        "--rounds", type=int, help="of engine, ledger and building; else as many as they take by themselves"
    )
    options = parser.parse_args()
    for name in options.only:
        script, arguments, layout = TABLES[name]
        rounds = (
            ("--rounds", str(options.rounds)) if options.rounds and script in ("engine", "ledger", "building") else ()
        )
        lines = [*layout(measured(script, (*arguments, *rounds))), "", origin()]
        PAGE.write_text(rewritten(PAGE.read_text(encoding="utf-8"), name, lines), encoding="utf-8")
        print(f"{name}:", *lines, sep="\n", flush=True)


if __name__ == "__main__":
    main()
