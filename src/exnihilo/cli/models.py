"""Models named on the command line."""

import ast
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from dataclasses import dataclass
from typing import Any

from torch import nn

from exnihilo.cli.inputs import EXAMPLE, example_of
from exnihilo.errors import InvalidValueError
from exnihilo.structure.records import Structure

FORMS = (
    "my_model.py:build       a function, class or model in a file",
    "my_package.nets:build   the same in a module that can be imported from here",
    "hf:gpt2                 a model type of Hugging Face's transformers",
    "timm:resnet50           a model of timm",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A model that was named.

    Args:
        spec: Its name, one of ``FORMS``.
        model: With random weights.
        example: Makes what it is called with; None where nothing says so.
    """

    spec: str
    model: nn.Module
    example: Callable[[], Any]


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
    given = example_of(inputs) if inputs else None
    asked = parsed_sizes(sizes)
    with undisturbed(), printed_aside():
        model, own = _made(source, name, asked, on_meta=on_meta)
    return Named(spec=spec, model=model, example=own if given is None else lambda: given)


def example_for(named: Named) -> Any:
    """What a named model is called with.

    Raises:
        InvalidValueError: Nothing says so.
    """
    from exnihilo.structure.randomness import undisturbed  # as above

    with undisturbed(), printed_aside():
        example = named.example()
    if example is None:
        raise InvalidValueError(
            f"Nothing says what '{named.spec}' is called with.",
            context=["a model is read by running it once, on an input of the right shape"],
            fix=f"add {EXAMPLE}; or let the factory return (model, example), or define example() beside it",
        )
    return example


def structure_of(named: Named) -> Structure:
    """What ``read`` says of a named model.

    Raises:
        ExnihiloError: Nothing says what it is called with, or it cannot be read.
    """
    from exnihilo.structure.reader import read  # only who reads a model pays for the import

    example = example_for(named)
    with printed_aside():
        return read(named.model, example)


def printed_aside() -> AbstractContextManager[object]:
    """What a model's own code prints goes to standard error: standard output holds the command's answer alone."""
    return redirect_stdout(sys.stderr)


def _made(source: str, name: str, sizes: dict[str, Any], *, on_meta: bool) -> tuple[nn.Module, Callable[[], Any]]:
    if source == "hf":
        from exnihilo.cli.huggingface import model_of_type

        return model_of_type(name, sizes, on_meta=on_meta)
    if source == "timm":
        from exnihilo.cli.timm_models import model_of_timm

        return model_of_timm(name, sizes, on_meta=on_meta)
    from exnihilo.cli.factories import made_by

    made = made_by(source, name, sizes)
    return made.model, made.example


def parsed_sizes(texts: Sequence[str]) -> dict[str, Any]:
    """What a model is built with, from texts such as ``n_layer=2``.

    Raises:
        InvalidValueError: A text is spelled otherwise, or two name one size.
    """
    sizes = dict(map(_size, texts))
    if len(sizes) < len(texts):
        raise InvalidValueError(f"The sizes {', '.join(texts)} name one twice.", fix="give each --size once")
    return sizes


def _size(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise InvalidValueError(f"Size '{text}' must be a name and a value.", fix="--size n_layer=2")
    try:
        return name.strip(), ast.literal_eval(value.strip())
    except (ValueError, SyntaxError):
        return name.strip(), value.strip()  # a word, such as the name of an activation
