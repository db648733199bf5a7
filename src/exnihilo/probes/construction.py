"""Parameters that a model's constructor never gives a value."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils import deterministic

from exnihilo.errors import CheckError
from exnihilo.structure.names import canonical_names
from exnihilo.structure.randomness import undisturbed


def uninitialized(factory: Callable[[], nn.Module]) -> tuple[str, ...]:
    """Names of the parameters and buffers that hold memory as it was found.

    PyTorch fills memory that it hands out empty with NaN (whole numbers with their largest) while its deterministic
    algorithms are asked for; what is NaN after a construction was never written. Buffers made empty on purpose, such as
    caches, are not looked at.

    Args:
        factory: Makes the model; it is called once, from fixed random states.

    Raises:
        CheckError: It makes no module.
    """
    try:
        with undisturbed(), _filled():
            model: Any = factory()
    except Exception as error:  # whatever the user's own code raises
        raise _no_model(f"The factory raises {type(error).__name__}: {error}") from error
    if not isinstance(model, nn.Module):
        raise _no_model(f"The factory makes no torch.nn.Module, but {type(model).__name__}.")
    canonical = canonical_names(model)
    return tuple(
        canonical[path]
        for path, parameter in model.named_parameters()
        if parameter.is_floating_point() and not parameter.is_meta and bool(torch.isnan(parameter).any())
    )


def _no_model(fact: str) -> CheckError:
    return CheckError(fact, fix="check(..., factory=lambda: Net()), or leave it out")


@contextmanager
def _filled() -> Generator[None]:
    """Empty memory comes filled, and the settings that make it so are put back."""
    was = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = deterministic  # a module that answers for this name by itself
    fills = settings.fill_uninitialized_memory
    try:
        torch.use_deterministic_algorithms(True, warn_only=True)
        settings.fill_uninitialized_memory = True
        yield
    finally:
        settings.fill_uninitialized_memory = fills
        torch.use_deterministic_algorithms(was[0], warn_only=was[1])
