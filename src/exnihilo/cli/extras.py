"""Whether the optional dependencies are there, found out before anything needs them."""

import importlib
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

from exnihilo.errors import MissingExtraError

# Modules of the extra `lab`, by the names under which they are installed.
LAB = {
    "sklearn": "scikit-learn",
    "scipy": "scipy",
    "altair": "altair",
    "vl_convert": "vl-convert-python",
    "jinja2": "jinja2",
    "pyarrow": "pyarrow",
}


def require_lab(command: str) -> None:
    """Refuse a command that needs the extra ``lab`` where it is not installed.

    Raises:
        MissingExtraError: Some of its packages are missing.
    """
    require_modules(f"'{command}'", LAB, extra="lab")


def require_modules(what: str, modules: Mapping[str, str], *, extra: str) -> None:
    """Refuse what needs modules that are not installed, or that lean on a torchvision that cannot be imported.

    Args:
        what: What needs them, as the beginning of a sentence.
        modules: Names under which each is installed, by the names under which it is imported.
        extra: The extra that brings them.

    Raises:
        MissingExtraError: Some of them are missing, or torchvision is broken.
    """
    missing = [package for module, package in modules.items() if not is_installed(module)]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"{what} needs {', '.join(missing)}, which {are} not installed.", fix=f"pip install 'exnihilo[{extra}]'"
        )
    if extra != "lab" and is_installed("torchvision"):
        _require_torchvision(what)


def is_installed(module: str) -> bool:
    """Whether a module can be found; it is not imported."""
    try:
        return find_spec(module) is not None
    except ValueError:  # already imported, by something that gave it no specification
        return False


def _require_torchvision(what: str) -> None:
    """Refuse a torchvision whose own library was built for another torch; timm and transformers import it."""
    try:
        importlib.import_module("torchvision")
    except Exception as error:  # an ImportError, a RuntimeError or an AttributeError, by how it was built
        found = version("torchvision") if _has_version("torchvision") else "of an unknown version"
        raise MissingExtraError(
            f"{what} needs torchvision, and the one installed ({found}) cannot be imported.",
            context=[
                f"torchvision says: {type(error).__name__}: {str(error).strip().splitlines()[0]}",
                f"torch is {version('torch')}; a torchvision built for another torch fails like that",
            ],
            fix="pip install --force-reinstall torchvision --index-url URL   from the index that PyTorch's site names",
        ) from error


def _has_version(package: str) -> bool:
    try:
        return bool(version(package))
    except PackageNotFoundError:
        return False
