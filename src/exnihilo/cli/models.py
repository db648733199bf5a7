"""Models named on the command line."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from exnihilo.cli.inputs import EXAMPLE, example_of
from exnihilo.errors import InvalidValueError

FORMS = (
    "my_model.py:build       a function, class or model in a file",
    "my_package.nets:build   the same in a module that can be imported from here",
    "hf:gpt2                 a model type of Hugging Face's transformers",
    "timm:resnet50           a model of timm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model that was named, and what it is called with; None where nothing says so."""

    model: nn.Module
    example: Any


def model_named(spec: str, *, sizes: Sequence[str] = (), inputs: Sequence[str] = (), on_meta: bool = True) -> Named:
    """The model of a name, with random weights, from fixed random states; those of this process are left as they were.

    Args:
        spec: One of ``FORMS``.
        sizes: What the model is built with, each as ``name=value``.
        inputs: What it is called with, as ``cli.inputs`` spells it; by default what the factory or package says.
        on_meta: Models of packages may be built without memory. A user's own factory decides for itself.

    Raises:
        ExnihiloError: The name has no such form; or the model is missing, fails, or is none.
    """
    from exnihilo.structure.randomness import undisturbed  # the values of a factory are those of a fresh process

    source, colon, name = spec.rpartition(":")
    if not (source and colon and name):
        raise InvalidValueError(
            f"'{spec}' names no model.", context=["a model is named as one of:", *FORMS], fix="exnihilo read hf:gpt2"
        )
    example = example_of(inputs) if inputs else None
    with undisturbed():
        model, own = _made(source, name, dict(map(_size, sizes)), on_meta=on_meta)
    return Named(model=model, example=own if example is None else example)


def require_example(named: Named, spec: str) -> Any:
    """The example of a named model.

    Raises:
        InvalidValueError: Nothing says what the model is called with.
    """
    if named.example is None:
        raise InvalidValueError(
            f"Nothing says what '{spec}' is called with.",
            context=["a model is read by running it once, on an input of the right shape"],
            fix=f"add {EXAMPLE}; or let the factory return (model, example), or define example() beside it",
        )
    return named.example


def _made(source: str, name: str, sizes: dict[str, Any], *, on_meta: bool) -> tuple[nn.Module, Any]:
    if source == "hf":
        from exnihilo.cli.huggingface import model_of_type

        return model_of_type(name, sizes, on_meta=on_meta)
    if source == "timm":
        from exnihilo.cli.timm_models import model_of_timm

        return model_of_timm(name, sizes, on_meta=on_meta)
    from exnihilo.cli.factories import model_made_by

    return model_made_by(source, name, sizes)


def _size(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise InvalidValueError(f"Size '{text}' must be a name and a value.", fix="--size n_layer=2")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()  # a word, such as the name of an activation
