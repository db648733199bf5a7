"""T3: what a training step costs from zero and from random weights, and how long the way to a target is."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from math import exp, isfinite, log

import torch
from torch import Tensor

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, factor_of
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Axis, Evidence, Figure, Table, Value
from exnihilo.claims.t2 import RANDOM, STEPS_RULE, ZERO, steps_cells, steps_needed
from exnihilo.fills import Key, normal
from exnihilo.lab.censored import median_steps, restricted_mean
from exnihilo.lab.outcomes import PairedOutcomes
from exnihilo.lab.records import Network, Verdict
from exnihilo.lab.study import Study, judging_seed
from exnihilo.lab.timing import Timing, take_turns
from exnihilo.lab.verdict import compare

STEPS = "T3 steps to a target"
BLOCKS, CALLS = 60, 20
# Steps whose cost differs by less than this share cost the same.
MARGIN = 0.05
# Below the smallest normal float32, 1.2e-38: some processors take many times as long over such numbers.
SUBNORMAL = 1e-40
SIZES = (64, 32, 32, 10)
BATCH = 32

ZEROS, SMALL, AGAIN, TINY = "all zero", "N(0, 0.01²)", "N(0, 0.01²), other values", f"{SUBNORMAL:g}, subnormal"


def measure(preset: Preset, seed: int) -> Timing:
    """Times plain PyTorch training steps that differ in nothing but the values that they start from."""
    del preset  # a step of one network on drawn inputs: neither tasks nor steps of a run enter it
    first, second = (judging_seed(seed, index) for index in range(2))
    values: Mapping[str, Callable[[str, int], Tensor]] = {
        ZEROS: lambda name, n: torch.zeros(n),
        SMALL: lambda name, n: normal(Key(first, name), n) * 0.01,
        AGAIN: lambda name, n: normal(Key(second, name), n) * 0.01,
        TINY: lambda name, n: torch.full((n,), SUBNORMAL),
    }
    with torch.inference_mode(mode=False), torch.enable_grad():
        return take_turns({label: _step(of, first) for label, of in values.items()}, blocks=BLOCKS, calls=CALLS)


def _step(value: Callable[[str, int], Tensor], seed: int) -> Callable[[], None]:
    """One step of gradient descent on one batch, of a network with these weights and zero biases."""
    # Linear layers fill themselves from the global generator: they are made without memory, and filled here.
    layers = [torch.nn.Linear(n, m, device="meta") for n, m in pairwise(SIZES)]
    net = torch.nn.Sequential(layers[0], torch.nn.ReLU(), layers[1], torch.nn.ReLU(), layers[2]).to_empty(device="cpu")
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            is_weight = parameter.ndim > 1
            parameter.copy_(value(name, parameter.numel()).view_as(parameter) if is_weight else torch.zeros(()))
    inputs = normal(Key(seed, "inputs"), BATCH * SIZES[0]).view(BATCH, SIZES[0])
    targets = torch.arange(BATCH) % SIZES[-1]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()

    return step


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The runs of T2 again, read as time."""
    return (
        preset.study(
            STEPS,
            "Does an all-zero start need fewer steps to a target than small random weights?",
            seed=seed,
            networks=(Network(),),
            # Without a baseline: the steps are compared here, by `steps_cells`, and no later look is asked for.
            starts=(RANDOM, ZERO),
            metric="train_loss",
        ),
    )


def read(found: Found) -> Reading:
    """Two clauses: the cost of a step, and the steps to a target in each task."""
    timing: Timing = found.measured
    verdict = cost_verdict(timing)
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}[verdict.outcome]
    cost = cell_of("time per step", verdict, _cost_finding(verdict), supports=supports)
    cells = (cost, *steps_cells(found, STEPS, share=0.5))
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, timing, verdict),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells, tables=(_costs(timing), _ways(found, timing)), figures=(_blocks(timing), _clock(found, timing))
        ),
    )


def cost_verdict(timing: Timing) -> Verdict:
    """Zero against small random weights in log CPU time of a step, paired by block; half of the claim's alpha."""
    pair = PairedOutcomes.of(*([log(second) for second in timing.seconds[label]] for label in (ZEROS, SMALL)))
    [verdict] = compare(
        {"a step from zero against one from small random weights": pair},
        margin=log(1 + MARGIN),
        alpha=ALPHA / 2,
        higher_is_better=False,
    )
    return verdict


def _cost_finding(verdict: Verdict) -> str:
    low, high = (100 * (exp(-end) - 1) for end in reversed(verdict.interval))
    interval = f", interval {low:+.1f} to {high:+.1f} %" if isfinite(low) and isfinite(high) else ""
    change = 100 * (exp(-verdict.estimate) - 1)
    return f"From zero a step takes {change:+.1f} % of the CPU time from random weights{interval} ({verdict.outcome})."


def _finding(found: Found, timing: Timing, verdict: Verdict) -> str:
    zero, random = (
        [steps_needed(r) for place in found.studies[STEPS].places for r in found.judged(STEPS, place, start)]
        for start in (ZERO, RANDOM)
    )
    same = {
        "equivalent": "the values do not matter",
        "better": "zero is faster",
        "worse": "zero is slower",
        "undecided": "the difference stays open",
    }[verdict.outcome]
    return (
        f"A training step costs {1e6 * timing.median(ZEROS):.0f} µs from zero and {1e6 * timing.median(SMALL):.0f} µs "
        f"from random weights: {same}. To half of the loss of guessing, {sum(map(isfinite, zero))} of {len(zero)} "
        f"zero runs ever get, and {sum(map(isfinite, random))} of {len(random)} small random ones. Subnormal weights "
        f"of {SUBNORMAL:g} cost {timing.median(TINY) / timing.median(SMALL):.2f} times as much as random ones on this "
        "machine."
    )


def _costs(timing: Timing) -> Table:
    rows = tuple(
        (label, 1e6 * timing.median(label), timing.median(label) / timing.median(SMALL), timing.num_blocks)
        for label in timing.seconds
    )
    return Table(
        title="CPU time of a training step by its weights",
        columns=("weights", "median µs", "relative to N(0, 0.01²)", "blocks"),
        rows=rows,
    )


def _ways(found: Found, timing: Timing) -> Table:
    rows: list[tuple[Value, ...]] = []
    for place in found.studies[STEPS].places:
        for start, label in ((RANDOM, SMALL), (ZERO, ZEROS)):
            steps = [steps_needed(record) for record in found.judged(STEPS, place, start)]
            middle = median_steps(steps)
            rows.append(
                (
                    place.task,
                    start.label,
                    sum(map(isfinite, steps)),
                    len(steps),
                    middle,
                    restricted_mean(steps, found.studies[STEPS].steps),
                    None if middle is None else 1e3 * middle * timing.median(label),
                )
            )
    return Table(
        title=(
            "The way to half of the loss of guessing (a dash: not half of the runs get there; in the mean, a run that "
            "never gets there counts with all its steps)"
        ),
        columns=(
            "task",
            "start",
            "runs that get there",
            "of",
            "Kaplan-Meier median of steps",
            "restricted mean of steps",
            "CPU ms to the median",
        ),
        rows=tuple(rows),
    )


def _blocks(timing: Timing) -> Figure:
    return Figure(
        name="t3-step",
        title="CPU time of a training step, in turns",
        caption=(
            f"MLP {'-'.join(map(str, SIZES))}, batch {BATCH}, SGD with momentum, one thread; each dot is the fastest "
            f"of {CALLS} steps, {timing.num_blocks} blocks in turns."
        ),
        mark="line",
        x=Axis(field="block", title="block"),
        y=Axis(field="us", title="µs per step, log scale", scale="log"),
        color=Axis(field="weights", title="weights at the start", kind="nominal"),
        rows=tuple(
            {"weights": label, "block": block + 1, "us": 1e6 * second}
            for label, seconds in timing.seconds.items()
            for block, second in enumerate(seconds)
        ),
    )


def _clock(found: Found, timing: Timing) -> Figure:
    groups = {
        (place.task, start.label): found.judged(STEPS, place, start)
        for place in found.studies[STEPS].places
        for start in (RANDOM, ZERO)
    }
    cost = {RANDOM.label: timing.median(SMALL), ZERO.label: timing.median(ZEROS)}
    drawn = figures.curves(
        "t3-clock", "Training loss by CPU time", groups, y_title="training loss, log scale", scale="log"
    )
    return replace(
        drawn,
        caption=f"{drawn.caption} Steps times the measured cost of a step of the {'-'.join(map(str, SIZES))} network.",
        x=Axis(field="ms", title="CPU time, ms"),
        rows=tuple({**row, "ms": 1e3 * float(row["step"] or 0) * cost[str(row["start"])]} for row in drawn.rows),
    )


SNIPPET = """\
import time
import torch

def seconds_per_step(fill, steps=300):
    net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    for parameter in net.parameters():
        fill(parameter)
    sgd, x, y = torch.optim.SGD(net.parameters(), lr=0.01), torch.ones(32, 64), torch.arange(32) % 10
    begun = time.process_time()
    for _ in range(steps):
        torch.nn.functional.cross_entropy(net(x), y).backward()
        sgd.step(), sgd.zero_grad()
    return (time.process_time() - begun) / steps

print({fill.__name__: seconds_per_step(fill) for fill in [torch.nn.init.zeros_, torch.nn.init.normal_] * 2})
"""

CLAIM = Claim(
    id="T3",
    title="Training time",
    statement="A network trains faster from zero (125 s) than from random weights (180 s).",
    basis="measured",
    rule=(
        f"The CPU time of a training step from zero against one from N(0, 0.01²), in {BLOCKS} blocks of {CALLS} steps "
        f"taken in turns (sign-flip test of log ratios, alpha {ALPHA / 2:g}): shorter supports; longer, or equal "
        f"within {100 * MARGIN:g} %, refutes. In each task the steps to half of the loss of guessing (the other half "
        f"of alpha {ALPHA:g}, shared among the tasks), {STEPS_RULE}"
    ),
    read=read,
    studies=studies,
    measure=measure,
    snippet=SNIPPET,
)
