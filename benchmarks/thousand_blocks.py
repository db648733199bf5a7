"""A residual network of 1,000 blocks without normalization, on digits: PyTorch's own start against `zero-residual`.

Each block is ``x + down(relu(up(x)))``. For three learning rates and three seeds, both starts train on the same
batches with the same momentum; the losses on the training data before and after each epoch are printed, and at the end
how many runs of each start diverged (a loss that is not finite), stalled (above half of chance), or learned. Each start
is judged by its own best rate too, so that none is blamed for a rate that suits the other.

Run: python benchmarks/thousand_blocks.py [--blocks 1000] [--width 32] [--epochs 3] [--json]
"""

import argparse
import contextlib
import json
import math
import sys
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.lab.tasks import load, split, task_named

RATES, SEEDS, BATCH = (0.0003, 0.001, 0.003), (0, 1, 2), 64
CHANCE = math.log(10)


class Block(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.up, self.down = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.relu(self.up(x)))


def network(blocks: int, width: int, seed: int) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(64, width), *(Block(width) for _ in range(blocks)), nn.Linear(width, 10))


def zero_residual(model: nn.Module, seed: int) -> None:
    """The recipe, applied as a user would."""
    from exnihilo.plans.apply import initialize

    initialize(model, "zero-residual", torch.zeros(2, 64), seed)


def curve(model: nn.Module, data: Any, rate: float, seed: int, epochs: int) -> list[float]:
    """Mean training loss before and after each epoch; ends with inf where it diverged."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for epoch in range(epochs + 1):
        with torch.no_grad():
            loss = float(F.cross_entropy(model(data.inputs), data.targets))
        losses.append(loss if math.isfinite(loss) else math.inf)
        if epoch == epochs or not math.isfinite(loss):
            return losses
        for rows in torch.randperm(len(data.inputs), generator=generator).split(BATCH):
            optimizer.zero_grad()
            F.cross_entropy(model(data.inputs[rows]), data.targets[rows]).backward()
            optimizer.step()
    return losses


def outcome(losses: list[float]) -> str:
    if not math.isfinite(losses[-1]):
        return "diverged"
    return "learned" if losses[-1] < 0.5 * CHANCE else "stalled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=1000)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print every curve as JSON, the rest to standard error")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with contextlib.redirect_stdout(sys.stderr if arguments.json else sys.stdout):
        rows = curves(arguments)
        summarize(rows)
    if arguments.json:
        print(json.dumps(rows, indent=1))


def curves(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Both starts at every rate and seed."""
    data = split(task_named("digits"), load(task_named("digits")), 0).train
    rows = []
    for rate in RATES:
        for seed in SEEDS:
            for start in ("default", "zero-residual"):
                model = network(arguments.blocks, arguments.width, seed)
                if start == "zero-residual":
                    zero_residual(model, seed)
                losses = curve(model, data, rate, seed, arguments.epochs)
                rows.append({"start": start, "rate": rate, "seed": seed, "losses": losses, "outcome": outcome(losses)})
                shown = " ".join(f"{loss:9.3g}" for loss in losses)
                print(f"rate {rate:<6} seed {seed}  {start:14} {rows[-1]['outcome']:9} {shown}", flush=True)
    return rows


def summarize(rows: list[dict[str, Any]]) -> None:
    """Outcomes of each start, and its final losses at its best rate."""
    for start in ("default", "zero-residual"):
        by_rate = {
            rate: [row["losses"][-1] for row in rows if row["start"] == start and row["rate"] == rate] for rate in RATES
        }
        best = min(by_rate, key=lambda rate: sum(by_rate[rate]) / len(SEEDS))
        counts = {
            kind: sum(row["outcome"] == kind for row in rows if row["start"] == start)
            for kind in ("learned", "stalled", "diverged")
        }
        print(f"{start}: {counts}; at its best rate {best}: final losses {[round(one, 4) for one in by_rate[best]]}")


if __name__ == "__main__":
    main()
