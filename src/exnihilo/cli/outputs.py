"""Files that a command writes: refused before anything is computed, and written whole or not at all."""

import os
from collections.abc import Callable
from pathlib import Path

from exnihilo.errors import OutputError


def require_folder(path: Path) -> None:
    """Refuse a path whose folder cannot hold it.

    Raises:
        OutputError: The folder does not exist or cannot be written, or the path is a folder itself.
    """
    if path.is_dir():
        raise OutputError(f"{path} cannot be written: it is a folder.", fix="name a file in it")
    folder = path.parent
    if not folder.is_dir():
        raise OutputError(f"{path} cannot be written: '{folder}' is no folder.", fix=f"mkdir -p {folder}")
    if not os.access(folder, os.W_OK):
        raise OutputError(f"{path} cannot be written: '{folder}' is read-only.", fix="choose another folder")


def written_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside the path and give it its name at the end, so that no reader ever sees a part of it.

    Args:
        path: What the file is called once it is whole; a file of that name gives way.
        write: Writes the file of the path that it is given.

    Raises:
        OutputError: It cannot be written; what stood at the path still does.
    """
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        aside.touch()
        mode = aside.stat().st_mode  # what this process gives its files; safetensors gives its own to the owner alone
        write(aside)
        aside.chmod(mode)
        with aside.open("rb") as file:
            os.fsync(file.fileno())
        aside.replace(path)
    except Exception as error:  # a full disk is an OSError, a RuntimeError or an error of the library's own
        raise OutputError(
            f"{path} cannot be written: {type(error).__name__}: {error}", fix="choose another folder"
        ) from error
    finally:
        aside.unlink(missing_ok=True)
