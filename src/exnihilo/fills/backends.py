"""Which code evaluates the laws: a compiled kernel on CPUs, Triton's on CUDA, else the reference; with equal bits."""

import functools
import importlib
import os
import warnings
from types import ModuleType

import torch

# "reference" turns both kernels off, so that the package can be tried as it is where they are missing.
SWITCH = "EXNIHILO_FILLS"


class ReferenceFillsWarning(UserWarning):
    """The compiled kernel is missing, and fills are slow."""


def is_switched_off() -> bool:
    """The environment asks for the reference."""
    return os.environ.get(SWITCH, "") == "reference"


@functools.cache
def compiled() -> ModuleType | None:
    """The compiled kernel; None where it was not built, which is said once, or is switched off."""
    if is_switched_off():
        return None
    try:
        return importlib.import_module("exnihilo.fills._kernel")
    except ImportError as error:
        warnings.warn(
            f"exnihilo's compiled kernel is missing ({error}): the same values are drawn, some twenty times slower.\n"
            "  Fix: install a C compiler, then pip install --force-reinstall --no-deps exnihilo\n"
            f"  or set {SWITCH}=reference to accept it",
            ReferenceFillsWarning,
            stacklevel=2,
        )
        return None


@functools.cache
def triton_fills() -> ModuleType | None:
    """The Triton kernel; None where Triton is not installed, or kernels are switched off."""
    if is_switched_off():
        return None
    try:
        return importlib.import_module("exnihilo.fills.triton_kernel")
    except ImportError:
        return None


def describe() -> str:
    """What fills a CPU tensor here, in words: the instruction set, or the reference.

    Example:
        >>> describe() in ("compiled, avx512", "compiled, avx2", "compiled, baseline", "reference")
        True
    """
    kernel = compiled()
    return "reference" if kernel is None else f"compiled, {kernel.level()}"


def num_threads(n: int, share: int) -> int:
    """Threads for ``n`` elements: no more than torch's own, and at least ``share`` elements each."""
    return 1 if n < 2 * share else min(torch.get_num_threads(), n // share)
