"""The lab's models that train alone: ordinary modules, and how their parameters begin.

Shape legend: B samples, T positions, W width, C channels.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.adapted import AdaptedMLP
from exnihilo.lab.records import Family, Model, Start
from exnihilo.lab.tasks import Task
from exnihilo.recipes.named import RECIPES, recipe_named
from exnihilo.schemes.activations import activation_named


class ResidualMLP(nn.Module):
    """A stem, ``depth`` branches of two maps, a head."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        self.stem = nn.Linear(task.num_inputs, model.width)
        self.blocks = nn.ModuleList(_Branch(model) for _ in range(model.depth))
        self.head = nn.Linear(model.width, task.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class _Branch(nn.Module):
    def __init__(self, model: Model) -> None:
        super().__init__()
        norms: Mapping[str | None, Callable[[int], nn.Module]] = {"batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
        self.act = activation_named(model.activation).function
        self.inner, self.outer = nn.Linear(model.width, model.width), nn.Linear(model.width, model.width)
        self.norm = norms[model.norm](model.width) if model.norm in norms else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The stream behind the branch."""
        return x + self.outer(self.act(self.norm(self.inner(x))))


class ResidualCNN(nn.Module):
    """A 3x3 stem, ``depth`` branches of two 3x3 convolutions, pooling, a head."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        self.shape = _images(task)
        self.stem = _conv(self.shape[0], model.width)
        self.blocks = nn.ModuleList(_ConvBranch(model) for _ in range(model.depth))
        self.act = activation_named(model.activation).function
        self.head = nn.Linear(model.width, task.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = self.stem(x.view(-1, *self.shape))
        for block in self.blocks:
            x = block(x)
        return self.head(self.act(x).mean((2, 3)))


class _ConvBranch(nn.Module):
    """Two convolutions, each behind a norm (or none) and the activation."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.act = activation_named(model.activation).function
        self.norm1, self.norm2 = (_channel_norm(model) for _ in range(2))
        self.conv1, self.conv2 = (_conv(model.width, model.width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The stream behind the branch."""
        y = self.conv1(self.act(self.norm1(x)))
        return x + self.conv2(self.act(self.norm2(y)))


class PlainCNN(nn.Module):
    """``depth`` 3x3 convolutions, each followed by a norm (or none) and the activation, and a head of all positions."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        self.shape = _images(task)
        sizes = [self.shape[0], *[model.width] * model.depth]
        self.layers = nn.ModuleList(_conv(i, o) for i, o in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(_channel_norm(model) for _ in range(model.depth))
        self.act = activation_named(model.activation).function
        self.head = nn.Linear(model.width * self.shape[1] * self.shape[2], task.num_outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Scores."""
        x = x.view(-1, *self.shape)
        for conv, norm in zip(self.layers, self.norms, strict=True):
            x = self.act(norm(conv(x)))
        return self.head(x.flatten(1))


class Transformer(nn.Module):
    """A causal transformer over symbols: each position answers with the scores of the next one."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        if task.kind != "sequence":
            raise InvalidValueError(
                f"Model family 'transformer' reads sequences, and task '{task.name}' is a {task.kind}.",
                fix='tasks=("characters",)',
            )
        self.token = nn.Embedding(task.num_outputs, model.width)
        self.position = nn.Embedding(task.num_inputs, model.width)
        self.blocks = nn.ModuleList(_Layer(model) for _ in range(model.depth))
        self.norm = nn.LayerNorm(model.width) if model.norm == "pre" else nn.Identity()
        self.head = nn.Linear(model.width, task.num_outputs)

    def forward(self, symbols: Tensor) -> Tensor:
        """Scores."""
        x = self.token(symbols) + self.position.weight[: symbols.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


class _Layer(nn.Module):
    """Attention and two maps, each a residual branch, normalized before or after its sum, or not at all."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        width = model.width
        self.order, self.heads = model.norm, model.heads
        self.act = activation_named(model.activation).function
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norm1, self.norm2 = (nn.Identity() if model.norm == "none" else nn.LayerNorm(width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """The stream behind both branches."""
        if self.order == "post":
            x = self.norm1(x + self._attend(x))
            return self.norm2(x + self.down(self.act(self.up(x))))
        x = x + self._attend(self.norm1(x))
        return x + self.down(self.act(self.up(self.norm2(x))))

    def _attend(self, x_BTW: Tensor) -> Tensor:
        parts = (
            linear(x_BTW).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for linear in (self.query, self.key, self.value)
        )
        return self.out(F.scaled_dot_product_attention(*parts, is_causal=True).transpose(1, 2).flatten(2))


_FAMILIES: Mapping[Family, Callable[[Model, Task], nn.Module]] = {
    "residual_mlp": ResidualMLP,
    "residual_cnn": ResidualCNN,
    "plain_cnn": PlainCNN,
    "transformer": Transformer,
    "adapted_mlp": AdaptedMLP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStart:
    """What a start's name means for a model: a recipe, and schemes that beat it by pattern."""

    summary: str
    recipe: str
    overrides: Mapping[str, str] = field(default_factory=dict[str, str])


# As the authors' code draws the factor that is not zero: by the law of PyTorch's own maps.
_DRAWN = "torch_default"

# Starts beside the recipes.
STARTS: Mapping[str, ModelStart] = {
    "attention_outputs_zero": ModelStart(
        summary="gpt2, the output map of each attention zero", recipe="gpt2", overrides={"blocks.*.out.*": "zeros"}
    ),
    "mlp_outputs_zero": ModelStart(
        summary="gpt2, the last map of each MLP zero", recipe="gpt2", overrides={"blocks.*.down.*": "zeros"}
    ),
    "both_outputs_zero": ModelStart(
        summary="gpt2, the last map of each branch zero",
        recipe="gpt2",
        overrides={"blocks.*.out.*": "zeros", "blocks.*.down.*": "zeros"},
    ),
    "lora_B_zero": ModelStart(
        summary="adapters with B zero, A drawn",
        recipe="default",
        overrides={"*.lora_A.weight": _DRAWN, "*.lora_B.weight": "zeros"},
    ),
    "lora_A_zero": ModelStart(
        summary="adapters with A zero, B drawn",
        recipe="default",
        overrides={"*.lora_A.weight": "zeros", "*.lora_B.weight": _DRAWN},
    ),
    "lora_both_zero": ModelStart(
        summary="adapters with A and B zero", recipe="default", overrides={"*.lora_?.weight": "zeros"}
    ),
    "lora_neither_zero": ModelStart(
        summary="adapters with A and B drawn", recipe="default", overrides={"*.lora_?.weight": _DRAWN}
    ),
}


def start_of(start: Start) -> ModelStart:
    """What a start's name means for a model.

    Raises:
        UnknownNameError: It is no recipe, and no key of ``STARTS``.
        InvalidValueError: The start has a value or a base: a recipe says these in its own parentheses.

    Example:
        >>> start_of(Start(name="fixup")).recipe
        'fixup'
    """
    if start.value is not None or start.base is not None:
        raise InvalidValueError(
            f"Start '{start.name}' of a model takes no value and no base.",
            context=[f"got value={start.value}, base={start.base}"],
            fix='Start(name="zero-residual(base=he)")',
        )
    if start.name in STARTS:
        return STARTS[start.name]
    if start.name.partition("(")[0] not in RECIPES:
        raise UnknownNameError.of("start of a model", start.name, (*STARTS, *RECIPES))
    recipe_named(start.name)
    return ModelStart(summary=start.name, recipe=start.name)


def build(model: Model, task: Task) -> nn.Module:
    """The module, with PyTorch's own values.

    Raises:
        InvalidValueError: The family has no use for such a task.
    """
    return _FAMILIES[model.family](model, task)


def example(model: Model, task: Task) -> Tensor:
    """What the module is called with: two rows."""
    dtype = torch.int64 if model.family == "transformer" else torch.float32
    return torch.zeros(2, task.num_inputs, dtype=dtype)


def check_model(model: Model, task: Task) -> None:
    """Refuse a task that the family has no use for.

    Raises:
        InvalidValueError: Images or sequences are missing, or are too much.
    """
    with torch.device("meta"):
        build(Model(family=model.family, depth=1, width=model.heads, heads=model.heads), task)
    if task.kind == "sequence" and model.family != "transformer":
        raise InvalidValueError(
            f"Model family '{model.family}' takes rows of numbers, and task '{task.name}' is text.",
            fix="Model(family='transformer', depth=2, width=32)",
        )


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _channel_norm(model: Model) -> nn.Module:
    return nn.BatchNorm2d(model.width) if model.norm == "batch" else nn.Identity()


def _images(task: Task) -> tuple[int, int, int]:
    if task.image_shape is None:
        raise InvalidValueError(
            f"Task '{task.name}' has no images, and convolutions need them.", fix='tasks=("digits",)'
        )
    return task.image_shape
