"""A trained and frozen network with low-rank products beside its maps: what an adapter is put to.

The network learned the images turned by a quarter; the adapters are to learn them upright.
"""

import itertools
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.lab.records import Model
from exnihilo.lab.tasks import Task
from exnihilo.schemes.activations import activation_named

# Of each product: far below the widths of the lab's networks, as adapters are.
RANK = 4
# Long enough on digits for an accuracy of more than 90 % of the turned images.
STEPS, LR, MOMENTUM = 300, 0.05, 0.9


class AdaptedMLP(nn.Module):
    """``depth`` hidden maps and a head, frozen, each with a trained low-rank product beside it."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        if task.image_shape is None or task.kind != "classification":
            raise InvalidValueError(
                f"Model family 'adapted_mlp' learned turned images, and task '{task.name}' has no images of classes.",
                fix='tasks=("digits",)',
            )
        sizes = [task.num_inputs, *[model.width] * model.depth, task.num_outputs]
        self.image_shape = task.image_shape
        self.layers = [_Adapted(i, o) for i, o in itertools.pairwise(sizes)]
        self.maps = nn.ModuleList(self.layers)
        self.act = activation_named(model.activation).function

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        *hidden, head = self.layers
        for layer in hidden:
            x = self.act(layer(x))
        return head(x)

    def frozen(self, x: Tensor) -> Tensor:
        """What the frozen network answers, without its adapters."""
        *hidden, head = [layer.base for layer in self.layers]
        for layer in hidden:
            x = self.act(layer(x))
        return head(x)

    def turned(self, x: Tensor) -> Tensor:
        """The images of some rows, turned by a quarter."""
        return x.view(-1, *self.image_shape).rot90(1, (2, 3)).flatten(1)


class _Adapted(nn.Module):
    """``W x + b + B A x``: ``W`` and ``b`` frozen, ``A`` and ``B`` trained."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.base = nn.Linear(inputs, outputs)
        self.base.requires_grad_(False)
        self.lora_A, self.lora_B = nn.Linear(inputs, RANK, bias=False), nn.Linear(RANK, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """What the map and its product give together."""
        return self.base(x) + self.lora_B(self.lora_A(x))


def pretrain(module: AdaptedMLP, batches: Iterator[tuple[Tensor, Tensor]]) -> None:
    """Train the maps, without their adapters, on the turned images of the batches, and freeze them again."""
    maps = [parameter for layer in module.layers for parameter in layer.base.parameters()]
    for parameter in maps:
        parameter.requires_grad_()
    optimizer = torch.optim.SGD(maps, lr=LR, momentum=MOMENTUM)
    for inputs, targets in batches:
        optimizer.zero_grad()
        F.cross_entropy(module.frozen(module.turned(inputs)), targets).backward()
        optimizer.step()
    for parameter in maps:
        parameter.requires_grad_(False)
        parameter.grad = None
