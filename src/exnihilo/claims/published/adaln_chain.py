"""P12: adaLN-Zero opens a conditioned transformer in three steps (Peebles and Xie, 2022)."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import torch
from torch import Tensor, nn

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.dit import CHANNELS, GATES, LABELS, TOKENS, WIDTH, DiT
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.fills import Key, normal
from exnihilo.lab.study import judging_seed
from exnihilo.plans.apply import initialize
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial
from exnihilo.structure.randomness import undisturbed

DEPTHS = (1, 2, 4, 8)
# What opens follows from which products hold zeros, and hardly from the draws: these are counted, not averaged.
SEEDS = 3
SAMPLES = 16
HEAD, LAST_MODULATION, MODULATIONS = "head", "last modulation", "modulations of the blocks"
TOKEN_MAPS, INSIDE, CONDITION = "embedding of the tokens", "inside of the blocks", "embedding of the condition"
# Without the biases of the keys: they move all scores of a query alike, which a softmax does not see.
GROUPS: Mapping[str, tuple[str, ...]] = {
    HEAD: ("head.*",),
    LAST_MODULATION: ("modulation.*",),
    MODULATIONS: ("blocks.*.modulation.*",),
    TOKEN_MAPS: ("embed.*", "position.*"),
    INSIDE: ("blocks.*.query.*", "blocks.*.key.weight", "blocks.*.value.*", "blocks.*.out.*", "blocks.*.mlp.*"),
    CONDITION: ("time.*", "label.*"),
}
PUBLISHED, GATE_ALONE, TWICE = "adaLN-Zero", "the gates alone zero", "modulations and last maps zero"
NEVER = None
# Of the two variants only the blocks are asked: their heads, which are drawn, are open at once.
CLAIMED: Mapping[tuple[str, str], int | None] = {
    (PUBLISHED, HEAD): 1,
    (PUBLISHED, LAST_MODULATION): 2,
    (PUBLISHED, MODULATIONS): 2,
    (PUBLISHED, TOKEN_MAPS): 2,
    (PUBLISHED, INSIDE): 3,
    (GATE_ALONE, MODULATIONS): 1,
    (GATE_ALONE, INSIDE): 2,
    (TWICE, MODULATIONS): NEVER,
    (TWICE, INSIDE): NEVER,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """When the parameters of one model open.

    Args:
        start: ``PUBLISHED``, ``GATE_ALONE`` or ``TWICE``.
        depth: Blocks.
        seed: Of the values and the batch.
        steps: By group: the different steps at which its parameters get a gradient first, None for never.
    """

    start: str
    depth: int
    seed: int
    steps: Mapping[str, frozenset[int | None]]


def measure(preset: Preset, seed: int) -> tuple[Opened, ...]:
    """The opening steps of small diffusion transformers under each start, in float64."""
    del preset  # a certificate: neither tasks nor steps enter it
    return tuple(
        _opened(start, depth, judging_seed(seed, index))
        for start, depth, index in itertools.product((PUBLISHED, GATE_ALONE, TWICE), DEPTHS, range(SEEDS))
    )


def _opened(start: str, depth: int, seed: int) -> Opened:
    with undisturbed():
        model = DiT(depth)
    inputs, targets = batch(seed)
    initialize(model, "adaln-zero" if start == PUBLISHED else "xavier", inputs, seed)
    question, values = Question(batch=(inputs, targets), criterion=nn.MSELoss()), zeroed(start, model)
    trial = Trial(model, question, dtype=torch.float64, samples=None, values=values)
    openings = learning_of(model, question, values=values, trial=trial).openings
    return Opened(
        start=start,
        depth=depth,
        seed=seed,
        steps={
            group: frozenset(of.step for of in openings if any(fnmatchcase(of.parameter, name) for name in names))
            for group, names in GROUPS.items()
        },
    )


def batch(seed: int) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
    """Tokens, times and labels, and a target for each token."""
    drawn = normal(Key(seed, "tokens"), 2 * SAMPLES * TOKENS * CHANNELS).view(2, SAMPLES, TOKENS, CHANNELS)
    times, labels = torch.linspace(-1.0, 1.0, SAMPLES).unsqueeze(1), torch.arange(SAMPLES) % LABELS
    return (drawn[0], times, labels), drawn[1]


def zeroed(start: str, model: nn.Module) -> dict[str, Tensor]:
    """The zeros of a variant, over values that were drawn; none for what the recipe itself has closed."""
    values: dict[str, Tensor] = {}
    for name, parameter in model.named_parameters():
        if start == TWICE and any(fnmatchcase(name, f"blocks.*.{of}.*") for of in ("modulation", "out", "mlp.2")):
            values[name] = torch.zeros_like(parameter)
        if start == GATE_ALONE and fnmatchcase(name, "blocks.*.modulation.*"):
            gates = [index // WIDTH in GATES for index in range(len(parameter))]
            values[name] = parameter.detach().clone()
            values[name][torch.tensor(gates)] = 0.0
    return values


def read(found: Found) -> Reading:
    """Each claimed step is counted in every model."""
    outcome: Sequence[Opened] = found.measured
    cells = tuple(_cell(outcome, start, group, step) for (start, group), step in CLAIMED.items())
    (first, *_), (gated, *_), (closed, *_) = (
        [of for of in outcome if of.start == start] for start in (PUBLISHED, GATE_ALONE, TWICE)
    )
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"{sum(cell.supports is True for cell in cells)} of {len(cells)} counts are as claimed. Under {PUBLISHED} "
            f"the first gradient comes {_sentence(first)}. To the inside of the blocks it comes "
            f"{_steps(gated.steps[INSIDE])} with {GATE_ALONE}, and {_steps(closed.steps[INSIDE])} with {TWICE}."
        ),
        factor=factor_of(cells),
        n=len(outcome),
        evidence=Evidence(cells=cells, tables=(_table(outcome),), figures=(_figure(outcome),)),
    )


def _cell(outcome: Sequence[Opened], start: str, group: str, claimed: int | None) -> Cell:
    models = [of for of in outcome if of.start == start]
    holding = sum(of.steps[group] == frozenset({claimed}) for of in models)
    seen = sorted({_steps(of.steps[group]) for of in models})
    return Cell(
        where=f"{group} · {start}",
        supports=holding == len(models),
        finding=f"Claimed: {_steps({claimed})}; seen in {len(models)} models: {', '.join(seen)}.",
    )


def _steps(steps: frozenset[int | None] | set[int | None]) -> str:
    at = sorted(step for step in steps if step is not None)
    told = [f"at step {' and '.join(map(str, at))}"] if at else []
    return " or ".join([*told, *(["never"] if NEVER in steps else [])])


def _sentence(of: Opened) -> str:
    return ", ".join(f"to the {group} {_steps(of.steps[group])}" for group in GROUPS)


def _table(outcome: Sequence[Opened]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for start, depth in dict.fromkeys((of.start, of.depth) for of in outcome):
        models = [of for of in outcome if (of.start, of.depth) == (start, depth)]
        together = (frozenset[int | None]().union(*(of.steps[group] for of in models)) for group in GROUPS)
        rows.append((start, depth, *map(_steps, together), len(models)))
    return Table(
        title="When each group of parameters first gets a gradient",
        columns=("start", "blocks", *GROUPS, "models"),
        rows=tuple(rows),
    )


def _figure(outcome: Sequence[Opened]) -> Figure:
    rows: list[dict[str, Value]] = []
    for start, group in itertools.product(dict.fromkeys(of.start for of in outcome), GROUPS):
        steps = {step for of in outcome if of.start == start for step in of.steps[group]}
        rows.append({"start": start, "group": group, "step": None if NEVER in steps else max(steps, key=_number)})
    return Figure(
        name="p12-opening-steps",
        title="The step at which each part of a conditioned transformer first gets a gradient",
        caption=f"The last to open over {len(outcome)} models of {DEPTHS[0]} to {DEPTHS[-1]} blocks; empty is never.",
        mark="heatmap",
        x=Axis(field="group", title="parameters", kind="nominal"),
        y=Axis(field="start", title="start", kind="nominal"),
        color=Axis(field="step", title="opening step"),
        rows=tuple(rows),
    )


def _number(step: int | None) -> int:
    return step or 0


SNIPPET = """\
import torch

torch.manual_seed(0)
modulation, inside, head = torch.nn.Linear(8, 24), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3)
for layer in (modulation, head):
    torch.nn.init.zeros_(layer.weight), torch.nn.init.zeros_(layer.bias)
x, condition, target = torch.randn(16, 8), torch.randn(16, 8), torch.randn(16, 3)
layers = {"head": head, "modulation": modulation, "inside": inside}
optimizer = torch.optim.SGD([p for layer in layers.values() for p in layer.parameters()], lr=0.1)
for step in (1, 2, 3):
    shift, scale, gate = modulation(condition).chunk(3, -1)
    loss = ((head(x + gate * torch.relu(inside(x * (1 + scale) + shift))) - target) ** 2).mean()
    optimizer.zero_grad(), loss.backward()
    print("step", step, "has gradients:", [name for name, of in layers.items() if of.weight.grad.any()])
    optimizer.step()
"""

CLAIM = Claim(
    id="P12",
    title="adaLN-Zero opens in three steps",
    statement=(
        "Peebles and Xie (2022), section 3.2, start every block of a conditioned transformer as the identity, with the "
        "modulations and the head at zero. Then the head gets a gradient at step 1, the modulations and the embedding "
        "of the tokens at step 2, the inside of the blocks at step 3; at step 2 where the gates alone are zero, and "
        "never where the last maps of the blocks are zero beside the modulations."
    ),
    basis="exact",
    rule=(
        f"Small diffusion transformers of {', '.join(map(str, DEPTHS))} blocks and width {WIDTH}, {SEEDS} seeds "
        f"each, on {SAMPLES} random samples: the recipe 'adaln-zero', and two variants of Xavier's start, one with "
        "the gates of the blocks at zero, one with their modulations and last maps. Normalized gradient steps in "
        "float64 tell when each parameter first has a gradient other than 0, rounding apart. A count supports the "
        "claim if in every model every parameter of the group opens at the claimed step and at no other, and "
        "refutes it if not. A modulation opens with the first of its parts. The biases of keys, which have no "
        "effect, are left out; the embedding of the condition is shown and not counted."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
