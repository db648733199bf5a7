"""T1: what three neurons whose weights are all zero answer to three inputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.claims.claim import Claim, Found, Reading, conclude, factor_of
from exnihilo.claims.records import Axis, Cell, Evidence, Figure, Table
from exnihilo.fills import Key, normal
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
    def has_learned(self) -> bool:
        """Whether the answers depend on the input after the last step."""
        return len(set(self.outputs[-1])) > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """Zero neurons of every activation, and random ones of one activation beside them."""

    zero: Mapping[str, Neurons]
    random: Neurons


def measure() -> Outcome:
    """Trains three neurons and a linear head on the article's three inputs by plain gradient descent."""
    zeros = torch.zeros(len(INPUTS[0]), len(CLAIMED))
    drawn = normal(Key(0, "neurons"), zeros.numel()).view_as(zeros)
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
    """A cell for each activation: equal neurons refute the claim, neurons that differ support it."""
    outcome: Outcome = found.measured
    cells = tuple(_cell(name, neurons) for name, neurons in outcome.zero.items())
    apart = [name for name, neurons in outcome.zero.items() if neurons.most_distinct > 1]
    constant = [name for name, neurons in outcome.zero.items() if neurons.values_at_start == 1]
    claimed = ", ".join(f"{value:g}" for value in CLAIMED)
    twins = (
        f"With {len(outcome.zero) - len(apart)} of {len(outcome.zero)} activations the three neurons answer alike, bit "
        f"for bit, before training and after each of {STEPS} steps; three different numbers such as {claimed} need "
        "neurons that differ."
    )
    start = (
        f"Before training the answer is f(0) whatever the input with {len(constant)} of them"
        f" (0.5 for sigmoid, 0 for ReLU)."
        if _starts_at(outcome, "sigmoid", 0.5) and _starts_at(outcome, "relu", 0.0)
        else f"Before training the answer does not depend on the input with {len(constant)} of them."
    )
    return Reading(
        verdict=conclude(cells),
        finding=f"{twins} {start}",
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(_table(outcome.zero),),
            figures=(_outputs(outcome.zero), _trajectories(outcome)),
        ),
    )


def _starts_at(outcome: Outcome, name: str, value: float) -> bool:
    neurons = outcome.zero.get(name)
    return neurons is not None and {v for row in neurons.outputs[0] for v in row} == {value}


def _cell(name: str, neurons: Neurons) -> Cell:
    start = sorted({value for row in neurons.outputs[0] for value in row})
    shown = f"{start[0]:g} to every input" if len(start) == 1 else f"{len(start)} different numbers"
    later = (
        f"equal by bits after each of {len(neurons.outputs) - 1} steps"
        if neurons.most_distinct == 1
        else f"up to {neurons.most_distinct} neurons differ"
    )
    return Cell(where=name, supports=neurons.most_distinct > 1, finding=f"At the start {shown}; {later}.")


def _table(zero: Mapping[str, Neurons]) -> Table:
    return Table(
        title="Three zero neurons, three inputs",
        columns=(
            "activation",
            "f(0)",
            "different outputs at the start",
            f"most neurons that differ in {STEPS} steps",
            "answers depend on the input afterwards",
        ),
        rows=tuple(
            (name, n.value_at_zero, n.values_at_start, n.most_distinct, "yes" if n.has_learned else "no")
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
        f"once with each of {len(ACTIVATIONS)} activations. Neurons that answer any input differently, by bits, at the "
        "start or after any step support the claim; neurons that never do refute it."
    ),
    read=read,
    measure=measure,
    snippet=SNIPPET,
)
