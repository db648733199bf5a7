"""A model's state dict as a file, by its ending: ``.safetensors`` or ``.pt``."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from exnihilo.cli.extras import is_installed
from exnihilo.cli.outputs import require_folder, written_whole
from exnihilo.errors import InvalidValueError, MissingExtraError, OutputError

SAFETENSORS, PT = ".safetensors", ".pt"


def require_writable(path: Path, *, force: bool) -> None:
    """Refuse a path to which no state dict can be written, before a model is built.

    Args:
        path: Where to.
        force: A file that is there gives way.

    Raises:
        InvalidValueError: The path ends otherwise.
        OutputError: There is such a file, or the folder cannot hold it.
        MissingExtraError: The format needs a package that is not installed.
    """
    if path.suffix not in (SAFETENSORS, PT):
        raise InvalidValueError(
            f"--out is '{path}'; it must end in {SAFETENSORS} or {PT}.", fix=f"--out {path.with_suffix(SAFETENSORS)}"
        )
    require_folder(path)
    if path.exists() and not force:
        raise OutputError(f"{path} exists already; nothing was written.", fix="--force, or another name for --out")
    if path.suffix == SAFETENSORS and not is_installed("safetensors"):
        raise MissingExtraError(
            f"Writing {path} needs safetensors, which is not installed.",
            fix=f"pip install safetensors   or --out {path.with_suffix(PT)}, which needs nothing",
        )


def require_values(model: nn.Module, path: Path) -> None:
    """Refuse a model whose state dict the format cannot hold, before anything is written to it.

    Raises:
        InvalidValueError: Something in the state dict has no values, or is no tensor and the format holds these alone.
    """
    for name, value in model.state_dict().items():
        _require_value(name, value, path)


def written(model: nn.Module, path: Path, facts: Mapping[str, str]) -> Mapping[str, str]:
    """Write a model's state dict to a file, whole or not at all.

    Args:
        model: Its values are written as they are.
        path: One that ``require_writable`` and ``require_values`` let pass.
        facts: How the values came to be, for the header of a safetensors file.

    Returns:
        Names that the file leaves out because another name of the same tensor is in it, and that other name. PyTorch's
        own format keeps both.

    Raises:
        OutputError: The file cannot be written.
    """
    state: dict[str, Any] = model.state_dict()
    if path.suffix == PT:
        written_whole(path, lambda aside: torch.save(state, aside))
        return {}
    save_file: Any = import_module("safetensors.torch").save_file
    tensors, left_out = unshared(state)
    header = {"format": "pt", **facts, **left_out}
    written_whole(path, lambda aside: save_file(tensors, aside, metadata=header))
    return left_out


def stored(path: Path) -> Mapping[str, Any]:
    """The state dict in a file, on the CPU.

    Raises:
        InvalidValueError: There is no such file, it ends otherwise, or it holds no state dict.
        MissingExtraError: The format needs a package that is not installed.
    """
    if path.suffix not in (SAFETENSORS, PT):
        raise InvalidValueError(f"'{path}' must end in {SAFETENSORS} or {PT}.", fix=f"weights{SAFETENSORS}")
    if path.suffix == SAFETENSORS and not is_installed("safetensors"):
        raise MissingExtraError(
            f"Reading {path} needs safetensors, which is not installed.", fix="pip install safetensors"
        )
    try:
        if path.suffix == SAFETENSORS:
            return import_module("safetensors.torch").load_file(path)
        state: object = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # each format has errors of its own
        why = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
        raise InvalidValueError(
            f"{path} cannot be read: {why.splitlines()[0]}", fix="torch.save(model.state_dict(), 'weights.pt')"
        ) from error
    if not isinstance(state, Mapping) or not any(isinstance(value, Tensor) for value in state.values()):
        keys = f" with {', '.join(map(repr, list(state)[:5]))}" if isinstance(state, Mapping) else ""
        raise InvalidValueError(
            f"{path} holds no state dict, but a {type(state).__name__}{keys}.",
            context=["a state dict has a tensor under each name"],
            fix="torch.save(model.state_dict(), 'weights.pt')",
        )
    return cast("Mapping[str, Any]", state)


def unshared(state: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tensors that share no memory, each under its first name; and the other names of one tensor with that first.

    Tied parameters are one tensor. Tensors that overlap in part each get memory of their own: loaded into a model, they
    overlap there again.

    Example:
        >>> w = torch.zeros(3)
        >>> tensors, others = unshared({"embed": w, "head": w, "part": w[:2]})
        >>> list(tensors), others
        (['embed', 'part'], {'head': 'embed'})
    """
    tensors: dict[str, Tensor] = {}
    others: dict[str, str] = {}
    names: dict[object, str] = {}
    memory: set[int] = set()
    for name, value in state.items():
        where = value.untyped_storage().data_ptr()
        first = names.setdefault((where, value.storage_offset(), value.shape, value.stride(), value.dtype), name)
        if first != name and value.numel():
            others[name] = first
            continue
        tensors[name] = value.clone(memory_format=torch.contiguous_format) if where in memory else value.contiguous()
        memory.add(where)
    return tensors, others


def _require_value(name: str, value: object, path: Path) -> None:
    if not isinstance(value, Tensor):
        if path.suffix == PT:
            return
        raise InvalidValueError(
            f"'{name}' of the model's state is a {type(value).__name__}, which {SAFETENSORS} cannot hold.",
            fix=f"--out {path.with_suffix(PT)}",
        )
    if value.is_meta:
        raise InvalidValueError(
            f"'{name}' is on the meta device, where there are no values to write. Nothing was written.",
            context=["a plan can be made there; weights need a model with memory"],
            fix="let the factory build the model with memory",
        )
