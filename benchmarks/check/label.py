"""Which injected faults are really there, and which of the graded ones do harm: by training, with plain PyTorch alone.

Structural: the named parameters do not move in 20 steps of gradient descent in float64 (at least half of the elements
of each, to 1e-12), or units of the first named one that are equal stay so. What does not hold is no case.

Graded: harmful where, with Adam at 3e-3 for 60 steps on the case's batch, the mean loss of the last 20 steps exceeds
that of the same architecture without the fault by more than a tenth of the clean one's first loss. A learning rate is
harmful where descent at that rate leaves the loss above its first value.

    python -m benchmarks.check.label [--shard 0/2]
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import warnings
from pathlib import Path

import torch
from benchmarks.check.cases import Case, cases
from benchmarks.check.faults import Injected
from benchmarks.check.subjects import Subject
from torch import Tensor, nn

LABELS = Path(__file__).with_name("labels.jsonl")
STEPS, LAST = 60, 20


def doubled(subject: Subject) -> Subject:
    """The same in float64."""
    model = copy.deepcopy(subject.model).double()
    batch = _to_double(subject.batch)
    return Subject(model, batch, subject.loss)


def _to_double(value: object) -> object:
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _to_double(entry) for key, entry in value.items()}
    return type(value)(_to_double(entry) for entry in value) if isinstance(value, tuple | list) else value


def losses(subject: Subject, optimizer: torch.optim.Optimizer, steps: int) -> list[float]:
    """The loss before each step."""
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        torch.manual_seed(0)  # one mask for all steps: what is compared is the start
        loss = subject.loss(subject.model, subject.batch)
        loss.backward()
        optimizer.step()
        found.append(float(loss.detach()))
    return found


def trained(model: nn.Module) -> list[nn.Parameter]:
    return [p for p in model.parameters() if p.requires_grad]


def holds(injected: Injected, expect: str) -> bool:
    """Whether a structural fault is really there."""
    subject = doubled(injected.subject)
    subject.model.train()
    before = {n: p.detach().clone() for n, p in subject.model.named_parameters()}
    losses(subject, torch.optim.SGD(trained(subject.model), lr=0.05), 20)
    after = dict(subject.model.named_parameters())
    if expect == "still":
        moved = [(after[n].detach() - before[n]).abs() for n in injected.parameters]
        return all(float((m < 1e-12).double().mean()) >= 0.5 for m in moved)
    rows = after[injected.parameters[0]].detach()
    rows = rows.reshape(rows.shape[0], -1)
    distinct = len({tuple(row) for row in (rows / rows.abs().max() * 1e7).round().tolist()})
    return distinct < rows.shape[0]


def harmful(case: Case, injected: Injected) -> tuple[bool, float, float]:
    """Whether a graded fault does harm, with the last losses of broken and clean."""
    clean = case.architecture.build(case.seed)
    for subject in (clean, injected.subject):
        subject.model.train()
    if injected.options is not None:
        first, *_, last = losses(
            injected.subject, torch.optim.SGD(trained(injected.subject.model), lr=injected.options["lr"]), 10
        )
        return not last <= first, last, first
    good = losses(clean, torch.optim.Adam(trained(clean.model), lr=3e-3), STEPS)
    bad = losses(injected.subject, torch.optim.Adam(trained(injected.subject.model), lr=3e-3), STEPS)
    clean_end, broken_end = (sum(found[-LAST:]) / LAST for found in (good, bad))
    return not broken_end <= clean_end + 0.1 * good[0], broken_end, clean_end


def label(case: Case) -> dict[str, object] | None:
    """What is true of a broken case; None where the fault has no home."""
    injected = case.build()
    if injected is None or case.fault is None:
        return None
    facts: dict[str, object] = {"case": case.name, "fault": case.fault.code, "kind": case.fault.kind}
    try:
        if case.fault.kind == "structural":
            return {**facts, "true": holds(injected, case.fault.expect)}
        is_harmful, broken, clean = harmful(case, injected)
        return {**facts, "true": is_harmful, "broken": _plain(broken), "clean": _plain(clean)}
    except (RuntimeError, ValueError) as error:
        return {**facts, "true": None, "error": str(error).splitlines()[0][:200]}


def _plain(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--shard", default="0/1")
    parser.add_argument("--seeds", type=int, default=1)
    chosen = parser.parse_args()
    part, of = map(int, chosen.shard.split("/"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    out = LABELS if of == 1 else LABELS.with_suffix(f".{part}.jsonl")
    done = {json.loads(line)["case"] for line in out.read_text().splitlines()} if out.exists() else set()
    with out.open("a") as file:
        for number, case in enumerate(cases(seeds=tuple(range(chosen.seeds)))):
            if case.fault is None or number % of != part or case.name in done:
                continue
            found = label(case)
            if found is not None:
                file.write(json.dumps(found) + "\n")
                file.flush()


if __name__ == "__main__":
    main()
