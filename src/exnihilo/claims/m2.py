"""M2: zero initialization brings no randomness of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import nan
from typing import cast

import torch
from torch import Tensor, nn

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, conclude
from exnihilo.claims.clauses import factor_by_clause, listed, num_holding, of_clause, place
from exnihilo.claims.networks import shallow
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.fills import Key
from exnihilo.lab.networks import parameters
from exnihilo.lab.records import Start
from exnihilo.lab.starts import begin
from exnihilo.lab.study import Place, Study, judging_seed
from exnihilo.layouts import Layout
from exnihilo.schemes import scheme_named

STUDY = "M2 zeros and random starts"
ZERO = Start(name="zeros")
RANDOM = (Start(name="xavier_normal"), Start(name="he_normal"), Start(name="torch_default"))
STEPS, LR = 60, 0.03
# Compared by bits, not averaged: two seeds would tell what draws from what does not, whatever the preset.
SEEDS = 8
NONE, THEN, FASTER = "no randomness of its own", "another scheme afterwards", "random starts learn faster"

Fill = Callable[[Tensor, torch.Generator], object]
TORCH_FILLS: Mapping[str, Fill] = {
    "nn.init.normal_": lambda w, g: nn.init.normal_(w, generator=g),
    "nn.init.xavier_uniform_": lambda w, g: nn.init.xavier_uniform_(w, generator=g),
    "nn.init.xavier_normal_": lambda w, g: nn.init.xavier_normal_(w, generator=g),
    "nn.init.kaiming_uniform_": lambda w, g: nn.init.kaiming_uniform_(w, generator=g),
    "nn.init.kaiming_normal_": lambda w, g: nn.init.kaiming_normal_(w, generator=g),
    "nn.init.trunc_normal_": lambda w, g: nn.init.trunc_normal_(w, generator=g),
    "nn.init.orthogonal_": lambda w, g: nn.init.orthogonal_(w, generator=g),
}
OWN_SCHEMES = ("xavier_normal", "he_uniform", "lecun_normal", "orthogonal", "torch_default")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bits:
    """What a way to fill the weights of a layer left behind, over all seeds.

    Args:
        name: The way.
        patterns: Different values, by bits, over the seeds.
        same_after_zeros: Seeds whose values are equal by bits whether or not zeros were written first; None for the
            zeros themselves.
    """

    name: str
    patterns: int
    same_after_zeros: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The zeros, and the schemes that were written over them."""

    zeros: tuple[Bits, ...]
    schemes: tuple[Bits, ...]


def measure(preset: Preset, seed: int) -> Outcome:
    """Fills the weight of a linear and of a convolution module with zeros, and then by each scheme."""
    del preset  # a certificate: neither tasks nor steps enter it
    seeds = [judging_seed(seed, index) for index in range(SEEDS)]
    return Outcome(
        zeros=(
            _bits("nn.init.zeros_", lambda module, _: nn.init.zeros_(module.weight), seeds),
            Bits(name="the lab's zero start", patterns=len(set(map(_lab_zeros, seeds))), same_after_zeros=None),
        ),
        schemes=(
            *(_compared(name, _by_torch(fill), seeds) for name, fill in TORCH_FILLS.items()),
            *(_compared(f"scheme {name}", _by_scheme(name), seeds) for name in OWN_SCHEMES),
        ),
    )


Module = nn.Linear | nn.Conv2d
Write = Callable[[Module, int], object]


@cache
def _modules() -> tuple[Module, ...]:
    # Built without their default values, which would be drawn from the global random state.
    linear = cast(nn.Linear, nn.utils.skip_init(nn.Linear, 24, 16))
    conv = cast(nn.Conv2d, nn.utils.skip_init(nn.Conv2d, 3, 8, kernel_size=3))
    return linear, conv


def _by_torch(fill: Fill) -> Write:
    return lambda module, seed: fill(module.weight, torch.Generator().manual_seed(seed))


def _by_scheme(name: str) -> Write:
    def write(module: Module, seed: int) -> None:
        values = scheme_named(name).sample(Layout.of(module, "weight"), Key(seed, "weight"))
        with torch.no_grad():
            module.weight.copy_(values)

    return write


def _written(write: Write, seed: int, before: float) -> bytes:
    """The weights of all modules, by bits, where they held the number ``before``."""
    found: list[bytes] = []
    for module in _modules():
        nn.init.constant_(module.weight, before) if before else nn.init.zeros_(module.weight)
        write(module, seed)
        found.append(module.weight.detach().contiguous().numpy().tobytes())
    return b"".join(found)


def _bits(name: str, write: Write, seeds: Sequence[int]) -> Bits:
    # NaN before: whatever is read of it would show.
    return Bits(name=name, patterns=len({_written(write, seed, nan) for seed in seeds}), same_after_zeros=None)


def _compared(name: str, write: Write, seeds: Sequence[int]) -> Bits:
    same = sum(_written(write, seed, 0.0) == _written(write, seed, nan) for seed in seeds)
    return replace(_bits(name, write, seeds), same_after_zeros=same)


def _lab_zeros(seed: int) -> bytes:
    values = begin(ZERO, parameters(shallow(), 8, 3), seed)
    return b"".join(tensor.numpy().tobytes() for tensor in values.values())


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """A few steps from zero and from random starts, at one rate."""
    return (
        preset.study(
            STUDY,
            "Does an all-zero ReLU network move at all, where random starts do?",
            seed=seed,
            networks=(shallow(),),
            starts=(ZERO, *RANDOM),
            policy="grid",
            lrs=(LR,),
            looks=(preset.shown_seeds,),
            steps=STEPS,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    outcome: Outcome = found.measured
    cells = (
        *(_none(bits) for bits in outcome.zeros),
        *(_then(bits) for bits in outcome.schemes),
        *(_faster(found, spot) for spot in found.studies[STUDY].places),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, outcome),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(outcome),),
            figures=(_bars(outcome), _curves(found)),
        ),
    )


def _none(bits: Bits) -> Cell:
    return Cell(
        where=place(NONE, bits.name),
        supports=bits.patterns == 1,
        finding=f"{SEEDS} seeds give {bits.patterns} different values, by bits.",
    )


def _then(bits: Bits) -> Cell:
    same = bits.same_after_zeros or 0
    return Cell(
        where=place(THEN, bits.name),
        supports=same == SEEDS == bits.patterns,
        finding=(
            f"Written over zeros it gives the same bits as alone with {same} of {SEEDS} seeds; the seeds give "
            f"{bits.patterns} different values."
        ),
    )


def _faster(found: Found, spot: Place) -> Cell:
    zeros = found.judged(STUDY, spot, ZERO)
    others = [record for start in RANDOM for record in found.judged(STUDY, spot, start)]
    moved = sum(record.moved for record in zeros)
    best = min(record.train_loss[-1] for record in zeros)
    lower = sum(record.train_loss[-1] < best for record in others)
    return Cell(
        where=place(FASTER, spot.task),
        supports=True if not moved and lower == len(others) else None if lower else False,
        n=len(zeros) + len(others),
        finding=(
            f"The weights of {moved} of {len(zeros)} zero runs ever move; after {STEPS} steps {lower} of {len(others)} "
            "random runs have a lower training loss than every zero run."
        ),
    )


def _finding(cells: tuple[Cell, ...], outcome: Outcome) -> str:
    then, faster = of_clause(cells, THEN), of_clause(cells, FASTER)
    patterns = max(bits.patterns for bits in outcome.zeros)
    zeros = "one and the same zeros" if patterns == 1 else f"up to {patterns} different sets of zeros"
    return (
        f"{SEEDS} seeds give {zeros}. Written over zeros, {num_holding(then)} of {len(then)} schemes give exactly "
        f"the values that they give alone, bit for bit, and others for each seed. In {num_holding(faster)} of "
        f"{len(faster)} tasks no weight of the all-zero ReLU network moves in {STEPS} steps, while every random start "
        "gets ahead of it."
    )


def _table(outcome: Outcome) -> Table:
    return Table(
        title=f"Weights of a linear layer and a convolution over {SEEDS} seeds",
        columns=("way to fill", "different values, by bits", "seeds with equal bits after zeros"),
        rows=tuple((b.name, b.patterns, b.same_after_zeros) for b in (*outcome.zeros, *outcome.schemes)),
    )


def _bars(outcome: Outcome) -> Figure:
    return Figure(
        name="m2-bits",
        title=f"How many different weights {SEEDS} seeds give",
        caption="Values of a linear layer and a convolution together, compared by bits.",
        mark="bar",
        x=Axis(field="patterns", title="different values"),
        y=Axis(field="name", title="way to fill", kind="nominal"),
        rows=tuple({"name": b.name, "patterns": b.patterns} for b in (*outcome.zeros, *outcome.schemes)),
    )


def _curves(found: Found) -> Figure:
    groups = {
        (spot.task, start.label): found.judged(STUDY, spot, start)
        for spot in found.studies[STUDY].places
        for start in (ZERO, *RANDOM)
    }
    return replace(
        figures.curves("m2-curves", "The first steps from zero and from random starts", groups),
        caption=(
            f"Mean over {found.preset.shown_seeds} seeds, all at rate {LR:g}; bands reach from the lowest to the "
            "highest seed."
        ),
    )


SNIPPET = """\
import torch
from torch import nn

for seed in range(3):
    def draw():
        return torch.Generator().manual_seed(seed)

    alone = nn.init.xavier_normal_(torch.empty(4, 4), generator=draw())
    zeros = nn.init.zeros_(torch.empty(4, 4))
    after = nn.init.xavier_normal_(zeros.clone(), generator=draw())
    print(f"seed {seed}: zeros {zeros[0, :2].tolist()}, Xavier {[round(v, 3) for v in alone[0, :2].tolist()]},",
          "the same after zeros:", torch.equal(alone, after))
"""

CLAIM = Claim(
    id="M2",
    title="No randomness of its own",
    statement=(
        "Zero initialization brings no randomness of its own; another scheme applied after it does, and then gives "
        "exactly that scheme. Random starts learn faster."
    ),
    basis="exact",
    rule=(
        f"'No randomness': {SEEDS} seeds give zeros that are one and the same by bits. 'Another scheme': written "
        "over zeros, in real modules, it gives the bits that it gives over NaN, for every seed, and each seed "
        f"others. 'Faster', with ReLU, {listed([start.label for start in RANDOM])} and {STEPS} steps at rate {LR:g}: "
        "supported in a task where no weight of any zero run moves and every random run ends at a lower training "
        "loss than every zero run; refuted where no random run does."
    ),
    read=read,
    studies=studies,
    measure=measure,
    snippet=SNIPPET,
)
