"""P10: under muP, activations change by the same amount at every width (Yang et al., 2022)."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.published.arms import median_interval
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.batches import data_order
from exnihilo.lab.models import build, example
from exnihilo.lab.records import Model
from exnihilo.lab.study import judging_seed
from exnihilo.lab.tasks import load, split, task_named
from exnihilo.plans.apply import apply
from exnihilo.plans.groups import param_groups
from exnihilo.plans.make import plan
from exnihilo.plans.records import Plan
from exnihilo.recipes.mup import mup
from exnihilo.structure.randomness import undisturbed

TASK = "characters"
DEPTH = 2
WIDTHS, BASE = (32, 64, 128, 256), 32
# Of each head: muP wants heads as wide as in the base, and more of them.
HEAD_WIDTH = 16
MUP, STANDARD = "mup", ("gpt2", "xavier")
# The token's embedding, what each branch adds, and the scores.
PLACES = {
    "token": "embedding",
    **{
        f"blocks.{k}.{end}": f"{what} {k + 1}"
        for k in range(DEPTH)
        for end, what in (("out", "attention"), ("down", "MLP"))
    },
    "head": "scores",
}
# Adam's usual rate, a few steps: with a head of zeros the first one moves the head alone.
LR, STEPS, BATCH = 1e-3, 4, 16
# Sizes in wide networks go with powers of the root of the width, so with exponents of 0, 1/2, 1: what is nearer to 0
# than to 1/2 is flat.
FLAT = 0.25
# The claim's level, shared by its places: each is judged by itself.
_LEVEL = ALPHA / len(PLACES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """How far the outputs of one model moved.

    Args:
        recipe: ``MUP`` or one of ``STANDARD``.
        width: Of the model.
        seed: Of its values and its data.
        changes: Mean absolute change of each output's coordinates, by a value of ``PLACES``.
    """

    recipe: str
    width: int
    seed: int
    changes: Mapping[str, float]


def measure(preset: Preset, seed: int) -> tuple[Moved, ...]:
    """A few steps of Adam on characters, at every width under every recipe."""
    seeds = [judging_seed(seed, index) for index in range(preset.looks[0])]
    return tuple(_moved(*of) for of in itertools.product((MUP, *STANDARD), WIDTHS, seeds))


def _moved(recipe: str, width: int, seed: int) -> Moved:
    module, made = _model(width), planned(recipe, width)
    apply(made, module, seed)
    task = task_named(TASK)
    rows = split(task, load(task), seed).train
    watched = rows.inputs[:BATCH].long()
    before = _outputs(module, watched)
    optimizer = torch.optim.Adam(param_groups(made, module, LR))
    for of in data_order(task.name, seed, len(rows.inputs), BATCH, STEPS):
        optimizer.zero_grad()
        scores = module(rows.inputs[of].long())
        F.cross_entropy(scores.flatten(0, 1), rows.targets[of].flatten()).backward()
        optimizer.step()
    after = _outputs(module, watched)
    changes = {what: float((after[name] - before[name]).abs().mean()) for name, what in PLACES.items()}
    return Moved(recipe=recipe, width=width, seed=seed, changes=changes)


@lru_cache
def planned(recipe: str, width: int) -> Plan:
    """The plan of a recipe for a width: the same for all seeds."""
    inputs = example(_shape(width), task_named(TASK))
    return plan(_model(width), mup(_model(BASE), inputs) if recipe == MUP else recipe, example=inputs)


def _shape(width: int) -> Model:
    return Model(family="transformer", depth=DEPTH, width=width, heads=width // HEAD_WIDTH)


def _model(width: int) -> nn.Module:
    with undisturbed():
        return build(_shape(width), task_named(TASK))


@torch.no_grad()
def _outputs(module: nn.Module, watched: Tensor) -> dict[str, Tensor]:
    """What each watched module gives out."""
    found: dict[str, Tensor] = {}
    hooks = [
        module.get_submodule(name).register_forward_hook(lambda _m, _a, out, name=name: found.update({name: out}))
        for name in PLACES
    ]
    module(watched)
    for hook in hooks:
        hook.remove()
    return found


def read(found: Found) -> Reading:
    """Under muP every place must be flat in the width, and under the others some place must grow."""
    outcome: Sequence[Moved] = found.measured
    slopes = {
        (recipe, place): slopes_of([of for of in outcome if of.recipe == recipe], place)
        for recipe in (MUP, *STANDARD)
        for place in PLACES.values()
    }
    cells = (
        *(_flat(place, slopes[MUP, place]) for place in PLACES.values()),
        *(_grows(recipe, {place: slopes[recipe, place] for place in PLACES.values()}) for recipe in STANDARD),
    )
    told = (
        f"{recipe} {_span([median(slopes[recipe, place]) for place in PLACES.values()])}" for recipe in (MUP, *STANDARD)
    )
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"From width {WIDTHS[0]} to {WIDTHS[-1]}, the change of the activations after {STEPS} steps goes with a "
            f"power of the width, by place, of: {'; '.join(told)}."
        ),
        factor=factor_of(cells),
        evidence=Evidence(cells=cells, tables=(_table(slopes),), figures=(_figure(outcome),)),
        n=len(outcome),
    )


def slopes_of(moved: Sequence[Moved], place: str) -> list[float]:
    """Of each seed, the slope of the log change at a place over the log width; infinite where a model diverged."""
    slopes: list[float] = []
    for seed in dict.fromkeys(of.seed for of in moved):
        own = {of.width: of.changes[place] for of in moved if of.seed == seed}
        slopes.append(_slope(own) if all(map(math.isfinite, own.values())) else math.inf)
    return slopes


def _slope(changes: Mapping[int, float]) -> float:
    x = [math.log(width) for width in changes]
    y = [math.log(max(change, 1e-30)) for change in changes.values()]
    middle = sum(x) / len(x)
    return sum((a - middle) * b for a, b in zip(x, y, strict=True)) / sum((a - middle) ** 2 for a in x)


def _flat(place: str, slopes: Sequence[float]) -> Cell:
    low, high = median_interval(slopes, _LEVEL)
    supports = True if low >= -FLAT and high <= FLAT else False if low > FLAT or high < -FLAT else None
    return Cell(
        where=f"{MUP} · {place}",
        supports=supports,
        interval=(low, high),
        n=len(slopes),
        finding=f"The change at this place goes with a power of the width of {_span((low, high))}.",
    )


def _grows(recipe: str, slopes: Mapping[str, Sequence[float]]) -> Cell:
    intervals = {place: median_interval(of, _LEVEL) for place, of in slopes.items()}
    growing = [place for place, (low, _) in intervals.items() if low > FLAT]
    is_flat = all(low >= -FLAT and high <= FLAT for low, high in intervals.values())
    return Cell(
        where=f"{recipe} · all places",
        supports=True if growing else False if is_flat else None,
        n=min(map(len, slopes.values())),
        finding=f"The change grows with the width at {len(growing)} of {len(slopes)} places.",
    )


def _span(powers: Sequence[float]) -> str:
    low, high = min(powers), max(powers)
    if not math.isfinite(high):
        return f"{low:.2f} or more (models diverged)" if math.isfinite(low) else "no number (all models diverged)"
    return f"{low:.2f} to {high:.2f}"


def _table(slopes: Mapping[tuple[str, str], Sequence[float]]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for (recipe, place), of in slopes.items():
        shown = (min(of), median(of), max(of))
        rows.append((recipe, place, *(power if math.isfinite(power) else None for power in shown), len(of)))
    return Table(
        title="Power of the width with which activations change, of each seed's line through all widths",
        columns=("recipe", "output of", "lowest", "median", "highest", "seeds"),
        rows=tuple(rows),
    )


def _figure(outcome: Sequence[Moved]) -> Figure:
    rows: list[dict[str, Value]] = []
    for recipe, place, width in itertools.product((MUP, *STANDARD), PLACES.values(), WIDTHS):
        changes = [of.changes[place] for of in outcome if (of.recipe, of.width) == (recipe, width)]
        if all(map(math.isfinite, changes)):
            value, low, high = median(changes), min(changes), max(changes)
            rows.append({"recipe": recipe, "place": place, "width": width, "value": value, "low": low, "high": high})
    return Figure(
        name="p10-coordinates",
        title=f"Change of a transformer's activations in {STEPS} steps of Adam, by its width",
        caption="Mean absolute change of the coordinates, median of the seeds; bands from the lowest to the highest.",
        mark="line",
        x=Axis(field="width", title="width", scale="log"),
        y=Axis(field="value", title="mean absolute change", scale="log"),
        color=Axis(field="place", title="output of", kind="nominal"),
        facet=Axis(field="recipe", title="recipe", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

for name, width in ((name, width) for name in ("one rate", "muP") for width in (64, 256, 1024)):
    torch.manual_seed(0)
    x, y = torch.randn(64, 8), torch.randn(64, 1)
    net = torch.nn.Sequential(*(torch.nn.Linear(*of) for of in ((8, width), (width, width), (width, 1))))
    torch.nn.init.zeros_(net[2].weight)
    rate = 1e-3 * 64 / width if name == "muP" else 1e-3
    maps, others = [net[1].weight, net[2].weight], [*net[0].parameters(), net[1].bias, net[2].bias]
    optimizer = torch.optim.Adam([{"params": maps, "lr": rate}, {"params": others}], lr=1e-3)
    before = net[:2](x).detach()
    for step in range(4):
        optimizer.zero_grad(), ((net(x) - y) ** 2).mean().backward(), optimizer.step()
    print(name, "width", width, "the hidden units moved by", (net[:2](x) - before).abs().mean().item())
"""

CLAIM = Claim(
    id="P10",
    title="muP's activations change alike at every width",
    statement=(
        "Yang, Hu and others (2022): under the maximal update parametrization the activations of a "
        "network change by the same amount at every width; under the standard one some change more, the wider it is."
    ),
    basis="measured",
    rule=(
        f"Transformers of {DEPTH} layers and widths {', '.join(map(str, WIDTHS))} with heads of {HEAD_WIDTH} on "
        f"characters, {STEPS} steps of Adam at rate {LR:g} with batches of {BATCH} (the paper: far wider ones). At "
        f"{len(PLACES)} places the mean absolute change of the coordinates on a fixed batch is fitted by a power of "
        f"the width, seed by seed, and the median power has an interval at a level of {100 * (1 - _LEVEL):.3g} %, "
        f"whatever the law of the powers, so that the {len(PLACES)} places of a recipe share one of 95 %. Powers "
        f"come in halves, so one within ±{FLAT:g} is flat. Under '{MUP}' from a base of width {BASE} a place "
        "supports the claim if its interval is flat, and refutes it if none of it is. A standard recipe with one "
        f"rate ({', '.join(STANDARD)}) supports it if at some place the interval is above {FLAT:g}, and refutes it "
        "if every place is flat; all stays open between."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
