"""D3: zero initialization of every layer of a deep network can give vanishing gradients."""

import math
from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.clauses import agreed
from exnihilo.claims.gradients import DECADES, UNDERFLOW, fall, is_dead, vanishes
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.statistics import sign_flip
from exnihilo.lab.study import Study
from exnihilo.schemes.activations import ACTIVATIONS

DEEP = "D3 deep"
LADDER = "D3 depths"
ZERO = Start(name="zeros")
BESIDE = Start(name="xavier_normal")
# Two whose units hand nothing on from a zero layer (f(0) = 0) and two whose units do.
NAMES = ("relu", "tanh", "sigmoid", "softplus")
# The depth that is judged, and those beside it; at 8 most gradients of a zero network underflow.
DEPTH, DEPTHS = 4, (1, 2, 8)
# A zero network lets one more map learn at each step: 64 steps are seven times what the deepest needs.
STEPS, MEASUREMENTS, LR = 64, 8, 0.03

Groups = Mapping[tuple[str, str], Sequence[RunRecord]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """A deep network for the verdict, shallower ones beside it; short runs at one rate."""
    return (
        _study(preset, seed, DEEP, (DEPTH,), preset.looks[0]),
        _study(preset, seed, LADDER, DEPTHS, preset.shown_seeds),
    )


def _study(preset: Preset, seed: int, name: str, depths: Sequence[int], num_seeds: int) -> Study:
    return preset.study(
        name,
        "What becomes of the gradients below the head of an all-zero network?",
        seed=seed,
        networks=tuple(Network(depth=depth, activation=activation) for depth in depths for activation in NAMES),
        starts=(ZERO, BESIDE),
        lrs=(LR,),
        policy="grid",
        looks=(num_seeds,),
        steps=STEPS,
        evaluations=1,
        measurements=MEASUREMENTS,
    )


def _groups(found: Found, study: str, start: Start, depth: int) -> Groups:
    """The runs of a start at one depth by (activation, task)."""
    return {
        (place.network.activation, place.task): found.judged(study, place, start)
        for place in found.studies[study].places
        if place.network.depth == depth
    }


def read(found: Found) -> Reading:
    """A cell for each activation and task: fading gradients support the claim, none at all or level ones refute it."""
    zero, beside = (_groups(found, DEEP, start, DEPTH) for start in (ZERO, BESIDE))
    cells = tuple(_cell(place, records, len(zero)) for place, records in zero.items())
    shallow = [
        record for depth in DEPTHS for records in _groups(found, LADDER, ZERO, depth).items() for record in records[1]
    ]
    return Reading(
        verdict=conclude(cells),
        finding=" ".join(filter(None, (_gone(zero, shallow), _fading(cells, zero, beside), _first(zero)))),
        factor=_factor(cells),
        evidence=Evidence(cells=cells, tables=(_table(found),), figures=(_by_map(zero, beside), _by_depth(found))),
    )


def _cell(place: tuple[str, str], records: Sequence[RunRecord], num_cells: int) -> Cell:
    activation, task = place
    where = f"{activation} · {task}"
    if all(map(is_dead, records)):
        return Cell(
            where=where,
            supports=False,
            n=len(records),
            finding=f"Exactly zero in all {DEPTH + 1} maps at every measured step: nothing to vanish.",
        )
    falls = [fall(record) for record in records]
    if not all(map(math.isfinite, falls)):
        return Cell(where=where, supports=None, n=len(records), finding="Runs differ, or left no finite gradient.")
    flip = sign_flip([value - DECADES for value in falls])
    interval = flip.interval(ALPHA / num_cells)
    is_clear = interval[0] > 0.0 or interval[1] < 0.0
    return Cell(
        where=where,
        supports=agreed(map(vanishes, records)) if is_clear else None,
        estimate=flip.mean,
        interval=interval,
        n=len(records),
        finding=f"The gradient falls by {mean(falls):.1f} decades from the head to the map next to the input.",
    )


def _listed(activations: Iterable[str]) -> str:
    return ", ".join(f"{name} (f(0) = {ACTIVATIONS[name].value_at_zero:.2g})" for name in dict.fromkeys(activations))


def _gone(zero: Groups, others: Sequence[RunRecord]) -> str:
    runs = {name: [r for (of, _), records in zero.items() if of == name for r in records] for name in NAMES}
    names = [name for name, records in runs.items() if all(map(is_dead, records))]
    if not names:
        return ""
    also = all(is_dead(record) for record in others if record.run.network.activation in names)
    depths = f" So it is with {', '.join(map(str, DEPTHS))} hidden layers: depth is not the reason." if also else ""
    return (
        f"With {_listed(names)} the gradient of every weight, the head's too, is exactly zero at every measured step "
        f"of {STEPS}: not small, but none.{depths}"
    )


def _fading(cells: Sequence[Cell], zero: Groups, beside: Groups) -> str:
    fading = [key for key, cell in zip(zero, cells, strict=True) if cell.supports]
    if not fading:
        return f"Nowhere does it fade by more than {DECADES:g} decades on its way through {DEPTH} layers."
    falls = sorted(fall(record) for key in fading for record in zero[key])
    usual = sorted(value for key in fading for record in beside[key] if math.isfinite(value := fall(record)))
    text = (
        f"With {_listed(name for name, _ in fading)} it does vanish: after {STEPS} steps it falls by {falls[0]:.0f} to "
        f"{falls[-1]:.0f} decades from the head to the input"
    )
    return f"{text} ({BESIDE.label}: at most {usual[-1]:.0f})." if usual else f"{text}."


def _first(zero: Groups) -> str:
    most = max(_num_open(record, 0) for records in zero.values() for record in records)
    return f"Of {DEPTH + 1} maps of an all-zero network, at most {most} can learn at the first step."


def _num_open(record: RunRecord, measurement: int) -> int:
    return sum(norm > 0.0 for norm in record.gradient_norm[measurement])


def _factor(cells: Sequence[Cell]) -> str | None:
    """The activation's value at zero, where it tells the two sides apart."""
    sides = {says: {cell.where.split(" · ")[0] for cell in cells if cell.supports is says} for says in (True, False)}
    passes = {says: {ACTIVATIONS[name].value_at_zero != 0.0 for name in names} for says, names in sides.items()}
    if passes == {True: {True}, False: {False}}:
        return (
            f"f(0), what a unit of a zero layer hands on: gradients fade where it is not 0 ({_sorted(sides[True])}) "
            f"and do not exist where it is ({_sorted(sides[False])})"
        )
    return factor_of(cells)


def _sorted(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def _table(found: Found) -> Table:
    rows: list[tuple[str | float | None, ...]] = []
    for name in NAMES:
        for depth in sorted((*DEPTHS, DEPTH)):
            study = DEEP if depth == DEPTH else LADDER
            zero, beside = (
                [r for (of, _), records in _groups(found, study, start, depth).items() if of == name for r in records]
                for start in (ZERO, BESIDE)
            )
            first = max(_num_open(record, 0) for record in zero)
            last = median(_num_open(record, -1) for record in zero)
            rows.append((name, ACTIVATIONS[name].value_at_zero, depth, first, last, _decades(zero), _decades(beside)))
    return Table(
        title=f"Maps with a gradient, and decades that it falls from head to input after {STEPS} steps (medians)",
        columns=(
            "activation",
            "f(0)",
            "hidden layers",
            "maps with a gradient at step 1",
            f"after {STEPS} steps",
            f"decades, {ZERO.label}",
            f"decades, {BESIDE.label}",
        ),
        rows=tuple(rows),
    )


def _decades(records: Sequence[RunRecord]) -> float | None:
    falls = [value for record in records if math.isfinite(value := fall(record))]
    return round(median(falls), 1) if falls else None


def _by_map(zero: Groups, beside: Groups) -> Figure:
    task = next(iter(zero))[1]
    groups = {
        (name, start.label): runs[name, task] for name in NAMES for start, runs in ((ZERO, zero), (BESIDE, beside))
    }
    n = len(next(iter(groups.values())))
    return figures.gradients(
        "d3-gradient-norm",
        f"Gradient norm of each map at depth {DEPTH} after {STEPS} steps",
        f"Median over {n} seeds, {task}, momentum at rate {LR:g}. An exact zero stands on the line marked 0.",
        groups,
        measurement=-1,
    )


def _by_depth(found: Found) -> Figure:
    norms: dict[tuple[str, str, int], list[float]] = {}
    for depth in sorted((*DEPTHS, DEPTH)):
        for start in (ZERO, BESIDE):
            for (name, _), records in _groups(found, DEEP if depth == DEPTH else LADDER, start, depth).items():
                lowest = [record.gradient_norm[-1][0] for record in records]
                norms.setdefault((name, start.label, depth), []).extend(filter(math.isfinite, lowest))
    return Figure(
        name="d3-depth",
        title="Gradient norm of the map next to the input, by depth",
        caption=(
            f"Median over tasks and seeds ({found.preset.shown_seeds} a task, more at depth {DEPTH}) after {STEPS} "
            f"steps of momentum at rate {LR:g}. An exact zero stands on the line marked 0; gradients below "
            f"{UNDERFLOW:g} underflow to it."
        ),
        mark="line",
        x=Axis(field="depth", title="hidden layers", kind="ordinal"),
        y=Axis(field="norm", title="gradient norm", scale="log"),
        color=figures.START,
        facet=Axis(field="activation", title="activation", kind="nominal"),
        rows=tuple(
            {"activation": name, "start": start, "depth": depth, "norm": median(values)}
            for (name, start, depth), values in norms.items()
            if values
        ),
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 64).unsqueeze(1)
for activation in (torch.nn.ReLU, torch.nn.Sigmoid):
    maps = [torch.nn.Linear(i, o) for i, o in ((1, 8), (8, 8), (8, 8), (8, 1))]
    net = torch.nn.Sequential(*[layer for m in maps[:-1] for layer in (m, activation())], maps[-1])
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for _ in range(6):
        sgd.zero_grad()
        (net(x) - x.exp()).square().mean().backward()
        sgd.step()
    print(activation.__name__, "from the input:", ["%.0e" % m.weight.grad.norm() for m in maps])
"""

CLAIM = Claim(
    id="D3",
    title="Vanishing gradients",
    statement="Starting every layer of a deep network at zero can make its gradients vanish.",
    basis="measured",
    rule=(
        f"All-zero MLPs with {DEPTH} hidden layers take {STEPS} steps of momentum at rate {LR:g}, with each of "
        f"{len(NAMES)} activations in each task. To vanish is to fade on the way down: an activation and task support "
        f"the claim if the gradient of the map next to the input is more than {DECADES:g} decades below the head's at "
        f"the last step in every run, refute it if it is less in every run (and the exact sign-flip interval over "
        f"seeds, alpha {ALPHA:g} shared by all cells, says so too; an underflow counts as {UNDERFLOW:g}), and leave "
        "it open else. They also refute it if the gradient of every map, the head's "
        "too, is exactly zero at every measured step of every run: that is no small gradient, which a larger rate, "
        "more steps or fewer layers could mend, but a dead end."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
