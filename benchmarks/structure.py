"""Readings of real models: do they succeed, how long do they take, and are the residual outputs the true ones?

For each model of ``models.json``: operations recorded, residual branches, seconds to read (the better of two), seconds
of the bare forward pass on the meta device, their ratio; precision and recall of the residual outputs against an oracle
that knows nothing of readings (``oracles.py``); with ``--renamed``, whether branches and roles stay when every
submodule gets a random name. Totals stand at the end. ``--cost`` shows seconds an operation over depth, and
``--large`` reads a Llama of 70 billion parameters on the meta device.

Run: python benchmarks/structure.py [--only NAME] [--small] [--renamed] [--cost] [--large] [--json]
"""

import argparse
import contextlib
import copy
import gc
import json
import resource
import sys
import time
import traceback
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from model_list import KEPT_ALIVE, Spec, listed  # first: it lets torchvision be imported

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "structure"))
import torch
from oracles import truth
from specimen import rename
from torch import nn
from torch.utils._pytree import tree_map

from exnihilo.errors import ExnihiloError, RecipeError
from exnihilo.plans.make import plan
from exnihilo.structure.reader import read
from exnihilo.structure.records import Structure

# A dozen that read within seconds: every source, every norm placement, packed, stacked and tied weights.
SMALL_SET = {
    *("hf:gpt2", "hf:llama", "hf:gemma2", "hf:mixtral", "hf:bert", "hf:t5", "hf:mamba", "hf:falcon", "hf:albert"),
    *(
        "torchvision:resnet18",
        "torchvision:densenet121",
        "timm:test_resnet",
        "plain:diffusion_unet",
        "plain:diffusion_transformer",
    ),
    "peft:llama+q_proj,v_proj",
}


@dataclass(kw_only=True)
class Row:
    """What is measured of one model."""

    name: str
    source: str
    mode: str = ""
    ops: int = 0
    branches: int = 0
    read_seconds: float = float("nan")
    forward_seconds: float = float("nan")
    oracle: str = ""
    true: int = 0
    found: int = 0
    right: int = 0
    missed: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    renamed: str = ""
    planned: str = ""
    error: str = ""

    @property
    def ratio(self) -> float:
        """Seconds to read over seconds of the bare forward pass."""
        return self.read_seconds / self.forward_seconds

    @property
    def slow(self) -> bool:
        """Slower than is promised: 1 s up to 2,000 operations, 1.5 bare forward passes above."""
        return self.read_seconds > 1.0 and (self.ops <= 2000 or not self.ratio <= 1.5)


def call(model: nn.Module, example: Any) -> Any:
    with torch.no_grad():
        return model(**example) if isinstance(example, dict) else model(*example)


def bare_forward(model: nn.Module, example: Any) -> float:
    """Seconds of a forward pass on the meta device, the better of two; nan where the model does not run there."""

    def to_meta(value: Any) -> Any:
        return value.to("meta") if isinstance(value, torch.Tensor) else value

    try:
        bare = copy.deepcopy(model).to("meta")
        moved = tree_map(to_meta, example)
        call(bare, moved)
        return min(seconds(lambda: call(bare, moved)) for _ in range(2))
    except Exception:
        return float("nan")


def seconds(work: Any) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def facts(structure: Structure, position: dict[str, int]) -> Any:
    """Branches and roles with every name replaced by the parameter's place in the model."""
    branches = [
        (
            *(sorted(position[name] for name in part) for part in (one.outputs, one.members, one.maps, one.scales)),
            (one.shortcut, one.norm, one.parent, one.ends_in),
        )
        for one in structure.branches
    ]
    return branches, [(position[one.name], one.role, one.layout, one.slices) for one in structure.parameters]


def numbered(structure: Structure) -> dict[str, int]:
    return {one.name: place for place, one in enumerate(structure.parameters)}


def measure(spec: Spec, arguments: argparse.Namespace) -> Row:
    """One row of the table; an error of any kind is a row too."""
    row = Row(name=spec.name, source=spec.source)
    try:
        model, example = spec.build(), spec.example()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            row.forward_seconds = bare_forward(model, example)
            started = time.perf_counter()
            structure = read(model, example)
            first = time.perf_counter() - started
            row.read_seconds = min(first, seconds(lambda: read(model, example)) if first < 20 else first)
        row.mode, row.ops, row.branches = structure.reading.mode, structure.reading.num_ops, len(structure.branches)
        judge(row, spec, model, structure)
        row.planned = planned(model, structure)
        if arguments.renamed:
            other = copy.deepcopy(model)
            rename(other)
            renamed = read(other, example)
            same = facts(renamed, numbered(renamed)) == facts(structure, numbered(structure))
            row.renamed = "same" if same else "DIFFERS"
    except Exception as problem:
        at = traceback.extract_tb(problem.__traceback__)[-1]
        row.error = f"{type(problem).__name__}: {problem} ({Path(at.filename).name}:{at.lineno})"
    return row


def judge(row: Row, spec: Spec, model: nn.Module, structure: Structure) -> None:
    known = truth(spec, model)
    if known is None:
        return
    row.oracle, true = known
    paths = {one.name: one.path for one in structure.parameters}
    found = {paths[name] for branch in structure.branches for name in branch.outputs}
    row.true, row.found, row.right = len(true), len(found), len(true & found)
    row.missed, row.extra = sorted(true - found), sorted(found - true)


def planned(model: nn.Module, structure: Structure) -> str:
    """Whether every parameter can be given He's law, and what becomes of the plan of zero residuals.

    A recipe that has nothing to do refuses, as it should: no branch, or all outputs are frozen.
    """
    try:
        plan(model, "he", structure=structure)
    except ExnihiloError as problem:
        print(f"    {str(problem).splitlines()[0]}")
        return "FAILED"
    try:
        plan(model, "zero-residual", structure=structure)
    except RecipeError:
        return "refused" if structure.branches else "no branch"
    return "ok"


def shown(row: Row) -> str:
    def number(value: float, text: str) -> str:
        return "-" if value != value else format(value, text)

    correct = "" if not row.oracle else f"{row.right}/{row.true}" + (f" +{len(row.extra)}" if row.extra else "")
    state = row.error.splitlines()[0][:110] if row.error else "slow" if row.slow else "ok"
    timing = f"{number(row.read_seconds, '7.3f')} {number(row.forward_seconds, '7.3f')} {number(row.ratio, '6.2f')}"
    counts = f"{row.mode:5}{row.ops:6}{row.branches:5}"
    return f"{row.name:42} {counts}  {timing}  {row.oracle:19}{correct:12}{row.planned:10}{row.renamed:8} {state}"


def totals(rows: list[Row]) -> dict[str, Any]:
    """The table in a few numbers."""
    read_ = [row for row in rows if not row.error]
    judged = [row for row in read_ if row.oracle]
    by_oracle = {
        oracle: {
            "models": len(group),
            "true": sum(row.true for row in group),
            "precision": sum(row.right for row in group) / max(1, sum(row.found for row in group)),
            "recall": sum(row.right for row in group) / max(1, sum(row.true for row in group)),
            "exact": sum(not row.missed and not row.extra for row in group),
        }
        for oracle in sorted({row.oracle for row in judged})
        if (group := [row for row in judged if row.oracle == oracle])
    }
    return {
        "models": len(rows),
        "read": len(read_),
        "read_and_planned": sum(row.planned != "FAILED" for row in read_),
        "share": sum(row.planned != "FAILED" for row in read_) / max(1, len(rows)),
        "slow": [row.name for row in read_ if row.slow],
        "renamed_differ": [row.name for row in read_ if row.renamed == "DIFFERS"],
        "plans": dict(Counter(row.planned for row in read_)),
        "modes": {mode: sum(row.mode == mode for row in read_) for mode in ("meta", "fake", "real")},
        "oracles": by_oracle,
        "ops": sum(row.ops for row in read_),
        "read_seconds": sum(row.read_seconds for row in read_),
    }


# --- cost -------------------------------------------------------------------------------------------------------------


class Deep(nn.Module):
    """A residual network of ``depth`` blocks with a norm and two maps each."""

    def __init__(self, depth: int, width: int = 8):
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.ups = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.downs = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for norm, up, down in zip(self.norms, self.ups, self.downs, strict=True):
            x = x + down(torch.relu(up(norm(x))))
        return x


def cost() -> list[dict[str, Any]]:
    """Seconds an operation, from 10 blocks to 1,000."""
    rows = []
    for depth in (10, 30, 100, 300, 1000):
        model, example = Deep(depth), torch.zeros(2, 8)
        structure = read(model, example)
        assert len(structure.branches) == depth
        best = min(seconds(lambda: read(model, example)) for _ in range(3))  # noqa: B023
        forward = bare_forward(model, (example,))
        ops = structure.reading.num_ops
        rows.append({"depth": depth, "ops": ops, "seconds": best, "per_op": best / ops, "forward": forward})
        print(
            f"depth {depth:5}  {ops:6} ops  read {best:7.3f} s  {1e6 * best / ops:6.1f} µs an op"
            f"  bare forward {forward:7.3f} s"
        )
    return rows


def large() -> dict[str, Any]:
    """A Llama of 70 billion parameters on the meta device: seconds, peak memory, branches."""
    import transformers

    config = transformers.LlamaConfig(
        hidden_size=8192,
        intermediate_size=28672,
        num_hidden_layers=80,
        num_attention_heads=64,
        num_key_value_heads=8,
        vocab_size=128256,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.perf_counter()
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    built = time.perf_counter() - started
    size = sum(parameter.numel() for parameter in model.parameters())
    example = {"input_ids": torch.ones((1, 128), dtype=torch.long)}
    started = time.perf_counter()
    structure = read(model, example)
    taken = time.perf_counter() - started
    started = time.perf_counter()
    state = planned(model, structure)
    plan_seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    outputs = {name.rsplit(".", 2)[1] for branch in structure.branches for name in branch.outputs}
    row = {
        "parameters": size,
        "build_seconds": built,
        "read_seconds": taken,
        "plan": state,
        "plan_seconds": plan_seconds,
        "ops": structure.reading.num_ops,
        "branches": len(structure.branches),
        "outputs": sorted(outputs),
        "peak_mb": peak,
        "peak_mb_before": before,
    }
    print(
        f"Llama, {size / 1e9:.1f} billion parameters: {len(structure.branches)} branches ({', '.join(sorted(outputs))})"
        f", {row['ops']} ops, read {taken:.2f} s, planned {plan_seconds:.2f} s ({state}), "
        f"peak {peak:.0f} MB of which {before:.0f} MB before the model"
    )
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", metavar="SUBSTRING", help="only models whose name contains it")
    parser.add_argument("--small", action="store_true", help="a dozen models that read within seconds")
    parser.add_argument("--renamed", action="store_true", help="read each model again under random module names")
    parser.add_argument("--cost", action="store_true", help="seconds an operation over depth, and nothing else")
    parser.add_argument("--large", action="store_true", help="a Llama of 70 billion parameters, and nothing else")
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON, and the table to standard error"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    assert KEPT_ALIVE is None or KEPT_ALIVE
    with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        found = asked(arguments)
    if arguments.json:
        print(json.dumps(found, indent=1))


def asked(arguments: argparse.Namespace) -> dict[str, Any]:
    """The figures that the arguments ask for; a table is printed on the way."""
    if arguments.cost or arguments.large:
        costs = {"cost": cost()} if arguments.cost else {}
        return costs | ({"large": large()} if arguments.large else {})
    specs = [one for one in listed() if not arguments.small or one.name in SMALL_SET]
    rows = []
    print(f"{'model':42} mode    ops  res     read forward  ratio  oracle             right")
    for spec in specs:
        if arguments.only is None or arguments.only in spec.name:
            rows.append(measure(spec, arguments))
            print(shown(rows[-1]), flush=True)
            for kind in ("missed", "extra"):
                for name in getattr(rows[-1], kind)[:6]:
                    print(f"    {kind} {name}")
            gc.collect()
    found = {"totals": totals(rows), "rows": [asdict(row) for row in rows]}
    print(json.dumps(found["totals"], indent=2))
    return found


if __name__ == "__main__":
    main()
