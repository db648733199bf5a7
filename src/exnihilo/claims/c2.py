"""C2: what is said for and against random weights in the comparison of methods."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import mean, median

from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast
from exnihilo.claims.clauses import (
    agreed,
    factor_by_clause,
    family,
    listed,
    margin,
    num_holding,
    of_clause,
    place,
    seeds_compared,
    seeds_shown,
    somewhere,
)
from exnihilo.claims.networks import deep, short_label
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, RunRecord, Start, Verdict
from exnihilo.lab.study import Place, Study

TRAINED, BEGUN = "C2 range of random weights", "C2 random weights before training"
NETWORK, SATURATING = deep(), deep("tanh")
# As far below the middle one as above it.
STDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# Three of the stds are trained; the middle one is close to He's, sqrt(2 / 16) = 0.35.
SMALL, MIDDLE, WIDE = Start(name="small_normal"), Start(name="normal", value=0.3), Start(name="normal", value=1.0)
RANDOM = (SMALL, MIDDLE, WIDE)
# Starts whose units are all alike.
ALIKE = (Start(name="zeros"), Start(name="constant", value=0.1))
LOSS_MARGIN = 0.05
# The losses and the accuracies are a family each.
SHARE = 1 / 2
SATURATED = 0.5
EXPLODED = 100.0
SYMMETRY, OPTIMA = "breaks symmetry", "helps to avoid local optima"
SATURATION, EXPLOSION, TUNING = "saturation", "exploding gradients", "range must be tuned"

Runs = Mapping[tuple[str, Start], tuple[RunRecord, ...]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Random weights of several widths beside starts of equal units, trained; and many widths before training."""
    return (
        preset.study(
            TRAINED,
            "Which random weights train a deep ReLU network, and do starts of equal units train it?",
            seed=seed,
            networks=(NETWORK,),
            starts=(*RANDOM, *ALIKE),
            looks=(preset.one_look,),
        ),
        preset.study(
            BEGUN,
            "Which random weights saturate units, or make gradients explode, before the first step?",
            seed=seed,
            networks=(NETWORK, SATURATING),
            starts=[Start(name="normal", value=std) for std in STDS],
            policy="grid",
            lrs=(0.01,),
            looks=(preset.shown_seeds,),
            steps=1,
            evaluations=1,
            measurements=1,
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    runs = {
        (spot.task, start): found.judged(TRAINED, spot, start)
        for spot in found.studies[TRAINED].places
        for start in (*RANDOM, *ALIKE)
    }
    loss = _contrasts(
        found, runs, [(one, other) for other in ALIKE for one in RANDOM], metric="train_loss", within=LOSS_MARGIN
    )
    score = _contrasts(found, runs, [(MIDDLE, SMALL), (MIDDLE, WIDE)], metric="test_score", within=found.preset.margin)
    cells = (
        *(_symmetry(found, std) for std in STDS),
        *(_optima(task, one, other, verdict) for (task, one, other), verdict in loss.items()),
        _saturation(found),
        _explosion(found),
        *(_tuning(task, score) for task in dict.fromkeys(task for task, _, _ in score)),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, cells, runs),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(found, runs),),
            figures=(_saturated(found), _gradients(found), _bars(found, runs)),
        ),
    )


def _contrasts(
    found: Found, runs: Runs, pairs: Sequence[tuple[Start, Start]], *, metric: str, within: float
) -> Mapping[tuple[str, Start, Start], Verdict]:
    tasks = list(dict.fromkeys(task for task, _ in runs))
    names = {(task, *pair): f"{pair[0].label} vs {pair[1].label}: {task}" for pair in pairs for task in tasks}
    sides = {name: (runs[task, one], runs[task, other]) for (task, one, other), name in names.items()}
    verdicts = contrast(found, sides, metric=metric, margin=within, share=SHARE, num_seeds=found.preset.one_look)
    return {key: verdicts[name] for key, name in names.items()}


def _begun(found: Found, network: Network, std: float) -> list[RunRecord]:
    spots: list[Place] = [spot for spot in found.studies[BEGUN].places if spot.network == network]
    start = Start(name="normal", value=std)
    return [record for spot in spots for record in found.judged(BEGUN, spot, start)]


def _symmetry(found: Found, std: float) -> Cell:
    records = [record for network in (NETWORK, SATURATING) for record in _begun(found, network, std)]
    widths = [width for record in records for width in record.effective_width[0]]
    return Cell(
        where=place(SYMMETRY, f"std {std:g}"),
        supports=min(widths) == NETWORK.width,
        n=len(records),
        finding=f"At the start every hidden layer has at least {min(widths)} different units of {NETWORK.width}.",
    )


def _optima(task: str, one: Start, other: Start, verdict: Verdict) -> Cell:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return cell_of(
        place(OPTIMA, f"{one.label} against {other.label}", task),
        verdict,
        f"The final training loss is lower by {round(verdict.estimate, 2) + 0.0:+.2f}, a run that diverged counted as "
        f"10 ({verdict.outcome}).",
        supports=supports[verdict.outcome],
    )


def _saturated_share(record: RunRecord) -> float:
    return mean(record.saturated_units[0])


def _largest_gradient(record: RunRecord) -> float:
    return max(record.gradient_norm[0])


def _saturation(found: Found) -> Cell:
    """One width that saturates is enough: the statement is that it can happen."""
    shares = {std: [_saturated_share(record) for record in _begun(found, SATURATING, std)] for std in STDS}
    texts = [f"{100 * median(of):.0f} % at {std:g}" for std, of in shares.items()]
    return Cell(
        where=place(SATURATION, short_label(SATURATING)),
        supports=somewhere(agreed(share >= SATURATED for share in of) for of in shares.values()),
        n=sum(map(len, shares.values())),
        finding=f"Saturated hidden units at the start, by std: {listed(texts, len(texts))}.",
    )


def _growth(found: Found) -> dict[float, list[float]]:
    """The largest gradient norm of a map, in units of the middle std's, of each run on one task and seed."""
    norms = {std: list(map(_largest_gradient, _begun(found, NETWORK, std))) for std in STDS}
    middle = norms[MIDDLE.value or 0.0]
    return {std: [one / other for one, other in zip(of, middle, strict=True)] for std, of in norms.items()}


def _explosion(found: Found) -> Cell:
    """One width that explodes is enough."""
    growth = _growth(found)
    texts = [f"{median(times):.2g} at {std:g}" for std, times in growth.items()]
    return Cell(
        where=place(EXPLOSION, short_label(NETWORK)),
        supports=somewhere(agreed(one >= EXPLODED for one in times) for times in growth.values()),
        n=sum(len(_begun(found, NETWORK, std)) for std in STDS),
        finding=(
            f"Largest gradient of a map at the start, in units of that at std {MIDDLE.value:g} "
            f"(medians): {listed(texts, len(texts))}."
        ),
    )


def _tuning(task: str, score: Mapping[tuple[str, Start, Start], Verdict]) -> Cell:
    """One width that is better or worse than the middle one is enough."""
    verdicts = {other: verdict for (of, _, other), verdict in score.items() if of == task}
    apart = [other for other, verdict in verdicts.items() if verdict.outcome in ("better", "worse")]
    is_open = any(verdict.outcome == "undecided" for verdict in verdicts.values())
    texts = [f"{100 * verdict.estimate:+.1f} points from {other.label}" for other, verdict in verdicts.items()]
    return Cell(
        where=place(TUNING, task),
        supports=True if apart else None if is_open else False,
        n=min(verdict.n for verdict in verdicts.values()),
        finding=f"Test accuracy of {MIDDLE.label}: {listed(texts)}; it differs from {len(apart)} of {len(verdicts)}.",
    )


def _finding(found: Found, cells: Sequence[Cell], runs: Runs) -> str:
    means = {
        start: mean(_score(record) for (_, s), of in runs.items() if s == start for record in of) for start in RANDOM
    }
    texts = [f"{100 * value:.0f} % from {start.label}" for start, value in means.items()]
    optima, tuning = of_clause(cells, OPTIMA), of_clause(cells, TUNING)
    by_start = [
        f"{start.label} in {num_holding(of)} of {len(of)}"
        for start in RANDOM
        if (of := [cell for cell in optima if f" {start.label} against" in cell.where])
    ]
    most = max(median(map(_saturated_share, _begun(found, SATURATING, std))) for std in STDS)
    return (
        f"Random weights make all units differ at {num_holding(of_clause(cells, SYMMETRY))} of {len(STDS)} stds. They "
        f"reach a lower training loss than starts of equal units: {listed(by_start)} comparisons. The range decides: "
        f"mean test accuracy is {listed(texts)}, with a difference in {num_holding(tuning)} of {len(tuning)} tasks; "
        f"before training the widest saturate {100 * most:.0f} % of tanh units and multiply ReLU gradients by "
        f"{max(map(median, _growth(found).values())):.1g}."
    )


def _score(record: RunRecord) -> float:
    return 0.0 if record.diverged else record.test_score


def _table(found: Found, runs: Runs) -> Table:
    spots = {spot.task: spot for spot in found.studies[TRAINED].places}
    rows: list[tuple[Value, ...]] = []
    for (task, start), records in runs.items():
        alive = [record.train_loss[-1] for record in records if not record.diverged]
        rows.append(
            (
                task,
                start.label,
                found.rate(TRAINED, spots[task], start),
                mean(alive) if alive else None,
                mean(map(_score, records)),
                sum(record.diverged for record in records),
                len(records),
            )
        )
    return Table(
        title=f"A {short_label(NETWORK)} network after training, means over seeds (a diverged run has accuracy 0)",
        columns=("task", "start", "tuned rate", "training loss", "test accuracy", "diverged runs", "seeds"),
        rows=tuple(rows),
    )


def _by_std(found: Found, network: Network, values: Iterable[float]) -> list[tuple[float, RunRecord]]:
    return [(std, record) for std in values for record in _begun(found, network, std)]


def _saturated(found: Found) -> Figure:
    found_runs = _by_std(found, SATURATING, STDS)
    rows = [
        {
            "std": std,
            "layer": f"hidden layer {layer + 1}",
            "share": 100 * mean(record.saturated_units[0][layer] for s, record in found_runs if s == std),
        }
        for std in STDS
        for layer in range(SATURATING.depth)
    ]
    return Figure(
        name="c2-saturation",
        title="Saturated tanh units before training, against the range of the weights",
        caption=f"Mean over {found.preset.shown_seeds} seeds in each of {len(found.studies[BEGUN].tasks)} tasks.",
        mark="line",
        x=Axis(field="std", title="std of the weights", scale="log"),
        y=Axis(field="share", title="saturated units (%)"),
        color=Axis(field="layer", title="layer", kind="nominal"),
        rows=tuple(rows),
    )


def _gradients(found: Found) -> Figure:
    rows: list[dict[str, Value]] = []
    for network in (NETWORK, SATURATING):
        for std in STDS:
            norms = [_largest_gradient(record) for record in _begun(found, network, std)]
            rows.append(
                {
                    "std": std,
                    "network": short_label(network),
                    "norm": median(norms),
                    "low": min(norms),
                    "high": max(norms),
                }
            )
    return Figure(
        name="c2-gradient",
        title="The largest gradient of a map before training, against the range of the weights",
        caption=(
            f"Median over {found.preset.shown_seeds} seeds in each of {len(found.studies[BEGUN].tasks)} tasks; bands "
            "reach from the lowest to the highest run."
        ),
        mark="line",
        x=Axis(field="std", title="std of the weights", scale="log"),
        y=Axis(field="norm", title="gradient norm", scale="log"),
        color=Axis(field="network", title="network", kind="nominal"),
        rows=tuple(rows),
    )


def _bars(found: Found, runs: Runs) -> Figure:
    return Figure(
        name="c2-range",
        title="Test accuracy of a deep ReLU network by the range of its random weights",
        caption=f"Mean over {found.preset.one_look} seeds, each start at its tuned rate; a diverged run counts as 0.",
        mark="bar",
        x=Axis(field="start", title="start", kind="nominal"),
        y=Axis(field="accuracy", title="test accuracy"),
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple(
            {"task": task, "start": start.label, "accuracy": mean(map(_score, records))}
            for (task, start), records in runs.items()
        ),
    )


SNIPPET = """\
import torch

for std in (0.01, 0.1, 0.35, 1.0, 3.0):
    draw = torch.Generator().manual_seed(0)
    first = signal = torch.randn(64, 16, generator=draw, requires_grad=True)
    squashed = signal.detach()
    for _ in range(6):
        weight = std * torch.randn(16, 16, generator=draw)
        signal = torch.relu(signal @ weight)
        squashed = torch.tanh(squashed @ weight)
    (gradient,) = torch.autograd.grad(signal.sum(), first)
    flat = (1 - squashed**2 < 0.05).float().mean()
    print(f"std {std:4}: relu gradient {gradient.norm():8.1e}, tanh outputs in the flat part {flat:4.0%}")
"""

CLAIM = Claim(
    id="C2",
    title="Random weights, among the methods",
    statement=(
        "For random initialization: it breaks the symmetry and helps to avoid local optima. Against it: units may "
        "saturate and gradients explode, and the range must be tuned."
    ),
    basis="measured",
    rule=(
        f"Before training, normal weights of std {listed([f'{std:g}' for std in STDS], len(STDS))}, {seeds_shown()} a "
        "task: descriptions of the start itself, which all runs must agree in, and no tests. 'Breaks symmetry': all "
        "units of every layer of every run differ by bits, else refuted at that std. 'Saturation': at some std at "
        f"least {100 * SATURATED:.0f} % of the tanh units are saturated in every run; 'exploding gradients': at some "
        f"std the largest gradient of a ReLU network's map is in every run {EXPLODED:g} times that at {MIDDLE.value:g} "
        "or more; both are refuted if no run at any std is so, and open else. Trained, each start at its own tuned "
        f"rate, {seeds_compared()} of a {short_label(NETWORK)} network: 'avoids local optima': "
        f"{listed([start.label for start in RANDOM])} against {listed([start.label for start in ALIKE])} by the final "
        f"training loss; better supports it, worse or equivalent (within {LOSS_MARGIN:g}) refutes it. 'Must be tuned': "
        f"in a task, {MIDDLE.label} better or worse than another range by test accuracy; all equivalent (within "
        f"{margin()}) refutes. Undecided leaves a cell open. Two families, each by {family(SHARE)}."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
