"""F1: what neural network zero initialization is, in words that a student understands."""

from collections.abc import Mapping, Sequence
from statistics import mean, median

from exnihilo.claims import figures, tables
from exnihilo.claims.claim import Claim, Found, Reading
from exnihilo.claims.clauses import seeds_shown
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Evidence, Figure, Value
from exnihilo.lab.metrics import METRICS
from exnihilo.lab.records import Network, RunRecord, Start
from exnihilo.lab.study import Study

RELU, SIGMOID, RESIDUAL = "F1 a plain ReLU network", "F1 a plain sigmoid network", "F1 a residual network"
ZERO, HE, XAVIER, BRANCH = (Start(name=name) for name in ("zeros", "he_normal", "xavier_normal", "zero_residual"))
TASK = "digits"
NETWORKS = {
    RELU: Network(depth=4),
    SIGMOID: Network(activation="sigmoid"),
    RESIDUAL: Network(depth=4, width=16, residual=True),
}
# A rate at which the random start of each network trains well; nothing is judged here.
LRS = {RELU: 0.01, SIGMOID: 0.1, RESIDUAL: 0.01}


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Three small pictures: a plain network, one whose neurons are alive at zero, and a residual one."""

    def pictured(name: str, question: str, *starts: Start, measurements: int = 4) -> Study:
        return preset.study(
            name,
            question,
            seed=seed,
            networks=(NETWORKS[name],),
            starts=starts,
            tasks=(TASK,),
            policy="grid",
            lrs=(LRS[name],),
            looks=(preset.shown_seeds,),
            measurements=measurements,
        )

    return (
        pictured(RELU, "What moves in an all-zero ReLU network?", ZERO, HE),
        pictured(SIGMOID, "Do all-zero sigmoid neurons part?", ZERO, XAVIER, measurements=30),
        pictured(RESIDUAL, "Does a residual network train with zeros at the ends of its branches?", ZERO, BRANCH, HE),
    )


def read(found: Found) -> Reading:
    """No verdict: words, with numbers and pictures from the runs."""
    runs = {
        (name, start): found.judged(name, study.places[0], start)
        for name, study in found.studies.items()
        for start in study.arms
    }
    return Reading(
        verdict="explained",
        finding=_explanation(runs),
        evidence=Evidence(figures=(_gradients(runs), _widths(runs), _losses(runs))),
    )


Runs = Mapping[tuple[str, Start], Sequence[RunRecord]]


def _percent(records: Sequence[RunRecord]) -> str:
    """Mean test accuracy; a run that diverged reads nothing rightly."""
    return f"{100 * mean(tables.counted(record, 'test_score') for record in records):.0f} %"


def _width(records: Sequence[RunRecord]) -> str:
    return f"{median(record.effective_width_relative[-1][0] for record in records):.0f}"


def _explanation(runs: Runs) -> str:
    zero, he = runs[RELU, ZERO], runs[RELU, HE]
    still = sum(not record.moved for record in zero)
    steps, units = zero[0].run.steps, NETWORKS[SIGMOID].width
    branches = NETWORKS[RESIDUAL].depth
    return f"""
Zero initialization means that all the weights and biases of a neural network are 0 before training. It is the simplest
start there is. A plain network cannot learn from it. In the right places of a network, though, a zero is a good start,
and is put there on purpose.

## Why a plain network stays where it is

A weight learns by a **product**: the signal that comes in from below, times the error that comes back from above. With
every weight at zero, no error comes back through the layers. With ReLU, as with every activation that answers 0 to 0,
no signal goes up either. Zero times anything is zero, so no weight gets a step, today or later, whatever the learning
rate. The bias of the last layer alone moves: the network learns how frequent each answer is, and gives the same one to
every input.

Measured on handwritten digits: after {steps} steps, not one weight had moved in {still} of {len(zero)} all-zero ReLU
networks, and {_percent(zero)} of the test digits were read rightly. From He's random weights it was {_percent(he)}.

[figure: f1-gradients]

## Why neurons that are awake at zero do not save it

A sigmoid answers 0.5 to 0, so signals do go up, and the weights do begin to move. But the neurons of a layer begin
alike, see the same input and get back the same error, so they take the same step and stay copies of each other. This is
the **symmetry** that random weights break. However wide such a layer is, it can do no more than one neuron.

Measured: after training from zero, the {units} neurons of the first layer count as {_width(runs[SIGMOID, ZERO])}, by
how many differ from each other, and {_percent(runs[SIGMOID, ZERO])} of the test digits are read rightly. From Xavier's
random weights they count as {_width(runs[SIGMOID, XAVIER])}, and it is {_percent(runs[SIGMOID, XAVIER])}.

[figure: f1-width]

## Where a zero is right

A product needs **one** factor that is alive. Take a residual branch, `x + f(x)`, and let only the last layer of `f` be
zero. The branch adds nothing at first, so `x` passes unchanged through any number of branches. The input of the zero
layer is alive and an error reaches it, so it moves at the first step, and the rest of the branch from the second step
on. The same holds for a gate of 0 on a branch, for the last layer of a network, and for one of the two factors of an
adapter such as LoRA. Two zeros in one product are a dead end again.

Measured in a network of {branches} residual branches: zero at the end of each branch reads
{_percent(runs[RESIDUAL, BRANCH])} of the test digits, He's weights everywhere {_percent(runs[RESIDUAL, HE])}, and zero
everywhere {_percent(runs[RESIDUAL, ZERO])}.

[figure: f1-losses]

## What to do

Give the weights of plain layers random values of the right size: He's for ReLU, Xavier's for sigmoid and tanh. Let the
biases be zero. Put zeros where a second path stays alive: at the ends of residual branches, in gates, in the last
layer. And never set two factors of one product to zero.
""".strip()


def _gradients(runs: Runs) -> Figure:
    return figures.gradients(
        "f1-gradients",
        "How strongly each layer is pulled at the first step",
        f"Norm of the gradient of each weight matrix, {NETWORKS[RELU].label}, {TASK}, median of "
        f"{len(runs[RELU, ZERO])} seeds. Zero is exactly zero.",
        {(TASK, start.label): runs[RELU, start] for start in (ZERO, HE)},
    )


def _widths(runs: Runs) -> Figure:
    rows: list[Mapping[str, Value]] = []
    for start in (ZERO, XAVIER):
        records = runs[SIGMOID, start]
        for index, step in enumerate(records[0].measurement_steps):
            widths = [record.effective_width_relative[index][0] for record in records]
            row = {"start": start.label, "step": step, "width": median(widths), "low": min(widths), "high": max(widths)}
            rows.append(row)
    return Figure(
        name="f1-width",
        title="Neurons of the first layer that differ from each other",
        caption=(
            f"{NETWORKS[SIGMOID].label}, {TASK}, rate {LRS[SIGMOID]:g}; median of "
            f"{len(runs[SIGMOID, ZERO])} seeds, bands from the lowest to the highest. Neurons whose weights "
            "differ by less than a millionth count as one."
        ),
        mark="line",
        x=figures.STEP,
        y=Axis(field="width", title="different neurons"),
        color=figures.START,
        rows=tuple(rows),
    )


def _losses(runs: Runs) -> Figure:
    rows: list[Mapping[str, Value]] = []
    for start in (ZERO, BRANCH, HE):
        records = runs[RESIDUAL, start]
        for index, step in enumerate(records[0].evaluation_steps):
            losses = [tables.no_worse(METRICS["train_loss"], r.train_loss[index], r.run.steps) for r in records]
            row = {"start": start.label, "step": step, "loss": mean(losses), "low": min(losses), "high": max(losses)}
            rows.append(row)
    return Figure(
        name="f1-losses",
        title="Training loss: zeros everywhere, and zeros at the ends of the branches",
        caption=(
            f"{NETWORKS[RESIDUAL].label}, {TASK}, rate {LRS[RESIDUAL]:g}; mean of "
            f"{len(runs[RESIDUAL, ZERO])} seeds, bands from the lowest to the highest; "
            f"{tables.how_counted(['train_loss'])} from then on."
        ),
        mark="line",
        x=figures.STEP,
        y=Axis(field="loss", title="training loss, log scale", scale="log"),
        color=figures.START,
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

def gradient_norms(net):
    net(torch.ones(8, 4)).sum().backward()
    return [round(parameter.grad.norm().item(), 3) for parameter in net.parameters()]

plain = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
for parameter in plain.parameters():
    torch.nn.init.zeros_(parameter)
print("all zero:", gradient_norms(plain))  # only the last bias is pulled

one_zero = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
torch.nn.init.zeros_(one_zero[2].weight)
print("last layer zero:", gradient_norms(one_zero))  # the zero layer is pulled, the rest follows
"""

CLAIM = Claim(
    id="F1",
    title="What is zero initialization?",
    statement="The article's question: what neural network zero initialization is.",
    basis="explained",
    rule=(
        f"No verdict. The words follow from the product rule; the numbers are means or medians over "
        f"{seeds_shown()} on {TASK}, at rates of {', '.join(f'{lr:g}' for lr in LRS.values())}."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
