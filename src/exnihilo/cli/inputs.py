"""Inputs spelled on the command line: ``2x3x224x224``, ``2x16:int64``, ``input_ids=2x16:int64``."""

import re
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Normal

EXAMPLE = "--input 2x3x224x224   or, of whole numbers and by name, --input input_ids=2x16:int64"
_INPUT = re.compile(r"(?:(?P<name>[A-Za-z_]\w*)=)?(?P<shape>\d+(?:x\d+)*)(?::(?P<dtype>\w+))?")
_DTYPES = {
    name: getattr(torch, name)
    for name in ("float32", "float64", "float16", "bfloat16", "complex64", "int64", "int32", "uint8", "bool")
}


def example_of(inputs: Sequence[str]) -> Any:
    """What a model is called with: a tuple of tensors, or a dict of them where the inputs have names.

    Real numbers are standard normal, always the same ones; whole numbers are zeros, an index that every table has.

    Args:
        inputs: Each a shape, perhaps with a dtype behind a colon and a name before an equals sign.

    Raises:
        InvalidValueError: An input is spelled otherwise, or only some of them have names.
        UnknownNameError: There is no such dtype.

    Example:
        >>> example_of(["2x3", "5:int64"])[1].dtype
        torch.int64
        >>> list(example_of(["ids=2x3:int64"]))
        ['ids']
    """
    made = [_input(text) for text in inputs]
    names = [name for name, _ in made if name is not None]
    if not names:
        return tuple(tensor for _, tensor in made)
    if len(set(names)) < len(made):
        raise InvalidValueError(
            f"The inputs {', '.join(inputs)} must all have names of their own, or none of them one.", fix=EXAMPLE
        )
    return {name: tensor for name, tensor in made if name is not None}


def _input(text: str) -> tuple[str | None, Tensor]:
    match = _INPUT.fullmatch(text.strip())
    if match is None:
        raise InvalidValueError(
            f"Input '{text}' spells no tensor.",
            context=["needed: sizes with an x between them, and a dtype behind a colon where it is not float32"],
            fix=EXAMPLE,
        )
    dtype = match["dtype"] or "float32"
    if dtype not in _DTYPES:
        raise UnknownNameError.of("dtype", dtype, _DTYPES)
    return match["name"], tensor_of(tuple(map(int, match["shape"].split("x"))), _DTYPES[dtype])


def tensor_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    """An input of a shape: standard normal numbers, or zeros where the dtype holds no real ones."""
    if not dtype.is_floating_point or 0 in shape:
        return torch.zeros(shape, dtype=dtype)
    return Normal(std=1.0).sample(Layout.vector(*shape), Key(0, "input")).to(dtype)
