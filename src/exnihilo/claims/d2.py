"""D2: with a suitable activation, such as ReLU, zero initialization breaks the symmetry."""

from collections.abc import Mapping, Sequence
from statistics import mean

from exnihilo.claims.claim import Claim, Found, Reading, conclude
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.claims.tables import counted
from exnihilo.lab.networks import maps
from exnihilo.lab.records import Network, Optimizer, RunRecord, Start
from exnihilo.lab.study import Study
from exnihilo.schemes.activations import ACTIVATIONS

WATCH = "D2 every step"
LONG = "D2 long"
ZERO = Start(name="zeros")
BESIDE = Start(name="he_normal")
NAMED = "relu"  # by the article
DEPTH, WIDTH = 3, 16
OPTIMIZERS = (Optimizer(name="sgd"), Optimizer(name="adam"))
LRS = (0.01, 0.1)
# Each map needs one step more than the one above it: 4 steps open them all, the others show what follows.
STEPS = 12
NUM_TASKS = 2
# The long runs: one activation of each kind, measured a few times.
LONG_ACTIVATIONS = ("relu", "sigmoid", "softplus")
LONG_STEPS, LONG_MEASUREMENTS, LONG_LR = 300, 6, 0.01


def network_of(activation: str) -> Network:
    """The network that is watched."""
    return Network(depth=DEPTH, width=WIDTH, activation=activation)


def watched(preset: Preset, seed: int, *, name: str, question: str, activations: Sequence[str]) -> Study:
    """A few steps from all zeros, with gradients and units measured at each of them."""
    return preset.study(
        name,
        question,
        seed=seed,
        networks=tuple(map(network_of, activations)),
        starts=(ZERO,),
        tasks=preset.tasks[:NUM_TASKS],
        optimizers=OPTIMIZERS,
        lrs=LRS,
        policy="grid",
        looks=(1,),  # counted by bits at every step: one run says what all say
        steps=STEPS,
        evaluations=1,
        measurements=STEPS,
    )


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Every activation for a few steps, and three of them for longer beside a random start."""
    question = "Does any activation let an all-zero network tell its units apart?"
    return (
        watched(preset, seed, name=WATCH, question=question, activations=tuple(ACTIVATIONS)),
        preset.study(
            LONG,
            question,
            seed=seed,
            networks=tuple(map(network_of, LONG_ACTIVATIONS)),
            starts=(ZERO, BESIDE),
            tasks=preset.tasks[NUM_TASKS - 1 : NUM_TASKS],
            optimizers=OPTIMIZERS[1:],
            lrs=(LONG_LR,),
            policy="grid",
            looks=(1,),  # counted by bits, as above
            steps=LONG_STEPS,
            evaluations=LONG_MEASUREMENTS,
            measurements=LONG_MEASUREMENTS,
        ),
    )


def runs_of(found: Found, study: str, start: Start = ZERO) -> Mapping[str, tuple[RunRecord, ...]]:
    """The runs of a start by activation, over tasks, optimizers and rates."""
    of = found.studies[study]
    runs: dict[str, tuple[RunRecord, ...]] = {}
    for place in of.places:
        here = (record for lr in of.lrs for record in found.judged(study, place, start, lr))
        runs[place.network.activation] = (*runs.get(place.network.activation, ()), *here)
    return runs


def widest(records: Sequence[RunRecord]) -> int:
    """The most units, of any hidden layer at any measured step of any run, that differ by more than rounding.

    A run with NaN counts 0 units.
    """
    return max(width for record in records for widths in record.effective_width_relative for width in widths)


def widest_by_bits(records: Sequence[RunRecord]) -> int:
    """The same, where a difference of one bit is enough."""
    return max(width for record in records for widths in record.effective_width for width in widths)


def is_known(records: Sequence[RunRecord]) -> bool:
    """Whether the units could be told apart at all: not so behind NaN."""
    return all(width > 0 for record in records for widths in record.effective_width_relative for width in widths)


def openings(records: Sequence[RunRecord]) -> tuple[int | None, ...]:
    """For each map the first step, of any run, at which its weight has a gradient; None where it never has."""
    steps: list[int | None] = []
    for index in range(len(records[0].layers)):
        opened = (
            step + 1
            for record in records
            for step, norms in zip(record.measurement_steps, record.gradient_norm, strict=True)
            if norms[index] > 0.0
        )
        steps.append(min(opened, default=None))
    return tuple(steps)


def read(found: Found) -> Reading:
    """A cell for each activation: units that part support the claim, units that never do refute it."""
    short, long = runs_of(found, WATCH), runs_of(found, LONG)
    cells = tuple(_cell(name, records, long.get(name, ())) for name, records in short.items())
    beside = runs_of(found, LONG, BESIDE)
    parted = [cell.where for cell in cells if cell.supports]
    count = f"{len(parted)} of {len(cells)}" if parted else f"none of {len(cells)}"
    names = f" ({', '.join(parted)})" if parted else ""
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"With {count} activations{names} do the units of a layer that starts all zero ever differ by more than "
            f"rounding. {_named(short[NAMED])} {_others(short, long, beside)}"
        ),
        factor=f"the activation: units part with {', '.join(parted)}" if parted else None,
        evidence=Evidence(
            cells=cells, tables=(_table(short, long), _long_table(long, beside)), figures=(_figure(short),)
        ),
    )


def distinct(width: int, of: int = WIDTH) -> str:
    """How many units of a layer differ, in words."""
    return f"at most {width} distinct unit{'s' if width != 1 else ''} in a layer of {of}"


def _num_open(records: Sequence[RunRecord]) -> int:
    return sum(step is not None for step in openings(records))


def _cell(activation: str, short: Sequence[RunRecord], long: Sequence[RunRecord]) -> Cell:
    records = (*short, *long)
    width = widest(records)
    return Cell(
        where=activation,
        supports=True if width > 1 else False if is_known(records) else None,
        finding=(
            f"{_num_open(short)} of {DEPTH + 1} maps ever get a gradient; {distinct(width)}, by more than rounding, "
            f"in {len(records)} runs"
        ),
    )


def _named(records: Sequence[RunRecord]) -> str:
    if not _num_open(records):
        return f"With ReLU, which is named, no weight of any map gets a gradient in any of {len(records)} runs."
    return (
        f"With ReLU, which is named, {_num_open(records)} of {DEPTH + 1} maps get a gradient, with "
        f"{distinct(widest(records))}."
    )


def _others(
    short: Mapping[str, Sequence[RunRecord]],
    long: Mapping[str, Sequence[RunRecord]],
    beside: Mapping[str, Sequence[RunRecord]],
) -> str:
    full = [name for name, records in short.items() if _num_open(records) == DEPTH + 1]
    if not full:
        return f"No activation lets all {DEPTH + 1} maps learn within {STEPS} steps."
    values = ", ".join(f"{name} (f(0) = {ACTIVATIONS[name].value_at_zero:.2g})" for name in full)
    order = openings(short[full[0]])
    text = (
        f"All maps do get one with {values}, the head at step {order[-1]}, the map next to the input at step {order[0]}"
    )
    best = max((name for name in full if name in long), key=lambda name: _score(long[name]), default=None)
    if best is None:
        return f"{text}."
    return (
        f"{text}: after {LONG_STEPS} steps of Adam, {best} with {distinct(widest(long[best]))} scores "
        f"{_score(long[best]):.2f} on {long[best][0].run.task} (test accuracy), with {BESIDE.label} "
        f"{_score(beside[best]):.2f}."
    )


def _score(records: Sequence[RunRecord]) -> float:
    return mean(counted(record, "test_score") for record in records)


def _table(short: Mapping[str, Sequence[RunRecord]], long: Mapping[str, Sequence[RunRecord]]) -> Table:
    names = [("head" if name == "head" else f"map {index + 1}") for index, name in enumerate(maps(network_of(NAMED)))]
    rows: list[tuple[str | float, ...]] = []
    for name, records in short.items():
        known, all_runs = ACTIVATIONS[name], (*records, *long.get(name, ()))
        steps = ("never" if step is None else step for step in openings(records))
        rows.append(
            (name, known.value_at_zero, known.slope_at_zero, *steps, widest_by_bits(all_runs), widest(all_runs))
        )
    return Table(
        title=f"First step at which each map's weight has a gradient, in {STEPS} steps from all zeros",
        columns=("activation", "f(0)", "f'(0)", *names, "units that differ by bits", "by more than rounding"),
        rows=tuple(rows),
    )


def _long_table(long: Mapping[str, Sequence[RunRecord]], beside: Mapping[str, Sequence[RunRecord]]) -> Table:
    rows = [
        (
            name,
            start.label,
            record.run.task,
            widest([record]),
            counted(record, "train_loss"),
            counted(record, "test_score"),
        )
        for start, runs in ((ZERO, long), (BESIDE, beside))
        for name, records in runs.items()
        for record in records
    ]
    return Table(
        title=f"{LONG_STEPS} steps of Adam at rate {LONG_LR:g}, all zero and {BESIDE.label}",
        columns=("activation", "start", "task", f"most distinct units of {WIDTH}", "training loss", "test accuracy"),
        rows=tuple(sorted(rows)),
    )


def _figure(short: Mapping[str, Sequence[RunRecord]]) -> Figure:
    rows = [
        {
            "activation": f"{name}, f(0) = {ACTIVATIONS[name].value_at_zero:.3g}",
            "map": "head" if layer == "head" else f"map {index + 1}",
            "step": step,
        }
        for name, records in short.items()
        for index, (layer, step) in enumerate(zip(records[0].layers, openings(records), strict=True))
    ]
    n = len(next(iter(short.values())))
    return Figure(
        name="d2-openings",
        title="When each map of an all-zero network first gets a gradient",
        caption=(
            f"First step with a gradient that is not exactly zero, of {STEPS} steps; a dash: never. {n} runs for each "
            "activation (tasks, SGD and Adam, two rates); the earliest is shown. Map 1 is the one next to the input."
        ),
        mark="heatmap",
        x=Axis(field="map", title="map, from the input to the head", kind="nominal"),
        y=Axis(field="activation", title="activation", kind="nominal"),
        color=Axis(field="step", title="first step with a gradient"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 64).unsqueeze(1)
for activation in (torch.nn.ReLU(), torch.nn.Sigmoid()):
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), activation, torch.nn.Linear(8, 1))
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    adam = torch.optim.Adam(net.parameters(), lr=0.05)
    for _ in range(300):
        adam.zero_grad()
        (net(x) - x.exp()).square().mean().backward()
        adam.step()
    weight = net[0].weight.detach()
    print(activation, len(weight.unique(dim=0)), "distinct unit of 8, moved:", bool(weight.any()))
"""

CLAIM = Claim(
    id="D2",
    title="Symmetry and the activation",
    statement="With a suitable activation, such as ReLU, zero initialization breaks the symmetry between the units.",
    basis="exact",
    rule=(
        f"MLPs with {DEPTH} hidden layers of {WIDTH} units start all zero, with each of {len(ACTIVATIONS)} "
        f"activations, on {NUM_TASKS} tasks, by {' and '.join(o.name for o in OPTIMIZERS)} at rates {LRS[0]:g} and "
        f"{LRS[1]:g}, and are measured before and after each of {STEPS} steps ({len(LONG_ACTIVATIONS)} activations "
        f"also over {LONG_STEPS}). An activation supports the claim if units of some hidden layer ever differ by more "
        "than rounding (1e-6 of the layer's largest number), and refutes it if they never do."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
