"""P5: a gate at zero on each residual branch trains deeper and faster (ReZero; Bachlechner et al., 2020)."""

from collections.abc import Mapping, Sequence
from statistics import median

from exnihilo.claims.claim import Claim, Found, Reading, contrast
from exnihilo.claims.clauses import factor_by_clause, place
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.published.arms import (
    LEARNED,
    Arm,
    all_or_none,
    arms,
    compared,
    conclude_all,
    curves,
    has_learned,
    span,
    table,
)
from exnihilo.claims.records import Cell, Evidence
from exnihilo.claims.tables import counted
from exnihilo.lab.records import Model, ModelNorm, Network, Optimizer, Start
from exnihilo.lab.study import Study

DEEP, GATED, NORMED = "P5 gates by depth", "P5 speed, gates at zero", "P5 speed, layer norm"
REZERO, PRE, POST = "P5 transformer, ReZero", "P5 transformer, norm before", "P5 transformer, norm after"
TRANSFORMERS: Mapping[str, tuple[ModelNorm, str]] = {
    REZERO: ("none", "rezero"),
    PRE: ("pre", "gpt2"),
    POST: ("post", "gpt2"),
}
ZERO, OPEN = Start(name="zero_gate"), Start(name="he_normal")
DEPTHS = (32, 128)
# Training losses: half of that of guessing ten classes; below that of knowing how often each character comes, 3.03.
TARGET, NEXT_TARGET = 1.15, 2.9
NEXT_RATES = (0.01, 0.03)
# Steps from one evaluation to the next: no smaller difference is seen.
STEP = 4


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Gates at zero and open by depth; against layer norm at 32 branches; a transformer of 12 layers three ways."""
    return (
        preset.study(
            DEEP,
            "At which depths do residual networks without norms learn, with gates at zero and with open ones?",
            seed=seed,
            tasks=("digits",),
            networks=tuple(Network(depth=depth, residual=True, gate=True) for depth in DEPTHS),
            starts=(OPEN, ZERO),
            lrs=(1e-6, 1e-3, 3e-3),  # open gates diverge at all of these: their stream doubles with each branch
            policy="grid",
            looks=(preset.model_seeds,),
            steps=preset.steps // 3,
            evaluations=10,
        ),
        *(
            preset.study(
                name,
                "How soon does a residual network of 32 branches learn?",
                seed=seed,
                tasks=("digits",),
                networks=(network,),
                starts=(start,),
                lrs=(0.003, 0.01, 0.03),
                extend=0,
                looks=preset.looks[:1],
                steps=preset.steps // 3,
                evaluations=preset.steps // 3 // STEP,
                measurements=1,
            )
            for name, network, start in (
                (GATED, Network(depth=DEPTHS[0], residual=True, gate=True), ZERO),
                (NORMED, Network(depth=DEPTHS[0], residual=True, norm="layer"), OPEN),
            )
        ),
        *(
            preset.study(
                name,
                "How soon does a transformer of 12 layers learn?",
                seed=seed,
                tasks=("characters",),
                networks=(Model(family="transformer", depth=12, width=32, norm=norm),),
                starts=(Start(name=start),),
                optimizers=(Optimizer(name="adam"),),
                lrs=NEXT_RATES,
                policy="grid",
                looks=(preset.deep_seeds,),
                steps=preset.deep_steps,
                evaluations=preset.deep_steps // 2,
                measurements=1,
                metric="test_loss",
            )
            for name, (norm, start) in TRANSFORMERS.items()
        ),
    )


def read(found: Found) -> Reading:
    """Gates at zero must learn at each depth and open ones not; and be sooner than layer norm, and than both norms."""
    deep, speed, transformers = arms(found, DEEP), arms(found, GATED, NORMED), _transformers(found)
    cells = (*map(_depth_cell, deep), _speed_cell(found), *_transformer_cells(transformers))
    shown = {"training loss": "train_loss", "training accuracy": "train_score", "test accuracy": "test_score"}
    return Reading(
        verdict=conclude_all(cells),
        finding=_finding(deep, speed, transformers),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    (*deep, *speed, *transformers),
                    "Residual networks on digits and transformers on characters, each at its best rate, median over "
                    "seeds",
                    shown,
                ),
            ),
            figures=(
                curves(
                    "p5-gates",
                    "Training loss of residual networks of 32 and 128 branches",
                    (*deep, speed[1]),
                    facet=lambda arm: arm.place.network.label,
                ),
                curves(
                    "p5-transformers",
                    "Training loss of transformers of 12 layers",
                    transformers,
                    facet=lambda arm: arm.place.network.label,
                ),
            ),
        ),
    )


def _transformers(found: Found) -> tuple[Arm, ...]:
    """Each at the rate at which it is soonest, by the median over the seeds that are judged."""
    return arms(found, *TRANSFORMERS, metric="steps_to_train_loss", target=NEXT_TARGET)


def _depth_cell(arm: Arm) -> Cell:
    is_zero = arm.start == ZERO
    clause = "gates at zero learn" if is_zero else "open gates do not learn"
    where = place(clause, f"{arm.place.network.depth} branches")
    return all_or_none(where, arm.records, has_learned, "learn", wanted=is_zero)


def _speed_cell(found: Found) -> Cell:
    gated, normed = (
        found.judged(name, of.places[0], of.starts[0]) for name, of in found.studies.items() if name in (GATED, NORMED)
    )
    [verdict] = contrast(
        found, {"speed": (gated, normed)}, metric="steps_to_train_loss", target=TARGET, margin=STEP
    ).values()
    return compared(place("sooner than with a norm", f"{DEPTHS[0]} branches"), verdict, "steps")


def _transformer_cells(transformers: Sequence[Arm]) -> tuple[Cell, Cell]:
    rezero, pre, post = transformers
    return _sooner(rezero, pre, "before"), _sooner(rezero, post, "after")


def _sooner(rezero: Arm, normed: Arm, where: str) -> Cell:
    """Too few seeds for a test: it must hold in every one."""
    pairs = list(zip(_steps(rezero, NEXT_TARGET), _steps(normed, NEXT_TARGET), strict=True))
    won = sum(one < other for one, other in pairs)
    lost = sum(one > other for one, other in pairs)
    return Cell(
        where=place("sooner than with a norm", f"transformer, norm {where} the sums"),
        supports=True if won == len(pairs) else False if lost == len(pairs) else None,
        n=len(pairs),
        finding=f"Sooner at a training loss of {NEXT_TARGET:g} on {won} of {len(pairs)} seeds, later on {lost}.",
    )


def _steps(arm: Arm, target: float) -> list[float]:
    return [counted(record, "steps_to_train_loss", target) for record in arm.records]


def _finding(deep: Sequence[Arm], speed: Sequence[Arm], transformers: Sequence[Arm]) -> str:
    depths = "; ".join(
        f"{arm.place.network.depth} branches, {arm.start.label}: {span(arm, 'train_score')}" for arm in deep
    )
    gated, normed = (median(_steps(arm, TARGET)) for arm in speed)
    rezero, pre, post = (median(_steps(arm, NEXT_TARGET)) for arm in transformers)
    return (
        f"Training accuracy without norms, {depths}. Median steps to a loss of {TARGET:g} at {DEPTHS[0]} branches: "
        f"{gated:g} with gates at zero, {normed:g} with layer norm. Those of the transformer to {NEXT_TARGET:g} "
        f"(a run that never gets there counts with one more than it has): {rezero:g} by ReZero, {pre:g} with norms "
        f"before the sums, {post:g} after them."
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
maps = [torch.nn.Linear(32, 32) for _ in range(128)]
for layer in maps:
    torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
for gate in (1.0, 0.0):
    x = first = torch.randn(256, 32, requires_grad=True)
    for layer in maps:
        x = x + gate * torch.relu(layer(x))
    x.std().backward()
    print(f"gates {gate:g}: std behind 128 branches {x.std().item():.3g}, gradient {first.grad.norm().item():.3g}")
"""

CLAIM = Claim(
    id="P5",
    title="ReZero trains deeper and faster",
    statement=(
        "Bachlechner et al. (2020): with a gate at zero on each residual branch and no norms, networks learn at depths "
        "beyond 100 layers where open gates fail, and sooner than with layer norm; a transformer of 12 layers is 56 % "
        "faster than with norms."
    ),
    basis="measured",
    rule=(
        f"Residual networks of {DEPTHS[0]} and {DEPTHS[1]} branches of 32 units on digits, without norms, under SGD "
        "with momentum, at the best of 3 rates: gates at zero learn if every run ends with a training accuracy of "
        f"{LEARNED:g}, and open gates do not if none does; the opposite refutes. At {DEPTHS[0]} branches, steps to "
        f"a training loss of {TARGET:g} against layer norm and open branches, each at its tuned rate, paired by "
        f"seed (exact sign-flip, alpha {ALPHA:g}): fewer supports; more, or equal within {STEP} steps, refutes. A "
        "transformer of 12 layers and width 32 on characters under Adam, its maps drawn by PyTorch's law, no norms "
        "and a gate for each branch (the paper: one a layer), against GPT-2's law with norms before or after the "
        f"sums, each at the better of the rates {NEXT_RATES[0]:g} and {NEXT_RATES[1]:g}: sooner at a training loss "
        f"of {NEXT_TARGET:g} on every seed supports; later on every seed refutes."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
