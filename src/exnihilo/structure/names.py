"""Canonical names: a parameter's full name without what wrappers add to it.

A wrapper is told by its class where its attribute has a plain name (``module`` of DataParallel), and by the attribute
where that is a name that only the wrapper gives (``_orig_mod``).
"""

import re
from collections.abc import Iterator

from torch import nn
from torch.nn.parallel import DataParallel, DistributedDataParallel

from exnihilo.errors import ReadError

# Attributes that torch.compile, FSDP and activation checkpointing give to the module that they wrap.
_WRAPPED = {"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
# What torch.nn.utils.parametrize makes of the parameter `weight`: `parametrizations.weight.original`, or
# `original0` and `original1` where it takes two to compute it.
_PARAMETRIZED = re.compile(r"(^|\.)parametrizations\.([^.]+)\.original(\d*)$")

_LEAF = re.compile(r"(\.[^.]+\.original\d+|\.[^.]+)$")


def canonical_names(model: nn.Module) -> dict[str, str]:
    """The canonical name of each parameter by the name that the model gives it; tied names are all listed.

    Example:
        >>> canonical_names(nn.DataParallel(nn.Sequential(nn.Linear(2, 2, bias=False))))
        {'module.0.weight': '0.weight'}

    Raises:
        ReadError: Two parameters have one canonical name.
    """
    named = {path: name for prefix, short, module in _modules(model) for path, name in _own(prefix, short, module)}
    parameters = dict(model.named_parameters(remove_duplicate=False))
    taken: dict[str, str] = {}
    for path, parameter in parameters.items():
        first = taken.setdefault(named[path], path)
        if parameters[first] is not parameter:
            raise ReadError(
                f"'{first}' and '{path}' of {type(model).__name__} have one canonical name, '{named[path]}'.",
                context=[f"{', '.join(sorted(_WRAPPED))} are taken for what wrappers add to a name"],
                fix="give the submodule another name",
            )
    return {path: named[path] for path in parameters}


def canonical_modules(model: nn.Module) -> dict[str, nn.Module]:
    """The modules by canonical path, which is empty for the model itself; of wrappers, what they wrap.

    Example:
        >>> list(canonical_modules(nn.DataParallel(nn.Sequential(nn.Linear(2, 2)))))
        ['', '0']
    """
    return {short.removesuffix("."): module for _, short, module in _modules(model)}


def unwrapped(key: str) -> str:
    """The canonical name of what a state dict has under a key, as far as the key alone tells.

    DataParallel's ``module`` is a name that any module may have, and stays.

    Example:
        >>> unwrapped("_orig_mod.blocks.0.parametrizations.weight.original")
        'blocks.0.weight'
    """
    return _PARAMETRIZED.sub(_unparametrized, ".".join(part for part in key.split(".") if part not in _WRAPPED))


def module_of(parameter: str) -> str:
    """The path of the module that a parameter belongs to, also where its weight is computed from it.

    Example:
        >>> module_of("blocks.0.last.weight"), module_of("blocks.0.last.weight.original0")
        ('blocks.0.last', 'blocks.0.last')
    """
    return _LEAF.sub("", f".{parameter}").removeprefix(".")


def _modules(model: nn.Module, prefix: str = "", short: str = "") -> Iterator[tuple[str, str, nn.Module]]:
    yield prefix, short, model
    is_parallel = isinstance(model, DataParallel | DistributedDataParallel)
    for name, child in model._modules.items():  # pyright: ignore[reportPrivateUsage]  # named_children drops duplicates
        if child is not None:
            transparent = name in _WRAPPED or (is_parallel and name == "module")
            yield from _modules(child, f"{prefix}{name}.", short if transparent else f"{short}{name}.")


def _own(prefix: str, short: str, module: nn.Module) -> Iterator[tuple[str, str]]:
    for name, parameter in module._parameters.items():  # pyright: ignore[reportPrivateUsage]  # the same
        if parameter is not None:
            yield prefix + name, _PARAMETRIZED.sub(_unparametrized, short + name)


def _unparametrized(match: re.Match[str]) -> str:
    dot, name, number = match.groups()
    return f"{dot}{name}.original{number}" if number else f"{dot}{name}"


def as_attribute(name: str) -> str:
    """A parameter's name as Python reaches it, such as ``model.blocks[2].attn.weight``.

    Example:
        >>> as_attribute("blocks.2.weight")
        'model.blocks[2].weight'
    """
    return re.sub(r"\.(\d+)(?=\.|$)", r"[\1]", f"model.{name}")
