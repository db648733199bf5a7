"""Copies a model and its example with other tensors in the place of theirs, and leaves the model as it was."""

import copy
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from exnihilo.errors import ReadError
from exnihilo.structure.recording import Event, tensors_in, tensors_read

# A deep copy makes some six calls for each level of nesting; what a module holds may be nested a few levels more.
_CALLS_PER_LEVEL = 20


def copy_of(model: nn.Module, stand_in: Callable[[Tensor], Tensor]) -> nn.Module:
    """A copy of a model whose tensors are replaced, those in its modules' plain attributes included.

    Hooks are the copy's own, but for what they close over: Python does not copy closures. ``left_as_it_was`` undoes
    what they do to the model. Every parameter of the copy asks for a gradient, so that what is frozen and what is
    detached are told apart.

    Raises:
        ReadError: Something that the model holds cannot be copied.
    """
    replaced: dict[int, Any] = {}
    for parameter in model.parameters():
        made = nn.Parameter(stand_in(parameter), requires_grad=parameter.is_floating_point())
        vars(made).update(vars(parameter))
        replaced[id(parameter)] = made
    for tensor in [*model.buffers(), *held_tensors(model)]:
        if id(tensor) not in replaced:
            made = stand_in(tensor)
            replaced[id(tensor)] = nn.Parameter(made, tensor.requires_grad) if type(tensor) is nn.Parameter else made
    with deep_enough_for(model):
        try:
            return copy.deepcopy(model, dict(replaced))
        except Exception as error:  # whatever an attribute's own code raises
            raise ReadError(
                f"{type(model).__name__} cannot be copied: {type(error).__name__}: {error}",
                context=["it is read from a copy, so that it stays as it was", *_uncopied(model, replaced)],
                fix="take what cannot be copied out of the model while it is read, or give its class a __deepcopy__",
            ) from error


def held_tensors(model: nn.Module) -> list[Tensor]:
    """The tensors in the attributes of a model's modules, in whatever they hold; parameters and buffers among them."""
    return tensors_in([vars(module) for module in model.modules()])


@contextmanager
def deep_enough_for(model: nn.Module) -> Generator[None]:
    """Python's limit on nested calls, raised by what the nesting of the modules takes."""
    depth = max(path.count(".") + 1 for path, _ in model.named_modules())
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(limit + _CALLS_PER_LEVEL * depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def _uncopied(model: nn.Module, replaced: dict[int, Any]) -> list[str]:
    """The innermost attribute that cannot be copied by itself."""
    for path, module in reversed(list(model.named_modules())):
        for name, value in vars(module).items():
            if name in {"_modules", "_parameters", "_buffers"}:
                continue
            try:
                copy.deepcopy(value, dict(replaced))
            except Exception:  # the same as above: its own code
                where = f"{path}.{name}" if path else name
                return [f"it holds '{where}', a {type(value).__name__}"]
    return []


def example_copy(example: Any, stand_in: Callable[[Tensor], Tensor]) -> Any:
    """A copy of an example whose tensors are replaced; a mapping becomes a dict, for it is keyword arguments.

    What cannot be copied is passed on as it is, in copies of the containers around it.
    """
    plain = dict(example) if isinstance(example, Mapping) else example
    try:
        return copy.deepcopy(plain, {id(tensor): stand_in(tensor) for tensor in tensors_in(plain)})
    except Exception:  # whatever an object's own code raises
        return tree_map(partial(_replaced, stand_in), plain)


def _replaced(stand_in: Callable[[Tensor], Tensor], leaf: Any) -> Any:
    return stand_in(leaf) if isinstance(leaf, Tensor) else leaf


@contextmanager
def left_as_it_was(model: nn.Module) -> Generator[None]:
    """Undo what a block does to a model, which a copy's hooks or forward may still reach through a closure.

    Attributes are set back to what they were, and so are the values of buffers and of other tensors they hold, bit for
    bit. Not undone are changes inside other objects, such as a list in a closure, and the values of parameters, for
    which a second copy would be too large: that they changed is an error.

    Raises:
        ReadError: The block changed a parameter's values.
    """
    modules = [(module, dict(vars(module)), dict(vars(module)["_buffers"])) for module in model.modules()]
    parameters = {id(p): (name, p, _version(p)) for name, p in model.named_parameters()}
    tensors = {id(t): t for t in [*model.buffers(), *held_tensors(model)] if id(t) not in parameters}
    kept = [(tensor, _version(tensor), tensor.detach().clone()) for tensor in tensors.values()]
    try:
        yield
    finally:
        for module, attributes, buffers in modules:
            _set_back(vars(module), attributes)
            _set_back(vars(module)["_buffers"], buffers)
        for tensor, version, values in kept:
            if _version(tensor) != version or _differs(tensor, values):
                tensor.data.copy_(values)
    changed = [name for name, parameter, version in parameters.values() if _version(parameter) != version]
    if changed:
        raise ReadError(
            f"Running a copy of {type(model).__name__} changed '{changed[0]}' of the model itself.",
            context=["a hook or a forward changes it through a closure, which a copy shares"],
            fix="reload the parameter's values, and take that hook off before the model is read",
        )


def _set_back(now: dict[str, Any], before: dict[str, Any]) -> None:
    if now.keys() != before.keys() or any(now[key] is not value for key, value in before.items()):
        now.clear()
        now.update(before)


def _version(tensor: Tensor) -> int:
    """How often a tensor was written to; one of inference mode does not count, for nobody else may write to it."""
    return 0 if tensor.is_inference() else tensor._version


def _differs(tensor: Tensor, values: Tensor) -> bool:
    """A write through ``.data`` is not counted, so the values are compared where there are some."""
    plain = type(tensor) is Tensor and tensor.layout is torch.strided and not tensor.is_meta
    return plain and not torch.equal(tensor.detach(), values)


def require_own_parameters(model: nn.Module, events: list[Event]) -> None:
    """Raise ReadError where a copy ran the model itself: then its parameters, not the copy's, were read."""
    read = tensors_read(events)
    foreign = next((name for name, parameter in model.named_parameters() if id(parameter) in read), None)
    if foreign is not None:
        raise ReadError(
            f"A copy of {type(model).__name__} reads '{foreign}' of the model itself.",
            context=["a forward or a hook refers to the model through a closure, which a copy shares"],
            fix="override forward in a subclass instead of setting model.forward, and use the module a hook is given",
        )


def require_plain_modules(model: nn.Module) -> None:
    """Raise ReadError where a part of a model is compiled by TorchScript, whose tensors cannot be replaced."""
    for path, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            name = f"'{path}' of {type(model).__name__}" if path else "The model"
            raise ReadError(
                f"{name} is a ScriptModule, whose operations cannot be recorded.",
                fix="read the module that torch.jit.script or torch.jit.trace was given; its parameters have its names",
            )
