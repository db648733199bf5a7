"""What is asked of a model: the batch it is given and the scalar that it is trained to make small."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from exnihilo.errors import CheckError
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import call, unwrapped

# Classes of torch.distributed, which some builds lack.
_SHARDED = {"DTensor", "ShardedTensor"}

Loss = Callable[[nn.Module, Any], Tensor]
Criterion = Callable[[Any, Any], Tensor]


@dataclass(frozen=True, kw_only=True)
class Question:
    """A model's batch and its loss.

    Args:
        batch: What the model is given, together with what it is to learn.
        loss: The scalar of a model and a batch.
        criterion: The scalar of an output and a target, for a batch ``(input, target)``.
        form: Which of the two it is, or ``"own"`` where the model returns its loss itself.
    """

    batch: Any
    loss: Loss | None = None
    criterion: Criterion | None = None
    form: str = field(init=False)

    def __post_init__(self) -> None:
        if self.loss is not None and self.criterion is not None:
            raise CheckError(
                "Both loss and criterion are given.",
                context=["loss(model, batch) computes all; criterion(output, target) compares an output with a target"],
                fix="give one of them: check(model, (x, y), criterion=nn.CrossEntropyLoss())",
            )
        for name, given in (("loss", self.loss), ("criterion", self.criterion)):
            if given is not None and not callable(given):
                raise CheckError(f"The {name} is {given!r}; it must be callable.", fix=f"check(model, batch, {name}=f)")
        if self.criterion is not None and not (isinstance(self.batch, tuple | list) and len(self.batch) == 2):  # pyright: ignore[reportUnknownArgumentType]
            raise CheckError(
                f"With a criterion the batch must be a pair (input, target); it is {described(self.batch)}.",
                fix="check(model, (x, y), criterion=criterion), or loss=lambda model, batch: ...",
            )
        empty = next((t for t in tensors_in(self.batch) if t.dim() and t.shape[0] == 0), None)
        if empty is not None:
            raise CheckError(
                f"The batch holds no sample: {described(self.batch)}.", fix="give what one training step is given"
            )
        form = "loss" if self.loss is not None else "criterion" if self.criterion is not None else "own"
        object.__setattr__(self, "form", form)

    @property
    def target(self) -> Any:
        """What the criterion compares the output with; None where the form of the loss does not tell."""
        if self.form == "criterion":
            return self.batch[1]
        return cast("Mapping[str, Any]", self.batch).get("labels") if isinstance(self.batch, Mapping) else None

    def ask(self, model: nn.Module, batch: Any) -> Tensor:
        """The scalar for a model, which may be a copy, on a batch, which may be a part of the whole.

        Raises:
            CheckError: It is no scalar tensor of real numbers.
            Exception: Whatever the model or the loss itself raises.
        """
        if self.loss is not None:
            return _scalar(self.loss(unwrapped(model), batch), "The loss")
        if self.criterion is not None:
            output = call(unwrapped(model), batch[0])
            return _scalar(self.criterion(output, batch[1]), "The criterion")
        return _scalar(_own(call(unwrapped(model), batch), type(model).__name__), "The model's own loss")


def _own(output: Any, model: str) -> Any:
    """The loss in what a model returned, as Hugging Face's models give it when they are given labels."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if found is not None:
        return found
    if isinstance(output, Tensor) and output.dim() == 0:
        return output
    has_place = (isinstance(output, Mapping) and "loss" in output) or hasattr(output, "loss")
    raise CheckError(
        f"{model} returned no loss, and neither loss nor criterion is given.",
        context=[
            f"it returned {described(output)}",
            *(["its loss is None, as it is where the batch holds no labels"] if has_place else []),
        ],
        fix='batch["labels"] = batch["input_ids"]'
        if has_place
        else "check(model, (x, y), criterion=nn.CrossEntropyLoss()), or check(model, batch, loss=lambda m, b: ...)",
    )


def _scalar(value: Any, what: str) -> Tensor:
    if not isinstance(value, Tensor):
        raise CheckError(
            f"{what} is a {type(value).__name__}; it must be a tensor with one element.",
            fix="return the tensor itself, without .item()",
        )
    if value.numel() != 1:
        raise CheckError(
            f"{what} has shape {tuple(value.shape)}; it must have one element.",
            fix='reduce it: loss.mean(), or reduction="mean"',
        )
    if not value.is_floating_point():
        raise CheckError(f"{what} is of {value.dtype}; it must be real.", fix="compute it from the model's output")
    return value.reshape(())


def described(value: Any) -> str:
    """What a batch or output is, in one line: the kinds and shapes of its tensors."""
    shapes = shapes_of(value)
    if isinstance(value, Tensor):
        return f"a tensor {shapes}"
    return f"a {type(value).__name__} of {shapes}" if shapes else f"a {type(value).__name__} without tensors"


def shapes_of(value: Any, *, limit: int = 4) -> str:
    """The shapes and dtypes of the tensors in a value, the first few of them.

    Example:
        >>> shapes_of((torch.zeros(2, 3), torch.zeros(2, dtype=torch.int64)))
        '(2, 3) float32, (2,) int64'
    """
    tensors = tensors_in(value)
    more = f" and {len(tensors) - limit} more" if len(tensors) > limit else ""
    return ", ".join(f"{tuple(t.shape)} {str(t.dtype).removeprefix('torch.')}" for t in tensors[:limit]) + more


def require_learnable(model: nn.Module) -> None:
    """Raise CheckError where there is nothing to check: no trainable parameter, or none with values."""
    given: Any = model
    if not isinstance(given, nn.Module):
        raise CheckError(
            f"The model is a {type(given).__name__}; it must be a torch.nn.Module.",
            fix="check(model, batch, ...), with the module that is to be trained",
        )
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise CheckError(
                f"'{name}' of {type(model).__name__} has no shape yet.",
                context=["a lazy module learns its shape from the first input"],
                fix="run the model once on a batch, then check it",
            )
    trainable = [p for p in model.parameters() if p.requires_grad]
    if not trainable:
        frozen = sum(1 for _ in model.parameters())
        raise CheckError(
            f"{type(model).__name__} has no trainable parameter.",
            context=[f"{frozen} parameters, all frozen" if frozen else "it has no parameters at all"],
            fix="unfreeze what is to be trained: parameter.requires_grad_()",
        )
    for name, parameter in model.named_parameters():
        if parameter.is_meta:
            raise CheckError(
                f"'{name}' of {type(model).__name__} lies on the meta device, and so has no values.",
                fix="materialize the model first: model.to_empty(device='cpu'), then apply a plan or load a checkpoint",
            )
        kinds = {type(parameter).__name__, type(parameter.data).__name__}
        if kinds & _SHARDED or getattr(parameter, "_is_flat_param", False):
            raise CheckError(
                f"'{name}' of {type(model).__name__} is sharded over several processes.",
                fix="check the model before it is sharded, in one process",
            )
    if isinstance(model, torch.jit.ScriptModule) or any(isinstance(m, torch.jit.ScriptModule) for m in model.modules()):
        raise CheckError(
            f"{type(model).__name__} holds a ScriptModule, whose tensors cannot be replaced.",
            fix="check the module that torch.jit.script or torch.jit.trace was given",
        )
