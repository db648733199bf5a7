"""P2: random tanh networks train to a depth of about six correlation lengths (Schoenholz et al., 2017)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.arms import Arm, arms
from exnihilo.claims.published.mean_field import correlation, correlation_length
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.claims.tables import counted
from exnihilo.lab.records import Network, Optimizer, Start
from exnihilo.lab.starts import BIAS_VARIANCE
from exnihilo.lab.study import Study

STUDY = "P2 tanh networks by depth"
DEPTHS, WIDTH = (10, 20, 30, 40, 60, 120), 64
# Two in the ordered phase, the critical one, two in the chaotic phase.
VARIANCES = (1.0, 1.4, 1.76, 2.5, 3.5)
STARTS = tuple(Start(name="mean_field", value=variance) for variance in VARIANCES)
RATES = (0.001, 0.003)
# Of ten classes: halfway from chance to perfect.
TRAINED = 0.55
LENGTHS = 6.0
# The paper draws a line through a map of accuracies; about six is less than half of it and more than twice as much.
FACTOR = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """How deep networks of one variance train.

    Args:
        variance: Of each weight, times the fan-in.
        predicted: Six correlation lengths.
        deepest: The largest depth of the grid that trains; 0 where none does.
        following: The next one of the grid, which does not; infinite where there is none.
        n: Runs at one rate.
    """

    variance: float
    predicted: float
    deepest: float
    following: float
    n: int

    @property
    def agrees(self) -> bool | None:
        """Whether all depths from ``deepest`` to ``following`` are within the factor; None where some are."""
        low, high = self.predicted / FACTOR, self.predicted * FACTOR
        if self.predicted > DEPTHS[-1]:  # all of the grid is to train
            return True if self.deepest == DEPTHS[-1] else False if self.following <= low else None
        if self.predicted < DEPTHS[0]:
            return None
        if low <= self.deepest and self.following <= high:
            return True
        return False if self.following <= low or self.deepest > high else None


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Every variance at every depth and rate."""
    return (
        preset.study(
            STUDY,
            "To what depth do tanh networks train, by the variance of their weights?",
            seed=seed,
            tasks=("digits",),
            networks=[Network(depth=depth, width=WIDTH, activation="tanh") for depth in DEPTHS],
            starts=STARTS,
            lrs=RATES,
            policy="grid",
            looks=(preset.deep_seeds,),
            optimizers=(Optimizer(name="momentum"),),
            evaluations=2,  # the last one counts
            measurements=1,
            metric="train_score",
        ),
    )


def read(found: Found) -> Reading:
    """The depths that train, beside six correlation lengths."""
    of = arms(found, STUDY, metric="train_score")
    reaches = [_reach([arm for arm in of if arm.start == start]) for start in STARTS]
    cells = tuple(map(_cell, reaches))
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"Of the depths {', '.join(map(str, DEPTHS))}, trained and six correlation lengths: "
            f"{'; '.join(f'{_depth(of.deepest)} and {_lengths(of)} at σ_w² = {of.variance:g}' for of in reaches)}."
        ),
        factor=factor_of(cells),
        evidence=Evidence(cells=cells, tables=(_table(reaches),), figures=(_figure(of),)),
    )


def _accuracy(arm: Arm) -> float:
    return median(counted(record, "train_score") for record in arm.records)


def _reach(own: Sequence[Arm]) -> Reach:
    accuracies: Mapping[int, float] = {arm.place.network.depth: _accuracy(arm) for arm in own}
    variance = own[0].start.value or 0.0
    deepest = max((depth for depth, accuracy in accuracies.items() if accuracy >= TRAINED), default=0)
    return Reach(
        variance=variance,
        predicted=LENGTHS * correlation_length(variance, BIAS_VARIANCE),
        deepest=deepest,
        following=min((depth for depth in accuracies if depth > deepest), default=math.inf),
        n=min(len(arm.records) for arm in own),
    )


def _cell(of: Reach) -> Cell:
    until = f"and {of.following:g} does not" if math.isfinite(of.following) else "the deepest"
    beyond = "" if DEPTHS[0] <= of.predicted <= DEPTHS[-1] else ", which the grid does not reach"
    return Cell(
        where=f"σ_w² = {of.variance:g} · {_phase(of)}",
        supports=of.agrees,
        n=of.n,
        finding=(
            f"{_depth(of.deepest).capitalize()} trains, {until}; six correlation lengths are {_lengths(of)}{beyond}."
        ),
    )


def _depth(depth: float) -> str:
    return f"{depth:g}" if depth else "none"


def _lengths(of: Reach) -> str:
    return f"{of.predicted:.0f}" if of.predicted <= 10 * DEPTHS[-1] else f"more than {10 * DEPTHS[-1]}"


def _phase(of: Reach) -> str:
    if of.predicted > 10 * DEPTHS[-1]:
        return "critical"
    return "ordered" if correlation(of.variance, BIAS_VARIANCE) == 1.0 else "chaotic"


def _table(reaches: Sequence[Reach]) -> Table:
    rows: list[tuple[Value, ...]] = [
        (
            of.variance,
            _phase(of),
            of.predicted / LENGTHS if math.isfinite(of.predicted) else None,
            of.predicted if math.isfinite(of.predicted) else None,
            of.deepest,
            of.following if math.isfinite(of.following) else None,
        )
        for of in reaches
    ]
    return Table(
        title=f"Depths to which tanh networks of width {WIDTH} train on digits, and what mean-field theory says",
        columns=(
            "variance of the weights, times fan-in",
            "phase",
            "correlation length",
            "six correlation lengths",
            "deepest that trains",
            "next depth, which does not",
        ),
        rows=tuple(rows),
    )


def _figure(of: Sequence[Arm]) -> Figure:
    return Figure(
        name="p2-accuracy",
        title="Training accuracy of tanh networks over depth and the variance of their weights",
        caption=(
            f"Median of {len(of[0].records)} seeds after {of[0].records[0].run.steps} steps, each at the better of "
            f"{len(RATES)} rates; a run that diverged counts as 0. Six correlation lengths are in the table."
        ),
        mark="heatmap",
        x=Axis(field="variance", title="variance of the weights, times fan-in", kind="ordinal"),
        y=Axis(field="depth", title="hidden layers", kind="ordinal"),
        color=Axis(field="accuracy", title="training accuracy"),
        rows=tuple(
            {"variance": f"{arm.start.value:g}", "depth": arm.place.network.depth, "accuracy": _accuracy(arm)}
            for arm in of
        ),
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
for variance in (1.0, 1.76, 3.5):
    x = torch.randn(2, 1000)
    x[1] = 0.9 * x[0] + 0.19**0.5 * x[1]
    for depth in range(1, 31):
        weight, bias = torch.randn(1000, 1000) * (variance / 1000) ** 0.5, torch.randn(1000) * 0.05**0.5
        x = x @ weight.T + bias
        if depth in (1, 10, 30):
            print(variance, "behind", depth, "layers the correlation is", torch.cosine_similarity(*x, dim=0).item())
        x = torch.tanh(x)
"""

CLAIM = Claim(
    id="P2",
    title="Random networks train to about six correlation lengths",
    statement=(
        "Schoenholz, Gilmer, Ganguli and Sohl-Dickstein (2017): random networks train to a depth of about "
        "six correlation lengths of mean-field theory, and to any depth at the critical variance."
    ),
    basis="measured",
    rule=(
        f"Tanh networks of width {WIDTH} and {', '.join(map(str, DEPTHS))} hidden layers on digits (the paper: "
        "width 300 on MNIST and CIFAR-10, more steps), weights N(0, σ_w² / fan_in), biases N(0, "
        f"{BIAS_VARIANCE:g}), SGD with momentum at the better of the rates {RATES[0]:g} and {RATES[1]:g}, chosen on "
        f"the same runs. A depth trains if the median training accuracy over seeds is at least {TRAINED:g}, halfway "
        "from chance to perfect. The trainable depth lies between the largest depth that trains and the next of "
        "the grid, which does not. A variance supports the claim if all of this range is within a factor of "
        f"{FACTOR:g} of {LENGTHS:g} correlation lengths, refutes it if none of it is, and stays open between. Where "
        "six lengths lie beyond the deepest network, as at the critical variance, it supports the claim if that "
        "one trains, and refutes it if not."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
