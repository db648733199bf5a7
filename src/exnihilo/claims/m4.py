"""M4: zero initialization is not equally good with all activations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import mean

from exnihilo.claims import figures
from exnihilo.claims.claim import Claim, Found, Reading, cell_of, conclude, contrast
from exnihilo.claims.clauses import (
    factor_by_clause,
    family,
    listed,
    margin,
    num_holding,
    of_clause,
    place,
    seeds_compared,
)
from exnihilo.claims.networks import shallow
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.lab.records import RunRecord, Start, Verdict
from exnihilo.lab.study import Study

STUDY = "M4 zeros by activation"
ZERO = Start(name="zeros")
BETTER, WORSE = "relu", "sigmoid"  # as the article has it
ACTIVATIONS = (BETTER, WORSE, "softplus", "tanh")
LOSS_MARGIN = 0.05
# The accuracies and the losses are a family each.
SHARE = 1 / 2
UNEQUAL, ORDER, ORDER_OF_LOSS = "not equal", f"{BETTER} above {WORSE}", f"{BETTER} fits better than {WORSE}"

Runs = Mapping[tuple[str, str], tuple[RunRecord, ...]]


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """The all-zero network with each activation, at the rate tuned for it; networks are compared on equal seeds."""
    return (
        preset.study(
            STUDY,
            "How well does an all-zero network do with each activation?",
            seed=seed,
            networks=[shallow(name) for name in ACTIVATIONS],
            starts=(ZERO,),
            looks=(preset.one_look,),
        ),
    )


def read(found: Found) -> Reading:
    """Each clause gives cells; see the rule of ``CLAIM``."""
    runs = {
        (spot.task, spot.network.activation): found.judged(STUDY, spot, ZERO) for spot in found.studies[STUDY].places
    }
    tasks = list(dict.fromkeys(task for task, _ in runs))
    others = [name for name in ACTIVATIONS if name != BETTER]
    names = {(task, other): f"{BETTER} against {other}: {task}" for task in tasks for other in others}
    accuracy = contrast(
        found,
        {name: (runs[task, BETTER], runs[task, other]) for (task, other), name in names.items()},
        share=SHARE,
        num_seeds=found.preset.one_look,
    )
    loss = contrast(
        found,
        {task: (runs[task, BETTER], runs[task, WORSE]) for task in tasks},
        metric="train_loss",
        margin=LOSS_MARGIN,
        share=SHARE,
        num_seeds=found.preset.one_look,
    )
    cells = (
        *(_unequal(task, {other: accuracy[names[task, other]] for other in others}) for task in tasks),
        *(_order(ORDER, task, accuracy[names[task, WORSE]], "test accuracy") for task in tasks),
        *(_order(ORDER_OF_LOSS, task, loss[task], "training loss, turned so that more is better") for task in tasks),
    )
    return Reading(
        verdict=conclude(cells),
        finding=_finding(cells, runs),
        factor=factor_by_clause(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(runs, tasks),),
            figures=(
                _bars(found, runs),
                replace(
                    figures.curves("m4-curves", "Training loss of an all-zero network by activation", runs),
                    color=Axis(field="start", title="activation", kind="nominal"),
                ),
            ),
        ),
    )


def _unequal(task: str, verdicts: Mapping[str, Verdict]) -> Cell:
    apart = [other for other, verdict in verdicts.items() if verdict.outcome in ("better", "worse")]
    is_open = any(verdict.outcome == "undecided" for verdict in verdicts.values())
    return Cell(
        where=place(UNEQUAL, task),
        supports=True if apart else None if is_open else False,
        n=min(verdict.n for verdict in verdicts.values()),
        finding=f"Test accuracy with {BETTER} differs from that with {listed(apart)}, of {listed(list(verdicts))}.",
    )


def _order(clause: str, task: str, verdict: Verdict, of: str) -> Cell:
    supports = {"better": True, "worse": False, "equivalent": False, "undecided": None}
    return cell_of(
        place(clause, task),
        verdict,
        f"{BETTER} minus {WORSE}: {verdict.estimate:+.3f} of {of} ({verdict.outcome}).",
        supports=supports[verdict.outcome],
    )


def _finding(cells: Sequence[Cell], runs: Runs) -> str:
    unequal, order = of_clause(cells, UNEQUAL), of_clause(cells, ORDER)
    reached = {name: mean(_accuracy(of) for (_, act), of in runs.items() if act == name) for name in ACTIVATIONS}
    texts = [f"{100 * value:.0f} % with {name}" for name, value in reached.items()]
    reverse = sum(cell.supports is False and (cell.estimate or 0.0) < 0.0 for cell in order)
    return (
        f"An all-zero network reaches {listed(texts)} of test accuracy (mean over {len(order)} tasks): the activations "
        f"differ in {num_holding(unequal)} of {len(unequal)} tasks. ReLU is above sigmoid in {num_holding(order)} of "
        f"{len(order)} tasks, and sigmoid above ReLU in {reverse}."
    )


def _accuracy(records: Sequence[RunRecord]) -> float:
    return mean(0.0 if record.diverged else record.test_score for record in records)


def _table(runs: Runs, tasks: Sequence[str]) -> Table:
    return Table(
        title="Test accuracy from an all-zero start, mean over seeds at the tuned rate",
        columns=("task", *ACTIVATIONS, "seeds"),
        rows=tuple((task, *(_accuracy(runs[task, a]) for a in ACTIVATIONS), len(runs[task, BETTER])) for task in tasks),
    )


def _bars(found: Found, runs: Runs) -> Figure:
    return Figure(
        name="m4-accuracy",
        title="Test accuracy of an all-zero network by activation",
        caption=f"Test accuracy, mean over {found.preset.one_look} seeds, each activation at the rate tuned for it.",
        mark="bar",
        x=Axis(field="activation", title="activation", kind="nominal"),
        y=Axis(field="accuracy", title="test accuracy"),
        facet=Axis(field="task", title="task", kind="nominal"),
        rows=tuple(
            {"task": task, "activation": activation, "accuracy": _accuracy(records)}
            for (task, activation), records in runs.items()
        ),
    )


SNIPPET = """\
import torch
from torch import nn

inputs = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
for act in (nn.ReLU(), nn.Sigmoid()):
    net = nn.Sequential(nn.Linear(8, 32), act, nn.Linear(32, 1))
    for parameter in net.parameters():
        nn.init.zeros_(parameter)
    sgd = torch.optim.SGD(net.parameters(), lr=0.2)
    for _ in range(300):
        loss = (net(inputs) - inputs[:, :1]).square().mean()
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    print(f"{act}: loss {loss.item():.3f}")
"""

CLAIM = Claim(
    id="M4",
    title="Not equal for all activations",
    statement=(
        "Zero initialization is not equally good with all activations: with sigmoid it does worse, with ReLU better."
    ),
    basis="measured",
    rule=(
        f"All-zero networks with {listed(ACTIVATIONS)}, each at its own tuned rate, compared on the same "
        f"{seeds_compared()}. 'Not equal': supported in a task where the test accuracy with ReLU differs from that "
        f"with another of them, refuted where all are equivalent (within {margin()}). The order: ReLU against sigmoid "
        f"by test accuracy and by training loss (margin {LOSS_MARGIN:g}); better supports it, worse or equivalent "
        f"refutes it. Undecided leaves a cell open. Two families, each by {family(SHARE)}."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
