"""P11: of a low-rank product's factors one may be zero, and not both; which one, and whether any (LoRA, 2021)."""

from collections.abc import Sequence
from dataclasses import replace
from math import log10
from statistics import median
from typing import Any

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, contrast
from exnihilo.claims.clauses import SEPARATOR, factor_by_clause, listed, place, seeds_compared
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.published.arms import (
    LEARNED,
    Arm,
    all_or_none,
    arms,
    compared,
    conclude_all,
    has_learned,
    span,
    table,
)
from exnihilo.claims.records import Cell, Evidence
from exnihilo.lab.outcomes import PairedOutcomes
from exnihilo.lab.records import Model, Optimizer, RunRecord, Start
from exnihilo.lab.study import Place, Study
from exnihilo.lab.verdict import compare

TUNED, SWEEP = "P11 adapters at their best rates", "P11 adapters at every rate"
DEAD = "P11 adapters with both factors zero"
MODEL = Model(family="adapted_mlp", depth=2, width=64)
B_ZERO, A_ZERO, NEITHER, BOTH = (Start(name=f"lora_{zero}_zero") for zero in ("B", "A", "neither", "both"))
LEARNING = (B_ZERO, A_ZERO, NEITHER)
RATES = (0.003, 0.01, 0.03, 0.1)
SWEPT = (0.0003, 0.001, *RATES, 0.3)
ENDS = (SWEPT[0], SWEPT[-1])
# "Suboptimal" rates, in a factor that every sweep of decades has.
TIMES_BELOW = 10
# Of ten classes: halfway from chance to perfect.
# In nats, as the other claims about losses have it; in decades of the rate, half a step of the sweep.
LOSS_MARGIN, RATE_MARGIN = 0.05, 0.25
# Three comparisons share alpha.
SHARE = 1 / 3


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The starts that may learn at their best rates and at every rate; both zero at the smallest and the largest."""
    common: dict[str, Any] = {
        "seed": seed,
        "tasks": ("digits",),
        "networks": (MODEL,),
        "optimizers": (Optimizer(name="adam"),),  # all three papers tune with its kin
        "metric": "test_loss",
        "looks": (preset.one_look,),
        "steps": preset.model_steps,
        "evaluations": 2,  # ends are compared, and no curves shown
        "measurements": 1,
    }
    return (
        preset.study(
            TUNED,
            "Which factor of a low-rank product should be zero?",
            starts=LEARNING,
            lrs=RATES,
            extend=0,  # the sweep ends where these rates and a tenth of them do
            **common,
        ),
        preset.study(
            SWEEP,
            "At which rates do adapters learn, by the factors that are zero?",
            starts=LEARNING,
            lrs=SWEPT,
            policy="grid",
            **common,
        ),
        preset.study(
            DEAD, "Do adapters with both factors zero ever move?", starts=(BOTH,), lrs=ENDS, policy="grid", **common
        ),
    )


def read(found: Found) -> Reading:
    """Both zero never moves, any other learns, B zero beats A zero and bears larger rates, neither bears smaller."""
    of = arms(found, TUNED)
    cells = (
        _never_moves(found.runs(DEAD)),
        *(all_or_none(place("learns", arm.start.label), arm.records, has_learned, "learn") for arm in of),
        *_comparisons(found),
    )
    shown = [record for start in LEARNING for record in _at_all_rates(found, start)]
    sweep = figures.sweep(
        "p11-rates", "Test loss of adapters by learning rate", shown, metric="test_loss", y_title="test loss"
    )
    return Reading(
        verdict=conclude_all(cells),
        finding=_finding(found, of, cells),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    of,
                    "Adapters of a trained network on digits, each start at its tuned rate, median over seeds",
                    {"training loss": "train_loss", "test loss": "test_loss", "test accuracy": "test_score"},
                ),
            ),
            figures=(replace(sweep, y=replace(sweep.y, title="final test loss, log scale", scale="log")),),
        ),
    )


def _place(found: Found) -> Place:
    return found.studies[SWEEP].places[0]


def _at_all_rates(found: Found, start: Start) -> list[RunRecord]:
    return [record for lr in SWEPT for record in found.judged(SWEEP, _place(found), start, lr)]


def _never_moves(records: Sequence[RunRecord]) -> Cell:
    """Exact, so that one run that moves refutes it."""
    moved = sum(record.moved for record in records)
    return Cell(
        where=place("never moves", BOTH.label),
        supports=not moved,
        n=len(records),
        finding=f"A factor moved in {moved} of {len(records)} runs, at rates {ENDS[0]:g} and {ENDS[1]:g}.",
    )


def _comparisons(found: Found) -> tuple[Cell, ...]:
    best = {start: found.judged(TUNED, _place(found), start) for start in LEARNING}
    low = _small_rate(found)
    small = {start: found.judged(SWEEP, _place(found), start, low) for start in LEARNING}
    better, robust = "B zero beats A zero", "neither zero bears a small rate"
    losses = contrast(
        found,
        {better: (best[B_ZERO], best[A_ZERO]), robust: (small[NEITHER], small[B_ZERO])},
        metric="test_loss",
        margin=LOSS_MARGIN,
        share=2 * SHARE,
        num_seeds=found.preset.one_look,
    )
    [larger] = compare(
        {"larger rates": PairedOutcomes.of(*(_largest_rates(found, start) for start in (B_ZERO, A_ZERO)))},
        margin=RATE_MARGIN,
        alpha=ALPHA * SHARE,
    )
    return (
        compared(place(better, "each at its best rate"), losses[better], "of test loss"),
        compared(place("B zero bears larger rates than A zero", "where it learns"), larger, "decades of the rate"),
        compared(place(robust, f"rate {low:g}"), losses[robust], "of test loss"),
    )


def _small_rate(found: Found) -> float:
    """The swept rate that is ten times below the one which suits B zero."""
    wanted = log10(found.rate(TUNED, _place(found), B_ZERO) / TIMES_BELOW)
    return min(SWEPT, key=lambda lr: abs(log10(lr) - wanted))


def _largest_rates(found: Found, start: Start) -> list[float]:
    """By seed: the decimal logarithm of the largest rate that learns, or of a step below them all where none does."""
    by_rate = [(lr, found.judged(SWEEP, _place(found), start, lr)) for lr in SWEPT]
    seeds = range(len(by_rate[0][1]))
    none = log10(SWEPT[0]) - 0.5
    return [max((log10(lr) for lr, of in by_rate if has_learned(of[index])), default=none) for index in seeds]


def _finding(found: Found, of: Sequence[Arm], cells: Sequence[Cell]) -> str:
    told = "; ".join(f"{arm.start.label} {span(arm, 'test_loss')} at {arm.lr:g}" for arm in of)
    largest = {start: 10 ** median(_largest_rates(found, start)) for start in LEARNING}
    rates = ", ".join(f"{start.label} {rate:.2g}" for start, rate in largest.items())
    undecided = [cell.where.split(SEPARATOR)[0] for cell in cells if cell.supports is None]
    return (
        f"With both factors zero, a factor moved in {sum(record.moved for record in found.runs(DEAD))} of "
        f"{len(found.runs(DEAD))} runs. Test loss at the best rate: {told}. Largest rate that learns, median over "
        f"seeds: {rates}. Left open: {listed(undecided)}."
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
x, y = torch.randn(64, 8), torch.randn(64, 8)
for zeros in ("B", "A", "AB"):
    A, B = (torch.nn.Parameter(torch.randn(shape) / 3) for shape in ((8, 2), (2, 8)))
    for name, factor in (("A", A), ("B", B)):
        if name in zeros:
            torch.nn.init.zeros_(factor)
    sgd = torch.optim.SGD([A, B], lr=0.1)
    for _ in range(100):
        sgd.zero_grad()
        torch.nn.functional.mse_loss(x @ A @ B, y).backward()
        sgd.step()
    print(f"{zeros} zero: after 100 steps the product's norm is", (A @ B).norm().item())
"""

CLAIM = Claim(
    id="P11",
    title="Of LoRA's two factors one may be zero, and not both",
    statement=(
        "Hu et al. (2021), section 4.1, start LoRA with A drawn and B zero. With both zero nothing would ever move; "
        "B zero beats A zero and allows larger rates (Hayou, Ghosh and Yu, 2024); with neither zero, tuning is more "
        "robust to small rates (Li et al., 2025)."
    ),
    basis="measured",
    rule=(
        f"A ReLU network of {MODEL.depth} x {MODEL.width}, trained on digits turned by a quarter and frozen, learns "
        "upright digits through products of rank 4 under Adam (the papers tune language models). One run with both "
        f"factors zero that moves, at rate {ENDS[0]:g} or {ENDS[1]:g}, refutes 'never moves'. Any other start "
        f"learns if all runs at its tuned rate reach a training accuracy of {LEARNED:g}, and does not if none does. "
        f"Three comparisons on {seeds_compared()} (exact sign-flip, alpha {ALPHA:g} in three parts): test loss of B "
        f"zero against A zero at tuned rates (margin {LOSS_MARGIN:g}); the largest rate of the sweep at which a "
        f"seed learns (margin {RATE_MARGIN:g} decades, half a step); test loss of neither zero against B zero at a "
        f"rate {TIMES_BELOW} times below B zero's best. Better supports; worse or equivalent refutes."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
