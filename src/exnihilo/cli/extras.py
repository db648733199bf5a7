"""Whether the optional dependencies are there, found out before anything needs them."""

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
    missing = [package for module, package in LAB.items() if find_spec(module) is None]
    if missing:
        are = "is" if len(missing) == 1 else "are"
        raise MissingExtraError(
            f"'{command}' needs {', '.join(missing)}, which {are} not installed.", fix="pip install 'exnihilo[lab]'"
        )
