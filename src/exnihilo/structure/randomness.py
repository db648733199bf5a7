"""The one place that touches global random states: it puts them back after code that is not ours has run.

A model's forward may draw from PyTorch's, Python's or NumPy's generator (dropout, layers left out). It runs here from
the same states each time, and leaves the caller's as they were.
"""

import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn


def generators_of(model: nn.Module) -> list[torch.Generator]:
    """The generators that a model's modules hold as attributes of their own."""
    held = [value for module in model.modules() for value in vars(module).values()]
    return list({id(g): g for g in held if isinstance(g, torch.Generator)}.values())


def python_and_numpy() -> object:
    """What Python's and NumPy's global generators have come to: equal where nothing was drawn from them in between."""
    numpy: Any = np.random.get_state()  # noqa: NPY002  # the legacy state is what models draw from
    return random.getstate(), np.asarray(numpy[1]).tobytes(), numpy[2:]


@contextmanager
def undisturbed(seed: int = 0) -> Generator[None]:
    """Run a block from fixed random states, those of a seed, and restore the states from before it."""
    python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002  # the legacy state is what models draw from
    try:
        with _torch_seeded(seed):
            random.seed(seed)
            np.random.seed(seed)  # noqa: NPY002  # the same
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # the same


@contextmanager
def _torch_seeded(seed: int) -> Generator[None]:
    """PyTorch's own states; where no accelerator is in use, the CPU's alone: asking after the others takes long."""
    if torch.cuda.is_initialized() or torch.backends.mps.is_available() or torch.xpu.is_initialized():
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            yield
        return
    state = torch.default_generator.get_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.default_generator.set_state(state)
