"""Asks one tool about all cases, in one process: answers, times and what was left changed, one JSON line a case.

    python -m benchmarks.check.run TOOL --out FILE [--shard 0/2] [--seeds 3] [--every 1] [--seconds 30]

It resumes: cases that the file holds are not asked again. A case that takes longer than its limit, or that the tool
cannot run, is an answer too.
"""

from __future__ import annotations

import argparse
import copy
import hashlib
import json
import random
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmarks.check.cases import Case, cases
from benchmarks.check.faults import Injected
from benchmarks.check.tools import TOOLS, asked
from torch import nn


def state(model: nn.Module) -> list[Any]:
    """All that a tool might leave changed."""
    tensors = [*model.named_parameters(), *model.named_buffers()]
    return [
        [(n, t.dtype, t.requires_grad, t.detach().float().sum().item(), t.grad is None) for n, t in tensors],
        [(n, m.training) for n, m in model.named_modules()],
        [{k: len(v) for k, v in vars(m).items() if k.endswith("_hooks")} for m in model.modules()],
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state()[1].tolist(),  # noqa: NPY002
    ]


def step_seconds(injected: Injected) -> float:
    """One training step with AdamW in float32, the fastest of three."""
    subject = injected.subject
    model = copy.deepcopy(subject.model).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        subject.loss(model, subject.batch).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.perf_counter() - began)
    return min(times)


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    def stop(_signal: int, _frame: object) -> None:
        raise TimeoutError(f"more than {seconds:g} s")

    was = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, was)


def answered(tool: str, case: Case, injected: Injected, seconds: float) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "case": case.name,
        "half": case.architecture.half,
        "fault": case.fault.code if case.fault else "",
        "kind": case.fault.kind if case.fault else "healthy",
        "truth": list(injected.parameters),
    }
    facts["step"] = step_seconds(injected)
    before = state(injected.subject.model)
    began = time.perf_counter()
    try:
        with limited(seconds):
            answer = asked(tool, injected)
        facts |= {"severity": answer.severity, "named": list(answer.named[:40]), "found": list(answer.found[:10])}
    except Exception as error:  # whatever a tool raises is its answer
        facts |= {"severity": "error", "named": [], "found": [f"{type(error).__name__}: {str(error)[:160]}"]}
    facts["seconds"] = time.perf_counter() - began
    facts["changed"] = state(injected.subject.model) != before
    return facts


def in_sample(name: str, every: int) -> bool:
    """Whether a case is among every so many, by the hash of its name: the same ones for all tools."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") % every == 0


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("tool", choices=list(TOOLS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--every", type=int, default=1, help="take one of so many cases: a sample")
    parser.add_argument("--seconds", type=float, default=30.0)
    chosen = parser.parse_args()
    part, of = map(int, chosen.shard.split("/"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    done = {json.loads(line)["case"] for line in chosen.out.read_text().splitlines()} if chosen.out.exists() else set()
    with chosen.out.open("a") as file:
        for number, case in enumerate(cases(seeds=tuple(range(chosen.seeds)))):
            if number % of != part or not in_sample(case.name, chosen.every) or case.name in done:
                continue
            injected = case.build()
            if injected is not None:
                file.write(json.dumps(answered(chosen.tool, case, injected, chosen.seconds)) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
