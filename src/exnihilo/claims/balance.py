"""How evenly a start passes a loss's gradient down a network, measured before the first step."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.lab.networks import maps, parameters
from exnihilo.lab.records import Network, Start
from exnihilo.lab.starts import begin
from exnihilo.lab.tasks import load, split, task_named
from exnihilo.schemes.activations import activation_named

ROWS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The gradient at the lowest hidden layer over that at the last one, for one start value.

    Args:
        activation: A name, or names joined by "+" that take turns from the lowest layer on.
        ratio: Norm of the loss's gradient by the pre-activations of the lowest hidden layer, over that of the last.
    """

    activation: str
    depth: int
    start: Start
    task: str
    seed: int
    ratio: float


def balances(
    activations: Sequence[str],
    depths: Sequence[int],
    starts: Sequence[Start],
    *,
    tasks: Sequence[str],
    seeds: Iterable[int],
    width: int,
) -> tuple[Balance, ...]:
    """The balance of every combination, on the first training rows of each seed's split of classifications.

    The weights' own gradients would hide what is asked: in a ReLU network without biases the inner product of a map's
    weight with its gradient is the same for all maps, whatever their scale (Du, Hu and Lee 2018, "Algorithmic
    Regularization in Learning Deep Homogeneous Models", section 2), so that those norms look balanced even where the
    signal has vanished.
    """
    found: list[Balance] = []
    for name, seed in product(tasks, seeds):
        task = task_named(name)
        part = split(task, load(task), seed).train
        for depth, start in product(depths, starts):
            network = Network(depth=depth, width=width)
            values = begin(start, parameters(network, task.num_inputs, task.num_outputs), seed)
            weights = [values[f"{map_name}.weight"] for map_name in maps(network)]  # biases are zero
            for activation in activations:
                ratio = _ratio(weights, activation, part.inputs[:ROWS], part.targets[:ROWS])
                found.append(
                    Balance(activation=activation, depth=depth, start=start, task=name, seed=seed, ratio=ratio)
                )
    return tuple(found)


def _ratio(weights: Sequence[Tensor], activation: str, inputs: Tensor, classes: Tensor) -> float:
    functions = [activation_named(name).function for name in activation.split("+")]
    *hidden, head = weights
    with torch.inference_mode(mode=False), torch.enable_grad():
        signal, sums = inputs, list[Tensor]()
        for index, weight in enumerate(hidden):
            total = F.linear(signal, weight)
            sums.append(total if sums else total.requires_grad_())
            signal = functions[index % len(functions)](sums[-1])
        loss = F.cross_entropy(F.linear(signal, head), classes)
        lowest, last = torch.autograd.grad(loss, (sums[0], sums[-1]))
    return (torch.linalg.vector_norm(lowest) / torch.linalg.vector_norm(last)).item()
