"""D7: adding noise after a zero initialization gives the randomness that it lacks."""

import math
from collections.abc import Sequence
from statistics import linear_regression, mean, median

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude
from exnihilo.claims.clauses import factor_by_clause, listed, num_holding, of_clause, place
from exnihilo.claims.networks import shallow
from exnihilo.claims.presets import ALPHA, Preset
from exnihilo.claims.prior import prior_entropy
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Study

ESCAPE = "D7 escape"
TUNED = "D7 noise against zero"
ZERO, NOISY = Start(name="zeros"), Start(name="zeros_noise", value=0.01)
STDS = (1e-8, 1e-6, 1e-4, 1e-3, 1e-2, 3e-2, 1e-1)
DEPTHS = (1, 2, 3)
LR, EVALUATIONS = 0.1, 100
# Twice the steps of a tuned run: small noise is slow.
BUDGETS = 2
# A network has escaped when its training loss is this share of what knowing the class shares alone gives.
ESCAPED = 0.9
RANDOM, LEARNS = "gives randomness", "learns"


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Noise of many sizes at three depths and one rate; and tuned noise against tuned zeros."""
    return (
        preset.study(
            ESCAPE,
            "How many steps does noise need to leave zero, by its size and by depth?",
            seed=seed,
            networks=tuple(Network(depth=depth) for depth in DEPTHS),
            starts=tuple(Start(name="zeros_noise", value=std) for std in STDS),
            lrs=(LR,),
            policy="grid",
            looks=(preset.shown_seeds,),
            steps=BUDGETS * preset.steps,
            evaluations=EVALUATIONS,
            measurements=1,
        ),
        preset.study(
            TUNED,
            "Does noise on zeros reach a higher test accuracy than zeros?",
            seed=seed,
            networks=(shallow(),),
            starts=(NOISY,),
            baseline=ZERO,
        ),
    )


def escape_step(record: RunRecord) -> float:
    """The first evaluated step at which the run has escaped; infinite where it never did."""
    bound = ESCAPED * prior_entropy(record.run.task)
    reached = (step for step, loss in zip(record.evaluation_steps, record.train_loss, strict=True) if loss < bound)
    return float(next(reached, math.inf))


def has_full_width(record: RunRecord) -> bool:
    """Whether all units of every hidden layer differ, by bits, before the first step."""
    return all(width == record.run.network.width for width in record.effective_width[0])


def read(found: Found) -> Reading:
    """Units that differ at the start, and a better network in the end, support the claim."""
    cells = (*(_random(found, depth) for depth in DEPTHS), *_learns(found))
    return Reading(
        verdict=conclude(cells),
        finding=f"{_on_randomness(cells)} {_on_learning(cells)} {_on_time(found)}",
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_steps_table(found), _growth_table(found), _means(found)),
            figures=(
                _steps_figure(found),
                figures.intervals(
                    "d7-noise-against-zero",
                    f"Test accuracy of {NOISY.label} minus that of zeros, tuned",
                    "Mean paired difference over seeds with its interval, corrected for the number of comparisons.",
                    of_clause(cells, LEARNS),
                    x_title="difference of test accuracy",
                ),
            ),
        ),
    )


def _runs(
    found: Found, *, depth: int | None = None, std: float | None = None, task: str | None = None
) -> list[RunRecord]:
    """The runs of the escape study at a depth, a size of noise and a task; None takes all."""
    return [
        record
        for spot in found.studies[ESCAPE].places
        for start in found.studies[ESCAPE].arms
        if depth in (None, spot.network.depth) and std in (None, start.value) and task in (None, spot.task)
        for record in found.judged(ESCAPE, spot, start)
    ]


def _layers(depth: int) -> str:
    return f"{depth} hidden layer{'s' if depth > 1 else ''}"


def _random(found: Found, depth: int) -> Cell:
    runs = _runs(found, depth=depth)
    full = sum(map(has_full_width, runs))
    return Cell(
        where=place(RANDOM, _layers(depth)),
        supports=full == len(runs),
        n=len(runs),
        finding=f"In {full} of {len(runs)} runs all units of every hidden layer differ at the start.",
    )


def _learns(found: Found) -> tuple[Cell, ...]:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return tuple(
        cell_of(
            place(LEARNS, comparison.place.task),
            verdict,
            f"{100 * verdict.estimate:+.1f} points of test accuracy over zeros ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for comparison, verdict in found.verdicts(TUNED)
    )


def _budget(found: Found) -> int:
    return found.studies[ESCAPE].steps


def _on_randomness(cells: Sequence[Cell]) -> str:
    of = of_clause(cells, RANDOM)
    return (
        f"Noise from {STDS[0]:g} to {STDS[-1]:g} on zeros makes all units of all layers differ in {num_holding(of)} of "
        f"{len(of)} depths."
    )


def _on_learning(cells: Sequence[Cell]) -> str:
    of = of_clause(cells, LEARNS)
    gains = [100 * cell.estimate for cell in of if cell.estimate is not None]
    return (
        f"Tuned, {NOISY.label} is better than zeros in {num_holding(of)} of {len(of)} tasks ({min(gains):+.0f} to "
        f"{max(gains):+.0f} points of test accuracy)."
    )


def _on_time(found: Found) -> str:
    """From which size on all runs of a depth escape."""
    texts: list[str] = []
    for depth in DEPTHS:
        all_out = {std: all(math.isfinite(escape_step(r)) for r in _runs(found, depth=depth, std=std)) for std in STDS}
        from_there = [std for std in STDS if all(all_out[larger] for larger in STDS if larger >= std)]
        size = f"noise of {from_there[0]:g} or more" if from_there else "noise of no size"
        texts.append(f"{size} with {_layers(depth)}")
    return f"Time is another matter: within {_budget(found)} steps all runs leave zero under {listed(texts)}."


def _median_step(records: Sequence[RunRecord]) -> float | None:
    """The median of the steps; None where the median run never escaped."""
    step = median(escape_step(record) for record in records)
    return step if math.isfinite(step) else None


def _steps_table(found: Found) -> Table:
    tasks = list(dict.fromkeys(spot.task for spot in found.studies[ESCAPE].places))
    never = f"> {_budget(found)}"
    rows = [
        (
            depth,
            f"{std:g}",
            *(_median_step(_runs(found, depth=depth, std=std, task=task)) or never for task in tasks),
            f"{sum(math.isfinite(escape_step(r)) for r in of)} of {len(of)}",
        )
        for depth in DEPTHS
        for std in STDS
        for of in (_runs(found, depth=depth, std=std),)
    ]
    return Table(
        title=f"Steps to a training loss below {ESCAPED:g} of the entropy of the class shares, median over seeds",
        columns=("hidden layers", "noise std", *tasks, "runs that escape"),
        rows=tuple(rows),
    )


def _growth_table(found: Found) -> Table:
    rows = [(depth, depth + 1, _escaped(found, depth), *_growth(found, depth), _theory(depth + 1)) for depth in DEPTHS]
    return Table(
        title="How the steps to leave zero grow as the noise gets smaller, mean over tasks",
        columns=(
            "hidden layers",
            "maps",
            "runs that leave zero",
            "steps for each decade of noise",
            "power of 1/s",
            "time in theory",
        ),
        rows=tuple(rows),
    )


def _escaped(found: Found, depth: int) -> str:
    """How many runs of a depth escape within the budget, and after how many steps."""
    steps = [escape_step(record) for record in _runs(found, depth=depth)]
    escaped = [step for step in steps if math.isfinite(step)]
    taken = f", after {min(escaped):.0f} to {max(escaped):.0f} steps" if escaped else ""
    return f"{len(escaped)} of {len(steps)}{taken}"


def _theory(num_maps: int) -> str:
    return "log(1/s)" if num_maps == 2 else f"(1/s)^{num_maps - 2}"


def _growth(found: Found, depth: int) -> tuple[float | None, float | None]:
    """Slopes of the steps, and of their logarithm, against the decades of 1/s, where runs escape."""
    plain: list[float] = []
    powers: list[float] = []
    for task in dict.fromkeys(spot.task for spot in found.studies[ESCAPE].places):
        medians = {std: _median_step(_runs(found, depth=depth, std=std, task=task)) for std in STDS}
        points = [(-math.log10(std), step) for std, step in medians.items() if step]
        if len(points) > 1:
            decades, steps = zip(*points, strict=True)
            plain.append(linear_regression(decades, steps).slope)
            powers.append(linear_regression(decades, list(map(math.log10, steps))).slope)
    return (round(mean(plain), 1), round(mean(powers), 2)) if plain else (None, None)


def _steps_figure(found: Found) -> Figure:
    rows = [
        {"task": task, "depth": f"{_layers(depth)} ({depth + 1} maps)", "std": std, "step": _median_step(records)}
        for task in dict.fromkeys(spot.task for spot in found.studies[ESCAPE].places)
        for depth in DEPTHS
        for std in STDS
        for records in (_runs(found, depth=depth, std=std, task=task),)
    ]
    return Figure(
        name="d7-escape",
        title="Steps to leave zero, by the size of the noise and by depth",
        caption=(
            f"First step with a training loss below {ESCAPED:g} of the entropy of the class shares; median of "
            f"{found.preset.shown_seeds} seeds, momentum at rate {LR:g}, loss taken every "
            f"{_budget(found) // EVALUATIONS} steps. Missing: not within {_budget(found)} steps (the line). From noise "
            "of size s on L linear maps, gradient flow takes a time that grows as log(1/s) for L = 2 and as s^-(L-2) "
            "beyond: a slope of -1 for 3 maps, of -2 for 4."
        ),
        mark="line",
        x=Axis(field="std", title="standard deviation of the noise", scale="log"),
        y=Axis(field="step", title="steps to leave zero", scale="log"),
        color=Axis(field="depth", title="network", kind="nominal"),
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple(rows),
        reference=float(_budget(found)),
    )


def _means(found: Found) -> Table:
    return tables.judged_means(
        found,
        (TUNED,),
        "Noise and zeros, each tuned, two hidden layers: mean over seeds",
        {"test accuracy": "test_score", "training loss": "train_loss"},
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 64).unsqueeze(1)
noise = torch.Generator().manual_seed(0)
for std in (0.0, 1e-8, 1e-4, 1e-1):
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=std, generator=noise)
    units = len(torch.cat([net[0].weight, net[2].weight.T], dim=1).unique(dim=0))
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    for step in range(150):
        sgd.zero_grad()
        (loss := (net(x) - x.abs()).square().mean()).backward()
        sgd.step()
    print(f"noise {std:g}: {units} distinct units of 8 at the start, loss {loss.item():.4f} after 150 steps")
"""

CLAIM = Claim(
    id="D7",
    title="Noise after zero",
    statement="Adding noise after a zero initialization gives the randomness that it lacks.",
    basis="measured",
    rule=(
        f"Noise N(0, s²) is added to all-zero ReLU networks with {', '.join(map(str, DEPTHS))} hidden layers, s from "
        f"{STDS[0]:g} to {STDS[-1]:g}. A depth supports the claim if in every run all units of every hidden layer "
        "differ by bits before the first step, and refutes it if not. A task supports it if "
        f"s = {NOISY.value:g}, tuned, has a better test accuracy than tuned zeros with two hidden layers, and refutes "
        "it if worse or equivalent (exact sign-flip, paired fresh seeds, all tasks one family, Holm, "
        f"alpha {ALPHA:g}). The steps to leave zero are shown and not counted."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
