"""A model of the user's own: ``module.py:factory`` or ``package.module:factory``."""

import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from torch import nn

from exnihilo.errors import ExnihiloError, InvalidValueError, UnknownNameError


def model_made_by(source: str, factory: str, sizes: Mapping[str, Any]) -> tuple[nn.Module, Callable[[], Any]]:
    """The model of a factory, and what makes its example input: None where there is none beside it.

    Args:
        source: A Python file, or a module that can be imported from here.
        factory: The name in it of a callable that returns a model, or a model and its example; or of a model.
        sizes: Passed to the callable by name.

    Raises:
        InvalidValueError: The file is missing or fails, the factory fails, or makes no model.
        UnknownNameError: There is no such factory, or it takes no such size.
    """
    module = _module(source)
    made = _made(module, source, factory, sizes)
    if isinstance(made, tuple) and len(cast("tuple[Any, ...]", made)) == 2:
        model, given = cast("tuple[Any, Any]", made)
        example = partial(_same, given)
    else:
        model, example = made, partial(_beside, module, source)
    if not isinstance(model, nn.Module):
        raise InvalidValueError(
            f"'{factory}' of '{source}' makes a {type(model).__name__}; it must make a torch.nn.Module.",
            context=["it may also return a pair: the model, and the example that it is called with"],
            fix=f"return the model:   def {factory}(): return Net()",
        )
    return model, example


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
