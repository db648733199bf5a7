"""What a named model is to learn, for ``exnihilo check``: its factory's own batch and loss, or drawn ones."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from exnihilo.cli.factories import Made, made_by
from exnihilo.cli.inputs import EXAMPLE, example_of
from exnihilo.cli.models import FORMS, model_named, parsed_sizes, printed_aside
from exnihilo.errors import InvalidValueError
from exnihilo.structure.randomness import undisturbed
from exnihilo.structure.recording import tensors_in
from exnihilo.structure.running import call

_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A named model with what it is to learn.

    Args:
        model: With random weights.
        batch: What one training step is given.
        loss: ``loss(model, batch)``, or None.
        criterion: ``criterion(output, target)``, or None; with neither the model returns its own loss.
        optimizer: The factory's own, or None.
        factory: Makes the model anew.
        drawn: What was drawn because nothing said it, in words; empty where nothing was.
    """

    model: nn.Module
    batch: Any
    loss: Callable[..., Any] | None = None
    criterion: Callable[..., Any] | None = None
    optimizer: Any = None
    factory: Callable[[], nn.Module]
    drawn: str = ""


def asked_of(spec: str, *, sizes: Sequence[str], inputs: Sequence[str]) -> Asked:
    """The model of a name, with the batch and loss of its factory, or with drawn ones.

    Args:
        spec: A model as the other commands take it.
        sizes: What it is built with, each as ``name=value``.
        inputs: What it is called with; beats the factory's own example.

    Raises:
        InvalidValueError: Nothing says what the model is called with, or what it is to learn.
        ExnihiloError: The model is missing, fails, or is none.
    """
    source, colon, name = spec.rpartition(":")
    if not (source and colon and name):
        raise InvalidValueError(
            f"'{spec}' names no model.", context=["a model is named as one of:", *FORMS], fix="exnihilo check hf:gpt2"
        )
    if source in {"hf", "timm"}:
        named = model_named(spec, sizes=sizes, inputs=inputs, on_meta=False)
        with undisturbed(), printed_aside():
            example = named.example()

        def again() -> nn.Module:
            return model_named(spec, sizes=sizes, inputs=inputs, on_meta=False).model

        return _drawn(named.model, example, again, spec)
    with undisturbed(), printed_aside():
        made = made_by(source, name, parsed_sizes(sizes))
        example = example_of(inputs) if inputs else made.example()

    def anew() -> nn.Module:
        with printed_aside():
            return made_by(source, name, parsed_sizes(sizes)).model

    if made.batch is not None:
        return _own(made, anew)
    return _drawn(made.model, example, anew, spec)


def _own(made: Made, factory: Callable[[], nn.Module]) -> Asked:
    return Asked(
        model=made.model,
        batch=made.batch,
        loss=made.loss,
        criterion=made.criterion,
        optimizer=made.optimizer,
        factory=factory,
    )


def _drawn(model: nn.Module, example: Any, factory: Callable[[], nn.Module], spec: str) -> Asked:
    """The model's own loss where it has one and its labels can be told; cross-entropy of random classes for scores."""
    if example is None:
        raise InvalidValueError(
            f"Nothing says what '{spec}' is called with.",
            context=["a model is checked by training copies of it for a few steps"],
            fix=f"let the factory return (model, batch, loss), or add {EXAMPLE}",
        )
    batch = _repeated(example)
    with undisturbed(), printed_aside(), torch.no_grad():
        output = call(model, batch)
    if isinstance(batch, Mapping) and _has_loss(output):
        named = cast("Mapping[str, Any]", batch)
        labels = named.get("decoder_input_ids", named.get("input_ids"))
        logits = next((t for t in tensors_in(output) if t.is_floating_point()), None)
        if labels is not None and logits is not None and logits.shape[:-1] == labels.shape:
            return Asked(
                model=model, batch={**named, "labels": labels}, factory=factory, drawn="its own inputs as labels"
            )
        if logits is not None and logits.dim() == 2:
            return Asked(
                model=model,
                batch={**named, "labels": _classes(logits)},
                factory=factory,
                drawn=f"random labels of {logits.shape[-1]} classes",
            )
    scores = output if isinstance(output, Tensor) else next(iter(tensors_in(output)), None)
    if isinstance(scores, Tensor) and scores.dim() >= 2 and scores.is_floating_point():
        return Asked(
            model=model,
            batch=(batch, _classes(scores)),
            criterion=_cross_entropy,
            factory=factory,
            drawn=f"cross-entropy with random labels of {scores.shape[-1]} classes",
        )
    raise InvalidValueError(
        f"Nothing says what '{spec}' is to learn.",
        fix="let the factory return (model, batch, loss), with loss(model, batch) or a criterion",
    )


def _has_loss(output: Any) -> bool:
    return hasattr(output, "loss") or (isinstance(output, Mapping) and "loss" in output)


def _classes(scores: Tensor) -> Tensor:
    """Labels that go round the classes, one for each row of scores."""
    rows = scores[..., 0].numel()
    return (torch.arange(rows) * 7 % scores.shape[-1]).reshape(scores.shape[:-1])


def _cross_entropy(output: Any, target: Tensor) -> Tensor:
    scores = output if isinstance(output, Tensor) else next(iter(tensors_in(output)))
    return nn.functional.cross_entropy(scores.flatten(0, -2), target.flatten())


def _repeated(example: Any) -> Any:
    """An example with as many samples as a check looks at, each of them different where its numbers are real."""
    tensors = tensors_in(example)
    sizes = {tensor.shape[0] for tensor in tensors if tensor.dim()}
    if len(sizes) != 1 or min(sizes) >= _SAMPLES:
        return example
    if isinstance(example, Tensor):
        return _tiled(example)
    if isinstance(example, Mapping):
        return {name: _tiled(value) for name, value in cast("Mapping[str, Any]", example).items()}
    return tuple(_tiled(value) for value in cast("Sequence[Any]", example))


def _tiled(value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.dim():
        return value
    copies = -(-_SAMPLES // value.shape[0])
    tiled = torch.cat([value.roll(turn, dims=-1) for turn in range(copies)])
    return tiled[:_SAMPLES]
