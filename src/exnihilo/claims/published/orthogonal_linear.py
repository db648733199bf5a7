"""P3: deep linear networks learn in a time that does not depend on depth, from orthogonal maps (Saxe et al., 2013)."""

import math
from collections.abc import Sequence
from statistics import median

from exnihilo.claims.claim import Claim, Found, Reading, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.arms import Arm, arms, conclude_all, median_interval
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.claims.tables import counted, num_diverged
from exnihilo.lab.records import Network, Optimizer, Start
from exnihilo.lab.study import Study

STUDY = "P3 deep linear networks"
DEPTHS, WIDTH = (4, 8, 16, 32), 64
ORTHOGONAL, GAUSSIAN = Start(name="orthogonal"), Start(name="lecun_normal")
# Of ten classes: a tenth of the loss of knowing nothing, which is ln 10.
TARGET = 0.23
# Eight times as deep and not twice as slow is what we call independent of depth. The rates are a factor of two apart,
# so that the choice among them decides less than that.
FACTOR = 2.0
RATES = (0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.32)
METRIC = "steps_to_train_loss"


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Both starts at every depth and rate; the fastest rate of each is read."""
    return (
        preset.study(
            STUDY,
            "How many steps do linear networks of 4 to 32 layers need from orthogonal and from Gaussian maps?",
            seed=seed,
            tasks=("digits",),
            networks=[Network(depth=depth, width=WIDTH, activation="linear") for depth in DEPTHS],
            starts=(ORTHOGONAL, GAUSSIAN),
            lrs=RATES,
            policy="grid",
            looks=(preset.looks[0],),
            optimizers=(Optimizer(name="sgd"),),
            evaluations=preset.steps // 4,  # what is measured is when the loss is reached
            measurements=1,
            metric=METRIC,
            target=TARGET,
        ),
    )


def read(found: Found) -> Reading:
    """The orthogonal networks must not slow down with depth, and the Gaussian ones must."""
    of = arms(found, STUDY, metric=METRIC, target=TARGET)
    sides = {start: [arm for arm in of if arm.start == start] for start in (ORTHOGONAL, GAUSSIAN)}
    cells = tuple(_cell(own[0], own[-1]) for own in sides.values())
    told = (f"{start.label} {', '.join(map(_told, own))}" for start, own in sides.items())
    return Reading(
        verdict=conclude_all(cells),
        finding=(
            f"Median steps to a training loss of {TARGET:g} at {', '.join(map(str, DEPTHS))} layers: {'; '.join(told)}."
        ),
        factor=factor_of(cells),
        evidence=Evidence(cells=cells, tables=(_table(of),), figures=(_figure(of),)),
    )


def _cell(shallow: Arm, deep: Arm) -> Cell:
    """The interval of the median ratio; the orthogonal start's must lie below ``FACTOR``, the Gaussian's above."""
    bounds = [_ratio(a, b, _steps(shallow)) for a, b in zip(_times(shallow), _times(deep), strict=True)]
    low, _ = median_interval([least for least, _ in bounds])
    _, high = median_interval([most for _, most in bounds])
    is_slower = True if low > FACTOR else False if high <= FACTOR else None
    return Cell(
        where=shallow.start.label,
        supports=None if is_slower is None else is_slower is (shallow.start == GAUSSIAN),
        interval=(low, high),
        n=len(bounds),
        finding=(
            f"{DEPTHS[-1]} layers take {low:.2g} {f'to {high:.2g}' if math.isfinite(high) else 'or more'} times the "
            f"steps of {DEPTHS[0]} (interval of the median over {len(bounds)} seeds)."
        ),
    )


def _ratio(shallow: float, deep: float, steps: int) -> tuple[float, float]:
    """The least and the most that the deep run's time over the shallow one's may be; none ends after ``steps``."""
    low = deep / shallow if shallow <= steps else 0.0
    return low, deep / shallow if deep <= steps else math.inf


def _times(arm: Arm) -> list[float]:
    # To be there before the first step counts as one, so that there is a ratio.
    return [max(counted(record, METRIC, TARGET), 1.0) for record in arm.records]


def _steps(arm: Arm) -> int:
    return arm.records[0].run.steps


def _told(arm: Arm) -> str:
    steps = median(_times(arm))
    return f"more than {_steps(arm)}" if steps > _steps(arm) else f"{steps:g}"


def _table(of: Sequence[Arm]) -> Table:
    rows: list[tuple[Value, ...]] = [
        (arm.place.network.depth, arm.start.label, arm.lr, *_range(arm), len(arm.records), num_diverged(arm.records))
        for arm in of
    ]
    return Table(
        title=f"Steps to a training loss of {TARGET:g} on digits, each at its fastest rate; never counts as one more "
        "than all",
        columns=("layers", "start", "rate", "fewest steps", "median steps", "most steps", "seeds", "of which diverged"),
        rows=tuple(rows),
    )


def _range(arm: Arm) -> tuple[float, float, float]:
    times = _times(arm)
    return min(times), median(times), max(times)


def _figure(of: Sequence[Arm]) -> Figure:
    rows: list[dict[str, Value]] = []
    for arm in of:
        low, value, high = _range(arm)
        rows.append(
            {"depth": arm.place.network.depth, "start": arm.start.label, "value": value, "low": low, "high": high}
        )
    return Figure(
        name="p3-steps-by-depth",
        title=f"Steps of deep linear networks to a training loss of {TARGET:g}",
        caption=(
            f"Median of {len(of[0].records)} seeds at the fastest rate, with the band from the lowest to the highest; "
            "a run that never gets there is drawn one step above the last."
        ),
        mark="line",
        x=Axis(field="depth", title="hidden layers", scale="log"),
        y=Axis(field="value", title="steps", scale="log"),
        color=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
for name in ("orthogonal", "gaussian"):
    product = torch.eye(64)
    for depth in range(1, 33):
        weight = torch.randn(64, 64) / 8
        product = (torch.linalg.qr(weight)[0] if name == "orthogonal" else weight) @ product
        if depth in (4, 8, 16, 32):
            values = torch.linalg.svdvals(product)
            print(name, depth, "layers: singular values from", values[-1].item(), "to", values[0].item())
"""

CLAIM = Claim(
    id="P3",
    title="Orthogonal deep linear networks learn as fast at any depth",
    statement=(
        "Saxe, McClelland and Ganguli (2013): from random orthogonal maps the learning time of a deep "
        "linear network does not depend on its depth; from scaled Gaussian maps it grows."
    ),
    basis="measured",
    rule=(
        f"Linear networks of {', '.join(map(str, DEPTHS))} hidden layers and {WIDTH} units with cross-entropy on "
        "digits, minibatches of 32 (the paper: MNIST, wider and far deeper networks); plain SGD at the fastest of "
        f"{len(RATES)} rates from {RATES[0]:g} to {RATES[-1]:g} for each depth and start, by the median over the "
        f"same seeds. The time is the step at which the training loss is at most {TARGET:g}, a tenth of that of "
        f"knowing nothing ({math.log(10):.2f}), looked at every 4 steps. Of each seed the deepest network's time is "
        "divided by the shallowest's, with an interval of the median at 95 %, whatever the law of the ratios. The "
        f"orthogonal cell supports the claim if the interval is at most {FACTOR:g}, and refutes it if it is above; "
        "the Gaussian cell the other way around; both stay open between, and both must support the claim for it to "
        "be supported. A run that never gets there bounds its ratio from one side alone."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
