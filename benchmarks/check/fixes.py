"""How often the suggested fix, applied, passes its check and trains to within noise of the healthy model.

Of every broken case whose fault is there: the remedies that write parameters are applied (`fix(..., unsafe=True)`), the
model is checked again, and trained for 60 Adam steps beside the same architecture without the fault. It succeeds where
nothing fails any more and the mean of the last 20 losses is at most a tenth of the first clean loss above the clean one's.

    python -m benchmarks.check.fixes [--every 4] [--shard 0/2]
"""

from __future__ import annotations

import argparse
import json
import warnings

import torch

from benchmarks.check.cases import cases
from benchmarks.check.label import LAST, STEPS, losses, trained
from benchmarks.check.run import in_sample
from benchmarks.check.table import labels


def main() -> None:
    from exnihilo import check, fix
    from exnihilo.errors import ExnihiloError

    parser = argparse.ArgumentParser()
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--shard", default="0/1")
    chosen = parser.parse_args()
    part, of = map(int, chosen.shard.split("/"))
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    truth = labels()
    counted = succeeded = code_only = 0
    for number, case in enumerate(cases(seeds=(0,))):
        if number % of != part or not truth.get(case.name) or not in_sample(case.name, chosen.every):
            continue
        injected = case.build()
        if injected is None or injected.options is not None:
            continue
        subject = injected.subject
        found = check(subject.model, subject.batch, subject.loss)
        if not any(f.remedy is not None and f.remedy.edits for f in found.with_severity("FAIL", "WARN")):
            code_only += bool(found.with_severity("FAIL", "WARN"))
            continue
        counted += 1
        try:
            fix(found, subject.model, unsafe=True)
        except ExnihiloError as error:
            print(json.dumps({"case": case.name, "error": error.fact[:100]}), flush=True)
            continue
        passes = check(subject.model, subject.batch, subject.loss).ok
        clean = case.architecture.build(case.seed)
        good = losses(clean, torch.optim.Adam(trained(clean.model.train()), lr=3e-3), STEPS)
        mended = losses(subject, torch.optim.Adam(trained(subject.model.train()), lr=3e-3), STEPS)
        ends = [sum(found_[-LAST:]) / LAST for found_ in (good, mended)]
        trains = ends[1] <= ends[0] + 0.1 * good[0]
        succeeded += passes and trains
        if not (passes and trains):
            print(json.dumps({"case": case.name, "passes": passes, "clean": ends[0], "mended": ends[1]}), flush=True)
    print(json.dumps({"with_edits": counted, "succeeded": succeeded, "code_only": code_only}))


if __name__ == "__main__":
    main()
