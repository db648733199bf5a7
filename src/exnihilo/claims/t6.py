"""T6: accuracy by activation of networks that begin at zero."""

from collections.abc import Mapping, Sequence
from math import inf
from statistics import mean

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast, factor_of
from exnihilo.claims.presets import ALPHA, PRESETS, Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table, Value
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Place, Study
from exnihilo.schemes.activations import activation_named

JUDGED, ALL = "T6 ReLU and sigmoid from zero", "T6 activations"
ZERO = Start(name="zeros")
STARTS = (ZERO, Start(name="xavier_normal"), Start(name="he_normal"))
RELU, SIGMOID = Network(), Network(activation="sigmoid")
ACTIVATIONS = ("relu", "leaky_relu", "tanh", "gelu", "silu", "elu", "sigmoid", "softplus", "cos")
# The overview is not judged: two rates, ten times apart, of which validation data chooses.
OVERVIEW_RATES = (0.03, 0.3)
DIVERGED = tables.how_counted(["test_score"])

Groups = Mapping[tuple[str, str, str], Sequence[RunRecord]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """ReLU and sigmoid from zero, fully tuned and judged; then every activation from three starts, to look at."""
    return (
        preset.study(
            JUDGED,
            "Is an all-zero ReLU network more accurate than an all-zero sigmoid network?",
            seed=seed,
            networks=(RELU, SIGMOID),
            starts=(ZERO,),
        ),
        preset.study(
            ALL,
            "How accurate is each activation from zero, Xavier's and He's weights?",
            seed=seed,
            networks=tuple(Network(activation=name) for name in ACTIVATIONS),
            starts=STARTS,
            policy="grid",
            lrs=OVERVIEW_RATES,
            looks=(preset.shown_seeds,),
        ),
    )


def read(found: Found) -> Reading:
    """A cell a task: ReLU above sigmoid supports the claim, below it or equivalent refutes it."""
    cells = _cells(found)
    groups: Groups = {
        (place.task, place.network.activation, start.label): _at_the_better_rate(found, place, start)
        for place in found.studies[ALL].places
        for start in STARTS
    }
    return Reading(
        verdict=conclude(cells),
        finding=_finding(found, cells, groups),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(found, groups),),
            figures=(_map(found, groups), _intervals(cells), _curves(found)),
        ),
    )


def _at_the_better_rate(found: Found, place: Place, start: Start) -> tuple[RunRecord, ...]:
    """The runs at the rate with the lower mean validation loss; a rate at which a run diverged is the worse one."""
    choices = [found.judged(ALL, place, start, lr) for lr in OVERVIEW_RATES]
    return min(choices, key=lambda runs: sum(inf if run.diverged else run.validation_loss[-1] for run in runs))


def _accuracy(record: RunRecord) -> float:
    """Test accuracy; a run that diverged is right nowhere."""
    return tables.counted(record, "test_score")


def _from_zero(found: Found, network: Network) -> dict[str, tuple[RunRecord, ...]]:
    """By task: the judging runs of an all-zero network, at its tuned rate."""
    return {
        place.task: found.judged(JUDGED, place, ZERO)
        for place in found.studies[JUDGED].places
        if place.network == network
    }


def _cells(found: Found) -> tuple[Cell, ...]:
    relu, sigmoid = _from_zero(found, RELU), _from_zero(found, SIGMOID)
    verdicts = contrast(found, {task: (relu[task], sigmoid[task]) for task in relu})
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return tuple(
        cell_of(
            task,
            verdict,
            f"ReLU {100 * mean(map(_accuracy, relu[task])):.1f} %, sigmoid "
            f"{100 * mean(map(_accuracy, sigmoid[task])):.1f} % on test data ({verdict.outcome}).",
            supports=supports[verdict.outcome],
        )
        for task, verdict in verdicts.items()
    )


def _finding(found: Found, cells: Sequence[Cell], groups: Groups) -> str:
    relu, sigmoid = (
        100 * mean(mean(map(_accuracy, records)) for records in _from_zero(found, network).values())
        for network in (RELU, SIGMOID)
    )
    differences = sorted(100 * cell.estimate for cell in cells if cell.estimate is not None)
    from_zero = {name: _mean(groups, name, ZERO) for name in ACTIVATIONS}
    best = max(from_zero, key=lambda name: from_zero[name])
    he = {name: _mean(groups, name, STARTS[-1]) for name in ACTIVATIONS}
    best_he = max(he, key=lambda name: he[name])
    return (
        f"Averaged over the tasks, the all-zero ReLU network is right in {relu:.1f} % of the test data and the "
        f"all-zero sigmoid network in {sigmoid:.1f} %; ReLU minus sigmoid is {differences[0]:+.0f} to "
        f"{differences[-1]:+.0f} points by task. Of {len(ACTIVATIONS)} activations the best from zero is {best} with "
        f"{from_zero[best]:.0f} %; from He's weights it is {best_he} with {he[best_he]:.0f} %."
    )


def _mean(groups: Groups, activation: str, start: Start) -> float:
    return 100 * mean(
        mean(map(_accuracy, records))
        for (_, name, label), records in groups.items()
        if (name, label) == (activation, start.label)
    )


def _table(found: Found, groups: Groups) -> Table:
    rows: list[tuple[Value, ...]] = []
    for name in ACTIVATIONS:
        activation = activation_named(name)
        means = (_mean(groups, name, start) / 100 for start in STARTS)
        rows.append((name, activation.value_at_zero, activation.slope_at_zero, *means))
    return Table(
        title=(
            f"Test accuracy, mean over the tasks and {found.preset.shown_seeds} seeds at the better of two rates; "
            f"{DIVERGED}"
        ),
        columns=("activation", "f(0)", "f'(0)", *(start.label for start in STARTS)),
        rows=tuple(rows),
    )


def _map(found: Found, groups: Groups) -> Figure:
    return Figure(
        name="t6-accuracy",
        title="Test accuracy by activation, task and start",
        caption=(
            f"MLP 2x32, mean of {found.preset.shown_seeds} seeds at the better of the rates "
            f"{' and '.join(f'{rate:g}' for rate in OVERVIEW_RATES)}; {DIVERGED}."
        ),
        mark="heatmap",
        x=Axis(field="task", title="task", kind="nominal"),
        y=Axis(field="activation", title="activation", kind="nominal"),
        color=Axis(field="accuracy", title="test accuracy"),
        facet=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(
            {"start": start, "task": task, "activation": name, "accuracy": mean(map(_accuracy, records))}
            for (task, name, start), records in groups.items()
        ),
    )


def _intervals(cells: Sequence[Cell]) -> Figure:
    return figures.intervals(
        "t6-difference",
        "Test accuracy of all-zero ReLU networks minus that of all-zero sigmoid networks",
        "Mean paired difference over seeds with its interval, corrected for the number of tasks.",
        cells,
        x_title="difference of test accuracy",
    )


def _curves(found: Found) -> Figure:
    return figures.curves(
        "t6-curves",
        "Training loss from zero",
        {
            (task, f"zeros, {network.activation}"): records
            for network in (RELU, SIGMOID)
            for task, records in _from_zero(found, network).items()
        },
    )


SNIPPET = """\
import torch

x = torch.linspace(-2, 2, 64).unsqueeze(1)
y = (x > 0.5).float()  # 24 of 64
for activation in (torch.nn.ReLU(), torch.nn.Sigmoid()):
    net = torch.nn.Sequential(torch.nn.Linear(1, 8), activation, torch.nn.Linear(8, 1))
    for parameter in net.parameters():
        torch.nn.init.zeros_(parameter)
    sgd = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(500):
        sgd.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(x), y).backward()
        sgd.step()
    print(activation, "accuracy:", ((net(x) > 0) == (y > 0)).float().mean().item())
"""

CLAIM = Claim(
    id="T6",
    title="Activations from zero",
    statement="Started from zero, a ReLU network is more accurate (92 %) than a sigmoid network (82 %).",
    basis="measured",
    rule=(
        "Two all-zero networks, one with ReLU and one with sigmoid, each at its own tuned rate, on paired fresh "
        f"seeds in each task (exact sign-flip, Holm, alpha {ALPHA:g}): ReLU better on test data supports; worse, or "
        f"equivalent within {100 * PRESETS['quick'].margin:g} points, refutes."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
