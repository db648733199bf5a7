"""Keeps what a probe runs apart from the user's model, hooks, gradients and surroundings."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn

from exnihilo.structure.copying import left_as_it_was
from exnihilo.structure.randomness import undisturbed

# Hooks that are part of how a module computes, such as those of torch.nn.utils.spectral_norm, or of a gate of ours. So
# are those that a module's class defines itself. All others are the user's own, and stay silent.
_OWN_HOOKS = ("torch.", "exnihilo.")
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
# What is noted beside hooks, by their number.
_NOTED = ("_forward_hooks_with_kwargs", "_forward_pre_hooks_with_kwargs", "_forward_hooks_always_called")


@contextmanager
def apart_from(model: nn.Module) -> Generator[None]:
    """Undo all that a block does to a model, its gradients and the random states; let autograd record whatever was on.

    Raises:
        ReadError: The block changed a parameter's values.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(undisturbed())
        stack.enter_context(left_as_it_was(model))
        stack.enter_context(gradients_set_aside(model))
        stack.enter_context(hooks_silenced(model))  # takes along what a probe that failed left behind
        yield


@contextmanager
def gradients_set_aside(model: nn.Module) -> Generator[None]:
    """No parameter has a gradient, so that what a block adds makes new ones; the old ones return untouched."""
    kept = [(parameter, parameter.grad) for parameter in model.parameters()]
    for parameter, _ in kept:
        parameter.grad = None
    try:
        yield
    finally:
        for parameter, gradient in kept:
            parameter.grad = gradient


def take_hooks_off(twin: nn.Module) -> None:
    """Take the user's own hooks off a copy."""
    classes = _classes(twin)
    for module in twin.modules():
        for kind in _HOOKS:
            vars(module)[kind] = _belonging(vars(module)[kind], classes)


@contextmanager
def hooks_silenced(model: nn.Module) -> Generator[None]:
    """The user's own hooks are not called while a block runs: not those of a model itself, nor those of all modules."""
    everywhere = nn.modules.module.__dict__
    kinds = [kind for kind in everywhere if kind.startswith("_global_") and kind.endswith("_hooks")]
    kept = [(module.__dict__, kind, module.__dict__[kind]) for module in model.modules() for kind in _HOOKS]
    kept += [(everywhere, kind, everywhere[kind]) for kind in kinds if isinstance(everywhere[kind], dict)]
    noted = [(module.__dict__, kind, module.__dict__[kind]) for module in model.modules() for kind in _NOTED]
    classes = _classes(model)
    for owner, kind, hooks in kept:
        owner[kind] = _belonging(hooks, classes)
    for owner, kind, entries in noted:
        owner[kind] = type(entries)(entries)
    try:
        yield
    finally:
        for owner, kind, hooks in [*kept, *noted]:
            owner[kind] = hooks


def _belonging(hooks: dict[Any, Any], classes: frozenset[tuple[str, str]]) -> Any:
    """Those of some hooks that are part of how a module computes, in a dict of the same class."""
    return type(hooks)((key, hook) for key, hook in hooks.items() if _is_own(hook, classes))


def _classes(model: nn.Module) -> frozenset[tuple[str, str]]:
    """Where the classes of a model's modules are defined, and what they are called there."""
    kinds = {kind for module in model.modules() for kind in type(module).__mro__ if issubclass(kind, nn.Module)}
    return frozenset((kind.__module__, kind.__qualname__) for kind in kinds)


def _is_own(hook: Any, classes: frozenset[tuple[str, str]]) -> bool:
    """Whether a hook is PyTorch's or from here, or a method, or a function in a method, of a module's class."""
    inner = getattr(hook, "func", hook)  # of a partial
    home = getattr(inner, "__module__", None) or type(inner).__module__
    if home.startswith(_OWN_HOOKS):
        return True
    name = getattr(inner, "__qualname__", "")
    return any(home == place and name.startswith(f"{kind}.") for place, kind in classes)


@contextmanager
def without_autocast(model: nn.Module) -> Generator[None]:
    """No autocast from outside; one that the model enters itself keeps no casts, which a step would make stale."""
    with ExitStack() as stack:
        for device in sorted({"cpu", *(parameter.device.type for parameter in model.parameters())} - {"meta"}):
            stack.enter_context(torch.autocast(device, enabled=False, cache_enabled=False))
        yield
