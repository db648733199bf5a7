"""What a tensor holds: its bytes as a digest, and three numbers."""

import hashlib
import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 2**20  # entries looked at together: in float64 they take 8 MiB, whatever the tensor takes


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Standard deviation, mean and largest magnitude of a tensor's entries, in float64."""

    std: float
    mean: float
    max_abs: float


def described(values: Tensor) -> Description:
    """The three numbers of a tensor; the standard deviation is the root mean square distance from the mean.

    Example:
        >>> described(torch.tensor([1.0, -1.0, 1.0, -1.0]))
        Description(std=1.0, mean=0.0, max_abs=1.0)
    """
    flat = values.detach().reshape(-1)
    chunks = [flat[start : start + _CHUNK] for start in range(0, len(flat), _CHUNK)]
    mean = math.fsum(chunk.double().sum().item() for chunk in chunks) / max(len(flat), 1)
    squares = math.fsum((chunk.double() - mean).square().sum().item() for chunk in chunks)
    max_abs = max((chunk.double().abs().max().item() for chunk in chunks), default=0.0)
    return Description(std=math.sqrt(squares / max(len(flat), 1)), mean=mean, max_abs=max_abs)


def digest(values: Tensor) -> str:
    """BLAKE2b of a tensor's bytes in the order of its elements, wherever and however they lie in memory.

    Example:
        >>> w = torch.arange(6.0).reshape(2, 3)
        >>> digest(w) == digest(w.t().contiguous().t())
        True
    """
    plain = values.detach().to("cpu").contiguous().reshape(-1).view(torch.uint8)
    return hashlib.blake2b(plain.numpy().data, digest_size=16).hexdigest()
