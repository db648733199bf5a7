"""Batched training against a plain sequential PyTorch loop, on one thread, in CPU time.

For each network and optimizer, rounds of A B A B: the plain loop trains a few runs, the engine trains 64 at once, both
with their own data order and rate; the ratio of run-steps a second is taken within each
round and its median is printed. Set-up (data, first values, the two evaluations that a record needs at least) is left
out on both sides: the engine's rate is that of the steps by which a long call exceeds a short one.

Run: python benchmarks/engine.py [--rounds 5] [--steps 800] [--runs 64] [--json]
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from exnihilo.lab.engine import train
from exnihilo.lab.records import Network, Optimizer, Run, Start
from exnihilo.lab.tasks import load, split, task_named

CASES = (
    ("64-32-32-10, batch 32", Network(width=32), 32, "momentum", 12.0),
    ("64-32-32-10, batch 32", Network(width=32), 32, "adam", 12.0),
    ("64-128-128-10, batch 64", Network(width=128), 64, "momentum", 3.0),
    ("64-128-128-10, batch 64", Network(width=128), 64, "adam", 3.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One network and optimizer: run-steps a CPU second of both sides (medians), and their ratio in each round."""

    case: str
    optimizer: str
    runs: int
    ratios: tuple[float, ...]
    plain: float
    batched: float
    wanted: float


def plain(network: Network, batch_size: int, optimizer: str, steps: int) -> float:
    """Run-steps a CPU second of the loop that anyone would write."""
    data = split(task_named("digits"), load(task_named("digits")), 0).train
    widths = (64, *[network.width] * network.depth, 10)
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    rule = (
        torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        if optimizer == "momentum"
        else torch.optim.Adam(model.parameters(), lr=0.001)
    )
    generator = torch.Generator().manual_seed(0)
    order = torch.randint(len(data.inputs), (steps, batch_size), generator=generator)
    started = time.process_time()
    for rows in order:
        rule.zero_grad()
        F.cross_entropy(model(data.inputs[rows]), data.targets[rows]).backward()
        rule.step()
    return steps / (time.process_time() - started)


def batched(network: Network, batch_size: int, optimizer: str, steps: int, count: int, first_seed: int) -> float:
    """Run-steps a CPU second of the engine."""
    runs = [
        Run(
            task="digits",
            network=network,
            start=Start(name="he_normal"),
            optimizer=Optimizer(name=optimizer),
            lr=0.001 * 1.1**index,
            seed=first_seed + index,
            steps=steps,
            batch_size=batch_size,
            evaluations=1,
            measurements=1,
        )
        for index in range(count)
    ]

    def seconds(num_steps: int) -> float:
        started = time.process_time()
        train(task_named("digits"), [replace(run, steps=num_steps) for run in runs])
        return time.process_time() - started

    few = steps // 8
    short, long = seconds(few), seconds(steps)
    return count * (steps - few) / (long - short)


def measured(*, rounds: int, steps: int, runs: int) -> Iterator[Measured]:
    for name, network, batch_size, optimizer, wanted in CASES:
        batched(network, batch_size, optimizer, 16, runs, 0)
        pairs = [
            (plain(network, batch_size, optimizer, 200), batched(network, batch_size, optimizer, steps, runs, 0))
            for _ in range(rounds)
        ]
        yield Measured(
            case=name,
            optimizer=optimizer,
            runs=runs,
            ratios=tuple(fast / slow for slow, fast in pairs),
            plain=statistics.median(slow for slow, _ in pairs),
            batched=statistics.median(fast for _, fast in pairs),
            wanted=wanted,
        )


def line(of: Measured) -> str:
    return (
        f"{of.case}, {of.optimizer}: {statistics.median(of.ratios):.2f}x "
        f"(rounds {min(of.ratios):.2f} to {max(of.ratios):.2f}; asked: {of.wanted:g}x); "
        f"plain {of.plain:,.0f} run-steps/s, batched {of.batched:,.0f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=800)
    parser.add_argument("--runs", type=int, default=64)
    parser.add_argument("--json", action="store_true", help="print all at the end, as JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: list[Measured] = []
    for of in measured(rounds=options.rounds, steps=options.steps, runs=options.runs):
        found.append(of)
        if not options.json:
            print(line(of), flush=True)
    if options.json:
        print(json.dumps([asdict(of) for of in found], indent=2))


if __name__ == "__main__":
    main()
