"""D1: zero initialization sets every weight and every bias to zero, and is simple."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor, nn

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.fills import Key
from exnihilo.lab.networks import Role, parameters
from exnihilo.lab.records import Network, Start
from exnihilo.lab.starts import begin
from exnihilo.lab.study import judging_seed
from exnihilo.layouts import Layout
from exnihilo.schemes import scheme_named

NETWORKS = {
    "plain MLP": Network(depth=3),
    "residual MLP": Network(depth=4, residual=True),
    "CNN": Network(kind="cnn", width=8),
}
ZERO = Start(name="zeros")
# Starts that the same count must find not to be zero: without them it could not tell.
CONTROLS = (
    Start(name="small_normal"),
    Start(name="xavier_normal"),
    Start(name="he_normal"),
    Start(name="torch_default"),
)
# A start that draws shows it at the second seed: these are counted, not averaged, whatever the preset.
SEEDS = 5
IMAGE = (1, 8, 8)
CLASSES = 10

# The cost of filling one square map of about a million values, beside PyTorch's own function on the same tensor.
SIDE = 1024
REPEATS = 3
FILLS: Mapping[str, Callable[[Tensor, torch.Generator], object]] = {
    "zeros": lambda w, g: nn.init.zeros_(w),
    "constant": lambda w, g: nn.init.constant_(w, 0.01),
    "normal": lambda w, g: nn.init.normal_(w, generator=g),
    "xavier_uniform": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "he_normal": lambda w, g: nn.init.kaiming_normal_(w, generator=g),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """The first values of one network under one start.

    Args:
        num_weights, num_biases: Values of the network.
        nonzero_weights, nonzero_biases: Of those, how many differ from +0 by bits, for the worst seed.
        num_variants: Different sets of values over all seeds.
    """

    network: str
    start: str
    num_weights: int
    num_biases: int
    nonzero_weights: int
    nonzero_biases: int
    num_variants: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Median seconds that a scheme, and PyTorch's own function for it, take to fill ``SIDE * SIDE`` values."""

    scheme: str
    seconds: float
    torch_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """All that was counted and timed."""

    begun: tuple[Begun, ...]
    costs: tuple[Cost, ...]


def measure(preset: Preset, seed: int) -> Outcome:
    """Counts what is not zero at the start, and times what it takes to get there."""
    del preset  # a certificate: neither tasks nor steps enter it
    seeds = [judging_seed(seed, index) for index in range(SEEDS)]
    begun = (_begun(label, network, start, seeds) for label, network in NETWORKS.items() for start in (ZERO, *CONTROLS))
    return Outcome(begun=tuple(begun), costs=tuple(map(_cost, FILLS)))


def _begun(label: str, network: Network, start: Start, seeds: Sequence[int]) -> Begun:
    found = parameters(network, IMAGE[1] * IMAGE[2], CLASSES, IMAGE)
    biases = [p.name for p in found if p.role is Role.BIAS]
    weights = [p.name for p in found if p.role is not Role.BIAS]
    values = [begin(start, found, seed) for seed in seeds]
    return Begun(
        network=label,
        start=start.label,
        num_weights=sum(values[0][name].numel() for name in weights),
        num_biases=sum(values[0][name].numel() for name in biases),
        nonzero_weights=max(_num_nonzero(of, weights) for of in values),
        nonzero_biases=max(_num_nonzero(of, biases) for of in values),
        num_variants=len({b"".join(of[p.name].numpy().tobytes() for p in found) for of in values}),
    )


def _num_nonzero(values: Mapping[str, Tensor], names: list[str]) -> int:
    # As integers: a zero with a sign has a bit that is not zero.
    return sum(int(values[name].contiguous().view(torch.int32).count_nonzero()) for name in names)


def _cost(name: str) -> Cost:
    scheme, layout = scheme_named(name), Layout.linear(SIDE, SIDE)
    weight, generator = torch.empty(SIDE, SIDE), torch.Generator().manual_seed(0)
    return Cost(
        scheme=name,
        seconds=_seconds(lambda: scheme.sample(layout, Key(0, "weight"))),
        torch_seconds=_seconds(lambda: FILLS[name](weight, generator)),
    )


def _seconds(act: Callable[[], object]) -> float:
    act()  # the first call loads what the others need
    taken: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        act()
        taken.append(time.perf_counter() - started)
    return median(taken)


def read(found: Found) -> Reading:
    """Counts of zero support the claim, others refute it; the controls show that the count can tell."""
    outcome: Outcome = found.measured
    zero = [begun for begun in outcome.begun if begun.start == ZERO.label]
    controls = [begun for begun in outcome.begun if begun.start != ZERO.label]
    cells = tuple(cell for begun in zero for cell in _cells(begun, can_tell=not _blind(controls)))
    verdict = conclude(cells)
    return Reading(
        verdict=verdict,
        finding=" ".join((_count(zero), _beside(controls), _price(outcome.costs))),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_counts(outcome.begun), _cost_table(outcome.costs)),
            figures=(_cost_figure(outcome.costs),),
        ),
    )


def _blind(controls: list[Begun]) -> list[str]:
    return sorted({begun.start for begun in controls if begun.nonzero_weights == 0})


def _count(zero: list[Begun]) -> str:
    wrong = sum(begun.nonzero_weights + begun.nonzero_biases for begun in zero)
    total = sum(begun.num_weights + begun.num_biases for begun in zero)
    variants = max(begun.num_variants for begun in zero)
    count = f"all {total:,} are exactly zero" if wrong == 0 else f"{wrong:,} of {total:,} are not zero"
    draws = "the same for every seed" if variants == 1 else f"in {variants} variants over the seeds"
    return f"Of the weights and biases of {len(zero)} networks, {count}, {draws}."


def _beside(controls: list[Begun]) -> str:
    if blind := _blind(controls):
        return f"But the same count finds no nonzero weight under {', '.join(blind)} either, so it cannot tell."
    alike = sorted({begun.start for begun in controls if begun.nonzero_biases == 0})
    if not alike:
        return "No other start sets even the biases to zero."
    return f"Zero biases are nothing special ({', '.join(alike)} have them too): the zero weights are."


def _cells(begun: Begun, *, can_tell: bool) -> tuple[Cell, ...]:
    is_zero = begun.nonzero_weights + begun.nonzero_biases == 0
    is_simple = begun.num_variants == 1
    return (
        Cell(
            where=f"all zero · {begun.network}",
            supports=is_zero if can_tell else None,
            finding=(
                f"{begun.nonzero_weights:,} of {begun.num_weights:,} weights and {begun.nonzero_biases:,} of "
                f"{begun.num_biases:,} biases differ from zero"
            ),
        ),
        Cell(
            where=f"simple · {begun.network}",
            supports=is_simple if can_tell else None,
            finding=f"{begun.num_variants} set{'s' if begun.num_variants > 1 else ''} of values over {SEEDS} seeds",
        ),
    )


def _price(costs: tuple[Cost, ...]) -> str:
    own = next(cost for cost in costs if cost.scheme == ZERO.name)
    dearest = max((cost for cost in costs if cost is not own), key=lambda cost: cost.seconds)
    return (
        f"Filling {SIDE * SIDE:,} values, once before training, took {_ms(own.seconds)} ms with zeros and "
        f"{_ms(dearest.seconds)} ms with {dearest.scheme}, the slowest beside it."
    )


def _ms(seconds: float) -> str:
    return f"{1e3 * seconds:.2g}" if seconds < 0.1 else f"{1e3 * seconds:.0f}"


def _counts(begun: tuple[Begun, ...]) -> Table:
    return Table(
        title="What is not zero at the start",
        columns=(
            "network",
            "start",
            "weights",
            "not zero",
            "biases",
            "not zero (biases)",
            f"variants over {SEEDS} seeds",
        ),
        rows=tuple(
            (b.network, b.start, b.num_weights, b.nonzero_weights, b.num_biases, b.nonzero_biases, b.num_variants)
            for b in begun
        ),
    )


def _cost_table(costs: tuple[Cost, ...]) -> Table:
    return Table(
        title=f"Cost of filling {SIDE * SIDE:,} values (measured on this machine, not part of the verdict)",
        columns=("scheme", "here, ms", "torch.nn.init, ms"),
        rows=tuple((c.scheme, round(1e3 * c.seconds, 3), round(1e3 * c.torch_seconds, 3)) for c in costs),
    )


def _cost_figure(costs: tuple[Cost, ...]) -> Figure:
    rows = [{"scheme": cost.scheme, "ms": 1e3 * cost.seconds, "by": "here, keyed draws"} for cost in costs]
    rows += [{"scheme": cost.scheme, "ms": 1e3 * cost.torch_seconds, "by": "torch.nn.init"} for cost in costs]
    return Figure(
        name="d1-cost",
        title="What it costs to fill a million values, by scheme",
        caption=f"Median of {REPEATS} fills of a {SIDE} x {SIDE} map on this machine; a training does it once.",
        mark="point",
        x=Axis(field="ms", title="milliseconds", scale="log"),
        y=Axis(field="scheme", title="scheme", kind="nominal"),
        color=Axis(field="by", title="", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

net = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
for parameter in net.parameters():
    torch.nn.init.zeros_(parameter)
for name, parameter in net.named_parameters():
    print(name, int(parameter.count_nonzero()), "of", parameter.numel(), "values are not zero")
"""

CLAIM = Claim(
    id="D1",
    title="What zero initialization is",
    statement="Zero initialization gives every weight and every bias of a network the value zero, and is simple.",
    basis="exact",
    rule=(
        f"The first values of {len(NETWORKS)} networks under {SEEDS} seeds are counted. A network whose weights and "
        "biases are all +0 by bits supports the claim; any other value refutes it. Simple means that nothing is drawn: "
        "one set of values for all seeds supports it, several refute it. Where the same count finds no nonzero weight "
        f"under one of {len(CONTROLS)} other starts, it cannot tell and all stays open. Times are shown, not counted."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
