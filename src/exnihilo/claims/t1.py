"""T1: what three neurons whose weights are all zero answer to three inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.fills import Key, normal
from exnihilo.lab.study import judging_seed
from exnihilo.schemes.activations import ACTIVATIONS

INPUTS = ((0.1, 0.2, 0.3), (0.6, 1.1, -0.8), (-0.2, -0.3, 0.1))
CLAIMED = (0.98, 0.95, 0.99)
# Any targets do; these are not the same for any two inputs, so that there is something to learn.
TARGETS = (1.0, -1.0, 0.5)
STEPS = 50
LR = 0.1
# The activation of the picture: its zero neurons do learn, so that staying alike is not for want of moving.
PICTURED = "sigmoid"

Outputs = tuple[tuple[float, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neurons:
    """What three neurons answered to the three inputs, at the start and after each step of training.

    Args:
        value_at_zero: f(0) of the activation.
        outputs: Steps + 1 entries, each inputs x neurons.
    """

    value_at_zero: float
    outputs: tuple[Outputs, ...]

    @property
    def values_at_start(self) -> int:
        """Different numbers among all outputs of all neurons to all inputs, before training."""
        return len({value for row in self.outputs[0] for value in row})

    @property
    def most_distinct(self) -> int:
        """The most neurons that ever answered differently, by bits, to one input."""
        return max(len(set(row)) for outputs in self.outputs for row in outputs)

    @property
    def at_start(self) -> str:
        """What the neurons answer before training, in a few words."""
        values = {value for row in self.outputs[0] for value in row}
        return f"{min(values):g} to every input" if len(values) == 1 else f"{len(values)} different numbers"

    @property
    def own_distinct(self) -> int:
        """Different numbers after the last step if each neuron is shown one input of its own."""
        return len({row[neuron] for neuron, row in enumerate(self.outputs[-1])})

    @property
    def has_learned(self) -> bool:
        """Whether the answers depend on the input after the last step."""
        return len(set(self.outputs[-1])) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Zero neurons of every activation, and random ones of one activation beside them."""

    zero: Mapping[str, Neurons]
    random: Neurons


def measure(preset: Preset, seed: int) -> Outcome:
    """Trains three neurons and a linear head on the article's three inputs by plain gradient descent."""
    del preset  # the article's own inputs, and no task
    zeros = torch.zeros(len(INPUTS[0]), len(CLAIMED))
    drawn = normal(Key(judging_seed(seed, 0), "neurons"), zeros.numel()).view_as(zeros)
    return Outcome(
        zero={name: _trained(activation.function, zeros) for name, activation in ACTIVATIONS.items()},
        random=_trained(ACTIVATIONS[PICTURED].function, drawn),
    )


def _trained(function: Callable[[Tensor], Tensor], weight: Tensor) -> Neurons:
    inputs, targets = torch.tensor(INPUTS), torch.tensor(TARGETS).unsqueeze(1)
    num_neurons = weight.shape[1]
    with torch.inference_mode(mode=False), torch.enable_grad():
        parameters = [weight.clone(), torch.zeros(num_neurons), torch.zeros(num_neurons, 1), torch.zeros(1)]
        for parameter in parameters:
            parameter.requires_grad_()
        w, b, head, head_bias = parameters
        outputs: list[Outputs] = []
        for step in range(STEPS + 1):
            hidden = function(inputs @ w + b)
            outputs.append(tuple(tuple(row) for row in hidden.tolist()))
            if step < STEPS:
                loss = (hidden @ head + head_bias - targets).square().mean()
                for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
                    parameter.data -= LR * gradient
        at_zero = function(torch.zeros(())).item()
    return Neurons(value_at_zero=at_zero, outputs=tuple(outputs))


def read(found: Found) -> Reading:
    """Two cells for each activation: different numbers at the start, and different answers to one input at any step."""
    outcome: Outcome = found.measured
    cells = (
        *(_start_cell(name, neurons) for name, neurons in outcome.zero.items()),
        *(_training_cell(name, neurons) for name, neurons in outcome.zero.items()),
    )
    return Reading(
        verdict=conclude(cells),
        finding=" ".join(_sentences(outcome.zero)),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(outcome.zero),),
            figures=(_outputs(outcome.zero), _trajectories(outcome)),
        ),
    )


def _sentences(zero: Mapping[str, Neurons]) -> tuple[str, ...]:
    """What holds at the start, what training changes, and what it means if each neuron sees an input of its own."""
    total = len(zero)
    single = {name: neurons for name, neurons in zero.items() if neurons.values_at_start == 1}
    alike = sum(neurons.most_distinct == 1 for neurons in zero.values())
    by_input = sum(neurons.has_learned for neurons in zero.values())
    own = sum(neurons.own_distinct == len(CLAIMED) for neurons in zero.values())
    shown = [f"{single[name].outputs[0][0][0]:g} for {name}" for name in ("sigmoid", "relu") if name in single]
    examples = f" ({', '.join(shown)})" if shown else ""
    claimed = ", ".join(f"{value:g}" for value in CLAIMED)
    return (
        f"At the start, zero neurons give one and the same number{examples} with {len(single)} of {total} activations, "
        "also if each neuron sees an input of its own.",
        f"With {alike} of {total} they answer any one input alike, bit for bit, after each of {STEPS} steps of "
        f"training: three different answers to one input, such as {claimed}, need neurons that differ.",
        f"Different inputs get different answers after training with {by_input} of {total}; if each neuron is then "
        f"shown an input of its own, {own} of {total} give {len(CLAIMED)} different numbers, from weights that are no "
        "longer zero.",
    )


def _start_cell(name: str, neurons: Neurons) -> Cell:
    return Cell(
        where=f"at the start · {name}",
        supports=neurons.values_at_start > 1,
        finding=f"All neurons to all inputs: {neurons.at_start}.",
    )


def _training_cell(name: str, neurons: Neurons) -> Cell:
    later = (
        f"equal by bits at the start and after each of {len(neurons.outputs) - 1} steps"
        if neurons.most_distinct == 1
        else f"up to {neurons.most_distinct} neurons differ"
    )
    return Cell(
        where=f"one input · {name}",
        supports=neurons.most_distinct > 1,
        finding=f"Answers of the neurons to one input: {later}.",
    )


def _table(zero: Mapping[str, Neurons]) -> Table:
    return Table(
        title="Three zero neurons, three inputs",
        columns=(
            "activation",
            "f(0)",
            "different outputs at the start",
            f"most neurons that differ in {STEPS} steps",
            "answers depend on the input afterwards",
            "different numbers afterwards, each neuron to its own input",
        ),
        rows=tuple(
            (
                name,
                n.value_at_zero,
                n.values_at_start,
                n.most_distinct,
                "yes" if n.has_learned else "no",
                n.own_distinct,
            )
            for name, n in zero.items()
        ),
    )


def _outputs(zero: Mapping[str, Neurons]) -> Figure:
    found = [
        {"activation": name, "output": value, "what": "zero neurons, measured"}
        for name, neurons in zero.items()
        for value in sorted({value for row in neurons.outputs[0] for value in row})
    ]
    claimed = [
        {"activation": name, "output": value, "what": "three neurons, as claimed"} for name in zero for value in CLAIMED
    ]
    return Figure(
        name="t1-outputs",
        title="What zero neurons answer at the start, and what is claimed",
        caption=(
            f"All outputs of {len(CLAIMED)} neurons to {len(INPUTS)} inputs; equal outputs share a dot. "
            "Nothing is random here."
        ),
        mark="point",
        x=Axis(field="activation", title="activation", kind="nominal"),
        y=Axis(field="output", title="output"),
        color=Axis(field="what", title="", kind="nominal"),
        rows=(*found, *claimed),
    )


def _trajectories(outcome: Outcome) -> Figure:
    kinds = {"weights all zero": outcome.zero[PICTURED], "weights N(0, 1)": outcome.random}
    rows = [
        {"start": kind, "neuron": f"neuron {neuron + 1}", "step": step, "output": outputs[0][neuron]}
        for kind, neurons in kinds.items()
        for step, outputs in enumerate(neurons.outputs)
        for neuron in range(len(CLAIMED))
    ]
    counted = [f"{neurons.most_distinct} with {kind}" for kind, neurons in kinds.items()]
    return Figure(
        name="t1-training",
        title=f"Lines that three neurons draw: {' and '.join(counted)}",
        caption=f"Output of {PICTURED} neurons to the first input while they train by gradient descent, rate {LR:g}.",
        mark="line",
        x=Axis(field="step", title="training step"),
        y=Axis(field="output", title="output to [0.1, 0.2, 0.3]"),
        color=Axis(field="neuron", title="neuron", kind="nominal"),
        facet=Axis(field="start", title="start", kind="nominal"),
        rows=tuple(rows),
    )


SNIPPET = """\
import torch

inputs = torch.tensor([[0.1, 0.2, 0.3], [0.6, 1.1, -0.8], [-0.2, -0.3, 0.1]])
targets = torch.tensor([[1.0], [-1.0], [0.5]])
net = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Sigmoid(), torch.nn.Linear(3, 1))
for parameter in net.parameters():
    torch.nn.init.zeros_(parameter)
sgd = torch.optim.SGD(net.parameters(), lr=0.1)
print(net[:2](inputs))  # at the start
for _ in range(50):
    sgd.zero_grad()
    (net(inputs) - targets).square().mean().backward()
    sgd.step()
print(net[:2](inputs))  # after 50 steps: a row for each input, a column for each neuron
"""

CLAIM = Claim(
    id="T1",
    title="Activations of zero neurons",
    statement=(
        "Three neurons whose weights are zero, shown three inputs, have the three different activations 0.98, 0.95 "
        "and 0.99."
    ),
    basis="exact",
    rule=(
        f"Three neurons with zero weights and biases and a zero linear head take {STEPS} steps of gradient descent, "
        f"once with each of {len(ACTIVATIONS)} activations. At the start: different numbers, of any neurons to any "
        "inputs (so also where each neuron sees an input of its own), support the claim; a single one refutes it. At "
        "the start and after each step: neurons that answer one input differently, by bits, support it; neurons that "
        "never do refute it. That inputs are told apart after training is shown and not counted: the weights are not "
        "zero then."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
