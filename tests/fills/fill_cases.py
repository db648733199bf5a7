"""Laws that go through every branch of the backends, and each backend by its name."""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from exnihilo.fills import Box, Key, Law, backends, values

KEY = Key(2, "cases")
FAR_SHAPE = (2**63,)

LAWS: dict[str, Law] = {
    "uniform": Law.uniform(),
    "uniform_around_zero": Law.uniform(-0.1, 0.1),
    "uniform_tiny": Law.uniform(0.0, 1e-42),
    "normal": Law.normal(),
    "normal_moved": Law.normal(0.5, 0.02),
    "normal_too_large": Law.normal(0.0, 1e38),
    "center": Law.truncated_normal(),
    "center_one_side": Law.truncated_normal(0.1, 0.02, 0.5, 3.25),
    "tails": Law.truncated_normal(0.0, 0.02, -4.0, 5.0),
    "tails_unequal": Law.truncated_normal(lower=-1e-6, upper=6.0),
    "tails_infinite": Law.truncated_normal(lower=-math.inf, upper=6.0),
    "tail_above": Law.truncated_normal(1.0, 0.5, 10.0, 11.0),
    "tail_far": Law.truncated_normal(lower=30.0, upper=math.inf),
    "tail_below": Law.truncated_normal(0.0, 0.5, -math.inf, -4.0),
    "rademacher": Law.rademacher(0.5),
}

KERNEL = backends.compiled()
LEVELS: list[str] = KERNEL.levels() if KERNEL else []
BACKENDS = [*LEVELS, "reference"]


@contextmanager
def backend(name: str) -> Iterator[None]:
    """The fills by one instruction set of the compiled kernel, or by the reference."""
    with pytest.MonkeyPatch.context() as patch:
        if name == "reference":
            patch.setattr(backends, "compiled", lambda: None)
            yield
            return
        assert KERNEL is not None
        before = KERNEL.level()
        KERNEL.select(name)
        try:
            yield
        finally:
            KERNEL.select(before)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch's number of threads, which the fills take too."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def elements(law: Law, start: int, n: int, key: Key = KEY) -> Tensor:
    """Elements of a law, anywhere below 2**63."""
    return values(law, key, Box(FAR_SHAPE, (start,), (n,)))


def same_bits(left: Tensor, right: Tensor) -> bool:
    """Equal shapes, dtypes and bits: -0.0 is not 0.0."""
    return left.shape == right.shape and left.dtype == right.dtype and _bits(left).equal(_bits(right))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)
