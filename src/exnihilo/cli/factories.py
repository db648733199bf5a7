"""A model of the user's own: ``module.py:factory`` or ``package.module:factory``."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from exnihilo.errors import ExnihiloError, InvalidValueError, UnknownNameError


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a factory made.

    Args:
        model: The model.
        batch: What one training step is given; None where the factory says nothing of it.
        example: Makes what the model is called with; it gives None where nothing says so.
        loss: ``loss(model, batch)``, or None.
        criterion: ``criterion(output, target)``, or None.
        optimizer: Of the model's parameters, or None.
    """

    model: nn.Module
    batch: Any = None
    example: Callable[[], Any]
    loss: Callable[..., Any] | None = None
    criterion: Callable[..., Any] | None = None
    optimizer: Any = None


def made_by(source: str, factory: str, sizes: Mapping[str, Any]) -> Made:
    """What a factory makes: a model; a model and what it is called with; or a model, a batch and a loss.

    Args:
        source: A Python file, or a module that can be imported from here.
        factory: The name in it of a callable that returns ``model``, ``(model, example)``, ``(model, batch, loss)``, or
            a dict with the keys ``model``, ``batch``, ``loss`` or ``criterion``, and ``optimizer``; or the name of a
            model. A loss whose first parameter is called ``model``, ``net`` or ``module``, or beside a batch that is no
            pair, is called with model and batch; any other, such as ``nn.CrossEntropyLoss()``, is a criterion of output
            and target, for a batch ``(input, target)``.
        sizes: Passed to the callable by name.

    Raises:
        InvalidValueError: The file is missing or fails, the factory fails, or makes no model.
        UnknownNameError: There is no such factory, it takes no such size, or its dict has a key that means nothing.
    """
    module = _module(source)
    found = _parts(_made(module, source, factory, sizes), factory)
    model, batch, loss = found.get("model"), found.get("batch"), found.get("loss")
    if not isinstance(model, nn.Module):
        raise InvalidValueError(
            f"'{factory}' of '{source}' makes a {type(model).__name__}; it must make a torch.nn.Module.",
            context=["it may also return (model, example), or (model, batch, loss)"],
            fix=f"return the model:   def {factory}(): return Net()",
        )
    takes_model = loss is not None and _takes_model(loss, batch)
    criterion = found.get("criterion") if loss is None or takes_model else loss
    example = partial(_beside, module, source)
    if "example" in found or batch is not None:
        example = partial(_same, found["example"] if "example" in found else _input(batch, criterion))
    return Made(
        model=model,
        batch=batch,
        example=example,
        loss=loss if takes_model else None,
        criterion=criterion,
        optimizer=found.get("optimizer"),
    )


_PARTS = ("model", "batch", "loss", "criterion", "optimizer")


def _parts(made: object, factory: str) -> dict[str, Any]:
    """What was made, by what it is."""
    if isinstance(made, dict):
        given = cast("dict[str, Any]", made)
        for key in given:
            if key not in _PARTS:
                raise UnknownNameError.of(f"key of what '{factory}' returns", str(key), _PARTS, plural="keys")
        return given
    if isinstance(made, tuple):
        entries = cast("tuple[Any, ...]", made)
        if len(entries) == 2:
            return {"model": entries[0], "example": entries[1]}
        if len(entries) == 3:
            return {"model": entries[0], "batch": entries[1], "loss": entries[2]}
    return {"model": made}


def _takes_model(loss: Any, batch: Any) -> bool:
    if isinstance(loss, nn.Module):
        return False
    if not (isinstance(batch, tuple | list) and len(cast("list[Any]", batch)) == 2):
        return True  # there is no target that a criterion could compare with
    try:
        first = next(iter(inspect.signature(loss).parameters), "")
    except (TypeError, ValueError):  # a builtin tells nothing of its parameters
        return False
    return first in {"model", "net", "network", "module"}


def _input(batch: Any, criterion: object) -> Any:
    """What a model is called with, of a batch."""
    return batch[0] if criterion is not None and isinstance(batch, tuple | list) else batch


def _same(given: Any) -> Any:
    return given


def _module(source: str) -> ModuleType:
    is_file = source.endswith(".py") or "/" in source
    if is_file and not Path(source).is_file():
        raise InvalidValueError(
            f"Model file '{source}' does not exist.",
            fix="give the path of a Python file and a name in it: exnihilo read my_model.py:build",
        )
    return _guarded(lambda: _from_file(Path(source)) if is_file else _from_package(source), f"'{source}'")


def _from_file(path: Path) -> ModuleType:
    # What lies beside the file can be imported from it, as when Python runs it.
    sys.path.insert(0, str(path.resolve().parent))
    name = f"_model_{path.stem}"  # its own name may be that of another module
    specification = importlib.util.spec_from_file_location(name, path.resolve())
    if specification is None or specification.loader is None:
        raise ImportError(f"{path} is no Python file")
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up there
    specification.loader.exec_module(module)
    return module


def _from_package(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    return importlib.import_module(name)


def _made(module: ModuleType, source: str, factory: str, sizes: Mapping[str, Any]) -> object:
    if not hasattr(module, factory):
        known = _factories(module)
        raise UnknownNameError.of(f"factory in {source}", factory, known, plural=f"factories in {source}")
    found = getattr(module, factory)
    if isinstance(found, nn.Module) or not callable(found):
        if sizes:
            raise InvalidValueError(
                f"'{factory}' of '{source}' is no function, and takes no size.",
                context=[f"sizes asked: {', '.join(sizes)}"],
                fix=f"leave --size out, or make it a function: def {factory}({', '.join(sizes)}): ...",
            )
        return found
    _require_taken(found, factory, sizes)
    return _guarded(lambda: found(**sizes), f"Factory '{factory}' of '{source}'")


def _factories(module: ModuleType) -> Sequence[str]:
    """Names that a module itself defines and that may be meant: functions, classes of modules, models."""
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (isinstance(value, nn.Module) or (callable(value) and value.__module__ == module.__name__))
    ]


def _require_taken(found: Callable[..., object], factory: str, sizes: Mapping[str, Any]) -> None:
    parameters = inspect.signature(found).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for size in sizes:
        if size not in parameters:
            raise UnknownNameError.of(f"size of {factory}", size, parameters, plural=f"sizes of {factory}")


def _beside(module: ModuleType, source: str) -> Any:
    example = getattr(module, "example", None)
    return _guarded(example, f"The example() of '{source}'") if inspect.isroutine(example) else example


def _guarded(call: Callable[[], Any], what: str) -> Any:
    """What a call into code that is not ours returns; where it fails, an error that says where."""
    try:
        return call()
    except ExnihiloError:
        raise
    except (Exception, SystemExit) as error:  # a script without a guard may end the process with its own arguments
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
        lines = [f"{Path(frame.filename).name}, line {frame.lineno}: {frame.line}" for frame in own[-1:]]
        if isinstance(error, SyntaxError):
            lines = [f"{Path(error.filename or '').name}, line {error.lineno}: {(error.text or '').strip()}"]
        raise InvalidValueError(
            f"{what} failed: {type(error).__name__}: {error}",
            context=lines,
            fix="mend it; it must run by itself, with no arguments but those that --size names",
        ) from error
