"""D5: weight normalization or variance scaling, together with zero initialization, repairs the vanishing gradients."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude
from exnihilo.claims.clauses import factor_by_clause, num_holding, of_clause, place, seeds_shown
from exnihilo.claims.networks import gated
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.records import Cell, Evidence, Table
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Study
from exnihilo.layouts import Layout
from exnihilo.schemes import he_normal

NORMALIZED = "D5 weight normalization"
SCALED = "D5 scaled rest"
ZERO, ORDINARY = Start(name="zeros"), Start(name="he_normal")
PARTLY = (Start(name="zero_residual"), Start(name="zero_gate"))
# Enough to see what the first updates do: what is NaN stays NaN.
STEPS, LR = 4, 0.1
SIDE = 16
# What exact zeros are multiplied by: the factor of He's scaling, and numbers far beyond any.
FACTORS = (he_normal().expected_std(Layout.linear(SIDE, SIDE)), 1.0, 1e3, 1e6)
NORM, SCALE, PARTS = "all zero, weight normalization", "all zero, variance scaling", "branches zero, the rest scaled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What remains of a map of zeros after each repair, in plain PyTorch.

    Args:
        num_weights: Of the map.
        nan_after_norm: NaN among them under ``weight_norm``.
        usable_after_scaling: Finite and not zero after each factor of ``FACTORS``, the most of them.
        nan_after_scaling: NaN among them after each of these factors, the most of them.
        nan_after_own_std: NaN among them after division by their own standard deviation.
    """

    num_weights: int
    nan_after_norm: int
    usable_after_scaling: int
    nan_after_scaling: int
    nan_after_own_std: int


def measure(preset: Preset, seed: int) -> Repaired:
    """Puts a map of zeros through weight normalization and through both ways of scaling a variance."""
    del preset, seed  # a certificate on zeros: nothing is drawn
    # Without PyTorch's own initialization, which would draw from the global random state.
    layer = cast(nn.Linear, nn.utils.skip_init(nn.Linear, SIDE, SIDE))
    nn.init.zeros_(layer.weight)
    zeros = layer.weight.detach().clone()
    nn.utils.parametrizations.weight_norm(layer)
    scaled = [zeros * factor for factor in FACTORS]
    return Repaired(
        num_weights=zeros.numel(),
        nan_after_norm=int(layer.weight.isnan().sum()),
        usable_after_scaling=max(int(_usable(weight).sum()) for weight in scaled),
        nan_after_scaling=max(int(weight.isnan().sum()) for weight in scaled),
        nan_after_own_std=int((zeros / zeros.std()).isnan().sum()),
    )


def _usable(weight: torch.Tensor) -> torch.Tensor:
    return torch.isfinite(weight) & (weight != 0.0)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """All zeros under weight normalization; residual networks, all zero against zero branches with a scaled rest."""
    return (
        preset.study(
            NORMALIZED,
            "What becomes of zeros under weight normalization?",
            seed=seed,
            networks=(Network(norm="weight"),),
            starts=(ZERO, ORDINARY),
            lrs=(LR,),
            policy="grid",
            looks=(preset.shown_seeds,),
            steps=STEPS,
            evaluations=STEPS,
            measurements=STEPS,
        ),
        preset.study(
            SCALED,
            "Do zero branches or gates with a scaled rest do better than all zeros?",
            seed=seed,
            networks=(gated(),),
            starts=PARTLY,
            baseline=ZERO,
        ),
    )


def read(found: Found) -> Reading:
    """Zeros that become weights support the claim, those that stay zero or become NaN refute it."""
    repaired: Repaired = found.measured
    cells = (*_normalized(found, repaired), _scaled(repaired), *_parts(found))
    return Reading(
        verdict=conclude(cells),
        finding=f"{_on_norm(found, repaired)} {_scaled(repaired).finding} {_on_parts(cells)}",
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(repaired), _means(found)),
            figures=(
                figures.intervals(
                    "d5-scaled-rest",
                    "Test accuracy of zero branches with a scaled rest minus that of all zeros",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    of_clause(cells, PARTS),
                    x_title="difference of test accuracy",
                ),
                figures.curves(
                    "d5-curves",
                    "Training loss of residual networks",
                    {
                        (spot.task, start.label): found.judged(SCALED, spot, start)
                        for _, spot, start in tables.places_and_starts(found, (SCALED,))
                    },
                ),
            ),
        ),
    )


def is_lost(record: RunRecord) -> bool:
    """Whether a run holds NaN, or never moved a weight."""
    return record.diverged or not record.moved


def _normalized(found: Found, repaired: Repaired) -> tuple[Cell, ...]:
    plain = Cell(
        where=place(NORM, "plain PyTorch"),
        supports=repaired.nan_after_norm == 0,
        finding=f"{repaired.nan_after_norm} of {repaired.num_weights} weights are NaN.",
    )
    return (plain, *(_lab_cell(found, index) for index in range(len(found.studies[NORMALIZED].places))))


def _lab_cell(found: Found, index: int) -> Cell:
    spot = found.studies[NORMALIZED].places[index]
    zero, ordinary = (found.judged(NORMALIZED, spot, start) for start in (ZERO, ORDINARY))
    lost, lost_beside = sum(map(is_lost, zero)), sum(map(is_lost, ordinary))
    # A network that fails from any start says nothing about zero.
    decided = lost_beside == 0 and lost in (0, len(zero))
    return Cell(
        where=place(NORM, spot.task),
        supports=lost == 0 if decided else None,
        n=len(zero),
        finding=(
            f"{lost} of {len(zero)} runs are NaN or never move ({ORDINARY.label}: {lost_beside} of {len(ordinary)})."
        ),
    )


def _scaled(repaired: Repaired) -> Cell:
    return Cell(
        where=place(SCALE, "plain PyTorch"),
        supports=repaired.usable_after_scaling > 0,
        finding=(
            f"Multiplied by any of {len(FACTORS)} factors up to {max(FACTORS):g}, {repaired.usable_after_scaling} of "
            f"{repaired.num_weights} exact zeros become weights; divided by their own spread, "
            f"{repaired.nan_after_own_std} become NaN."
        ),
    )


def _parts(found: Found) -> tuple[Cell, ...]:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return tuple(
        cell_of(
            place(PARTS, comparison.start.label, comparison.place.task),
            verdict,
            f"{100 * verdict.estimate:+.1f} points of test accuracy over all zeros ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(SCALED)
    )


def _on_norm(found: Found, repaired: Repaired) -> str:
    runs = [record for spot in found.studies[NORMALIZED].places for record in found.judged(NORMALIZED, spot, ZERO)]
    return (
        f"Weight normalization divides a zero vector by its length 0: {repaired.nan_after_norm} of "
        f"{repaired.num_weights} weights become NaN in PyTorch, and {sum(map(is_lost, runs))} of {len(runs)} runs of "
        "the lab are lost."
    )


def _on_parts(cells: Sequence[Cell]) -> str:
    parts = of_clause(cells, PARTS)
    gains = [100 * cell.estimate for cell in parts if cell.estimate is not None and math.isfinite(cell.estimate)]
    return (
        f"Zero in the last map or the gate of each residual branch alone, with the rest scaled as He does, is better "
        f"than all zeros in {num_holding(parts)} of {len(parts)} comparisons ({min(gains):+.0f} to {max(gains):+.0f} "
        "points)."
    )


def _table(repaired: Repaired) -> Table:
    total = repaired.num_weights
    return Table(
        title=f"A {SIDE} x {SIDE} map of exact zeros after each repair, in plain PyTorch",
        columns=("repair", "weights", "finite and not zero", "NaN"),
        rows=(
            ("weight normalization", total, total - repaired.nan_after_norm, repaired.nan_after_norm),
            ("multiplied by a scale", total, repaired.usable_after_scaling, repaired.nan_after_scaling),
            ("divided by its own spread", total, total - repaired.nan_after_own_std, repaired.nan_after_own_std),
        ),
    )


def _means(found: Found) -> Table:
    return tables.judged_means(
        found,
        (SCALED,),
        "Residual networks, mean over seeds",
        {
            "test accuracy": "test_score",
            "training loss": "train_loss",
            "weights that are zero at the start": lambda record: record.zero_weights[0],
        },
    )


SNIPPET = """\
import torch

layer = torch.nn.Linear(16, 16)
torch.nn.init.zeros_(layer.weight)
zeros = layer.weight.detach().clone()
print("scaled:", int((zeros * 1e6).count_nonzero()), "of", zeros.numel(), "are not zero")
torch.nn.utils.parametrizations.weight_norm(layer)
print("normalized:", int(layer.weight.isnan().sum()), "of", zeros.numel(), "are NaN")
"""

CLAIM = Claim(
    id="D5",
    title="Repairs of zero",
    statement="Weight normalization or variance scaling repairs the vanishing gradients of a zero initialization.",
    basis="measured",
    rule=(
        f"Weight normalization of an all-zero network supports the claim if no weight is NaN in PyTorch and no run of "
        f"{seeds_shown()} and {STEPS} steps is lost (NaN, or never moving) in the lab; it refutes it if all are lost "
        f"while none from {ORDINARY.label} is. Scaling supports it if exact zeros times any of {len(FACTORS)} factors "
        "leave a usable weight, and refutes it if not: both are facts without chance. In residual networks with gates, "
        "zero branches or gates with a rest scaled as He does, tuned, support it where their test accuracy is better "
        "than that of tuned all zeros, and refute it where it is worse or equivalent (exact sign-flip, paired fresh "
        f"seeds, all comparisons one family, Holm, alpha {ALPHA:g})."
    ),
    read=read,
    studies=studies,
    measure=measure,
    snippet=SNIPPET,
)
