"""P4: the time to escape grows exponentially with the depth of a chain of scalars (Shamir, 2019)."""

import itertools
import math
from collections.abc import Sequence
from statistics import median

import torch

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import ALPHA
from exnihilo.claims.published.chains import (
    BUDGET_PER_STEP,
    DEPTHS,
    ESCAPED,
    NEAR_ONE,
    RATES,
    STANDARD,
    Escapes,
    measure,
)
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value

# Growing by no more than this from the shallowest to the deepest is not growing, for the start near one.
FEW = 2.0
# The two intervals of the claim share its level.
LEVEL = ALPHA / 2


def read(found: Found) -> Reading:
    """Growth at every depth, its slope, its law; and the start near one beside them."""
    outcome: Sequence[Escapes] = found.measured
    standard, near = ([of for of in outcome if of.start == start] for start in (STANDARD, NEAR_ONE))
    cells = (_growing(standard), *_laws(standard), _few(near))
    factors = [b / a for a, b in itertools.pairwise(median(of.best) for of in standard)]
    first, last = standard[0], standard[-1]
    return Reading(
        verdict=conclude(cells),
        finding=(
            f"From {STANDARD} the median chain escapes after {_told(first)} steps at depth {first.depth} and after "
            f"{_told(last)} at depth {last.depth}, each depth at its best rate: {min(factors):.2g} to "
            f"{max(factors):.2g} times as long with every {DEPTHS[1] - DEPTHS[0]} layers, "
            f"{math.exp(_slope(list(map(_log, standard)), _depths(standard))):.3g} times a layer on the whole. "
            f"From {NEAR_ONE} it takes {_told(near[0])} and {_told(near[-1])}."
        ),
        factor=factor_of(cells),
        evidence=Evidence(cells=cells, tables=(_table(outcome),), figures=(_figure(outcome),)),
        n=sum(len(of.steps) * len(of.best) for of in outcome),
    )


def _growing(standard: Sequence[Escapes]) -> Cell:
    medians = [median(of.best) for of in standard]
    longer = [after > before for before, after in itertools.pairwise(medians)]
    return Cell(
        where="longer with each depth",
        supports={len(longer): True, 0: False}.get(sum(longer)),
        n=min(len(of.best) for of in standard),
        finding=f"The median is larger than the one before at {sum(longer)} of {len(longer)} depths.",
    )


def _laws(standard: Sequence[Escapes]) -> tuple[Cell, Cell]:
    """The slope of log steps over depth, and by how much a line in depth fits better than one in log depth."""
    depths, n = _depths(standard), min(len(of.best) for of in standard)
    logs = list(map(_log, standard))
    resampled = [[math.log(max(m, 1.0)) for m in of] for of in zip(*(of.resampled for of in standard), strict=True)]
    slope, slopes = _slope(logs, depths), _interval([_slope(of, depths) for of in resampled])
    better, betters = _advantage(logs, depths), _interval([_advantage(of, depths) for of in resampled])
    return (
        Cell(
            where="slope",
            supports=_side(slopes),
            estimate=slope,
            interval=slopes,
            n=n,
            finding=f"Log steps grow by {slope:.3f} a layer ({slopes[0]:.3f} to {slopes[1]:.3f}).",
        ),
        Cell(
            where="exponential against a power",
            supports=_side(betters),
            estimate=better,
            interval=betters,
            n=n,
            finding=(
                f"A line in depth leaves {better:.2f} less of squared log steps than a line in log depth "
                f"({betters[0]:.2f} to {betters[1]:.2f})."
            ),
        ),
    )


def _few(near: Sequence[Escapes]) -> Cell:
    shallow, deep = (max(median(of.best), 1.0) for of in (near[0], near[-1]))
    return Cell(
        where="near one",
        supports=None if near[0].budget < max(shallow, deep) else deep <= FEW * shallow,
        n=min(len(of.best) for of in near),
        finding=f"The deepest takes {deep / shallow:.2g} times the steps of the shallowest from {NEAR_ONE}.",
    )


def _side(interval: tuple[float, float]) -> bool | None:
    return True if interval[0] > 0 else False if interval[1] < 0 else None


def _interval(values: Sequence[float]) -> tuple[float, float]:
    low, high = torch.tensor(values, dtype=torch.float64).quantile(
        torch.tensor([LEVEL / 2, 1 - LEVEL / 2], dtype=torch.float64)
    )
    return float(low), float(high)


def _depths(of: Sequence[Escapes]) -> list[float]:
    return [float(escapes.depth) for escapes in of]


def _log(of: Escapes) -> float:
    return math.log(max(median(of.best), 1.0))


def _slope(logs: Sequence[float], places: Sequence[float]) -> float:
    middle = sum(places) / len(places)
    return sum((x - middle) * y for x, y in zip(places, logs, strict=True)) / sum((x - middle) ** 2 for x in places)


def _advantage(logs: Sequence[float], depths: Sequence[float]) -> float:
    return _residual(logs, list(map(math.log, depths))) - _residual(logs, depths)


def _residual(logs: Sequence[float], places: Sequence[float]) -> float:
    slope, x0, y0 = _slope(logs, places), sum(places) / len(places), sum(logs) / len(logs)
    return sum((y - y0 - slope * (x - x0)) ** 2 for x, y in zip(places, logs, strict=True))


def _told(of: Escapes) -> str:
    steps = median(of.best)
    return f"more than {of.budget}" if steps > of.budget else f"{steps:g}"


def _table(outcome: Sequence[Escapes]) -> Table:
    rows: list[tuple[Value, ...]] = []
    for of in outcome:
        escaped = [sum(step <= of.budget for step in of.steps[lr]) / len(of.best) for lr in (of.rate, max(of.steps))]
        rows.append((of.start, of.depth, of.rate, float(median(of.best)), *escaped, len(of.best)))
    return Table(
        title=f"Steps until the loss is below {ESCAPED:g}; a chain that never is counts as one step over the budget",
        columns=(
            "start",
            "depth",
            "best rate",
            "median steps",
            "share that escaped",
            f"share at rate {max(RATES):g}",
            "chains",
        ),
        rows=tuple(rows),
    )


def _figure(outcome: Sequence[Escapes]) -> Figure:
    rows: list[dict[str, Value]] = []
    for of in outcome:
        low, value, high = (max(1.0, float(q)) for q in _quartiles(of.best))
        rows.append({"depth": of.depth, "start": of.start, "value": value, "low": low, "high": high})
    return Figure(
        name="p4-escape-time",
        title="Steps of gradient descent until a product of scalars has escaped, by its depth",
        caption=(
            f"Median of {len(outcome[0].best)} chains at the best of {len(RATES)} rates, with the band between the "
            f"quartiles; what takes more than {outcome[0].budget} steps is drawn there, and no step as one."
        ),
        mark="line",
        x=Axis(field="depth", title="factors of the product"),
        y=Axis(field="value", title="steps", scale="log"),
        color=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(rows),
    )


def _quartiles(steps: Sequence[int]) -> list[float]:
    at = torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64)
    return torch.tensor(steps, dtype=torch.float64).quantile(at).tolist()


SNIPPET = """\
import torch

for depth in (2, 6, 10, 14):
    torch.manual_seed(0)
    w = torch.randn(200, depth, dtype=torch.float64)
    y = torch.tensor([-1.0, 1.0], dtype=torch.float64).repeat(100)
    steps = torch.full((200,), 2001)
    for step in range(2000):
        w.requires_grad_()
        loss = (w.prod(1) - y) ** 2
        steps = torch.where((loss < 0.5) & (steps > 2000), step, steps)
        gradient, = torch.autograd.grad(loss.sum(), w)
        w = (w - 0.1 * gradient).detach()
    print(depth, "factors: the median product escapes after", int(steps.median()), "steps")
"""

CLAIM = Claim(
    id="P4",
    title="Chains of scalars escape in a time exponential in their depth",
    statement=(
        "Shamir (2019): from the standard start, where each factor is N(0, 1), gradient descent on a function of a "
        "product of k scalars needs a number of steps that grows exponentially with k."
    ),
    basis="measured",
    rule=(
        f"Full gradient descent in float64 on (w_1 ... w_k - y)², y = -1 and 1 in turn, k from {DEPTHS[0]} to "
        f"{DEPTHS[-1]}. A chain has escaped at the first step with a loss below {ESCAPED:g}, half of what a product "
        f"of 0 has; one that never does within {BUDGET_PER_STEP} times the preset's steps, or diverges, counts as "
        f"one step more. Each depth has its best of {len(RATES)} rates from {RATES[0]:g} to {RATES[-1]:g} by the "
        "median over chains. Supported by medians that grow at every depth (refuted if at none), by a slope of log "
        "steps over depth whose bootstrap interval is above 0 (refuted if below), and by a line in depth that "
        "leaves less of log steps than one in log depth, by the same interval (refuted if more); the two intervals "
        f"share a level of {ALPHA:g}. As a contrast, from {NEAR_ONE} with y = 2 the deepest must take at most "
        f"{FEW:g} times the steps of the shallowest, or it refutes that the start is what it rests on. The paper's "
        "theorem is on the law for large k; these are small ones."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
