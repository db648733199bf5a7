"""The cases: each healthy architecture in two dtypes and three seeds, and each fault in each architecture it fits.

A fault has one seed, that for which its harm was decided by training.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from benchmarks.check.faults import FAULTS, Fault, Injected
from benchmarks.check.plain import plain
from benchmarks.check.subjects import Architecture, as_bfloat16

SEEDS = (0, 1, 2)
DTYPES = ("float32", "bfloat16")


@dataclass(frozen=True)
class Case:
    """One model to check.

    Args:
        architecture: What it is.
        fault: Its fault; None where it is healthy.
        seed: Of its values and batch.
        dtype: Of its parameters.
    """

    architecture: Architecture
    fault: Fault | None
    seed: int
    dtype: str = "float32"

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.architecture.name}/{self.fault.code if self.fault else 'healthy'}/{self.dtype}/{self.seed}"

    def build(self) -> Injected | None:
        """The subject with its fault; None where the fault has no home in it."""
        subject = self.architecture.build(self.seed)
        if self.fault is None:
            return Injected(as_bfloat16(subject) if self.dtype == "bfloat16" else subject, ())
        injected = self.fault.inject(subject, torch.Generator().manual_seed(self.seed))
        if injected is None:
            return None
        names = dict(injected.subject.model.named_parameters())
        return injected if all(name in names for name in injected.parameters) else None


def architectures() -> list[Architecture]:
    """All of them; those of packages where the packages are installed."""
    try:
        from benchmarks.check.packaged import packaged
    except ImportError:
        return plain()
    return [*plain(), *packaged()]


def cases(*, seeds: tuple[int, ...] = SEEDS) -> Iterator[Case]:
    """Healthy and broken ones; a fault that has no home in an architecture is found out when the case is built."""
    for architecture in architectures():
        for seed in seeds:
            for dtype in DTYPES:
                yield Case(architecture, None, seed, dtype)
        for fault in FAULTS:
            yield Case(architecture, fault, SEEDS[0])
