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
    """A kernel is missing or does not work, and fills are slow."""


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
def triton_fills(device: torch.device) -> ModuleType | None:
    """The Triton kernel; None where Triton is not installed or kernels are switched off.

    It is tried on each device before it is used there: where it cannot run, or does not give the reference's bits, the
    reference is used, and that is said once.
    """
    if is_switched_off():
        return None
    try:
        kernel = importlib.import_module("exnihilo.fills.triton_kernel")
    except ImportError:
        return None
    try:
        trouble = "" if kernel.agrees(device) else "it gives other bits than the reference"
    except Exception as error:  # whatever a driver, a compiler or another version of Triton may raise
        trouble = f"{type(error).__name__}: {error}"
    if not trouble:
        return kernel
    warnings.warn(
        f"exnihilo's Triton kernel is not used on {device}: {trouble}\n"
        "  The same values are drawn by PyTorch's operations, slower.\n"
        "  Fix: pip install --upgrade 'exnihilo[triton]'; Triton also needs a C compiler\n"
        f"  or set {SWITCH}=reference to accept it",
        ReferenceFillsWarning,
        stacklevel=2,
    )
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
