"""What a tensor holds: its bytes as a digest, and three numbers."""

import hashlib
import math
from collections.abc import Iterable
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


def distance(first: Tensor, second: Tensor) -> float:
    """The largest difference between two tensors of one shape, in float64; not a number where one holds none.

    Example:
        >>> distance(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5], dtype=torch.bfloat16))
        0.5
    """
    wide = torch.complex128 if first.is_complex() or second.is_complex() else torch.float64
    pairs = zip(*(values.detach().to("cpu").reshape(-1).split(_CHUNK) for values in (first, second)), strict=True)
    largest = [(one.to(wide) - other.to(wide)).abs().max() for one, other in pairs if one.numel()]
    return torch.stack(largest).max().item() if largest else 0.0


def digest(values: Tensor) -> str:
    """BLAKE2b of a tensor's bytes in the order of its elements, wherever and however they lie in memory.

    It is hashed in parts of a million entries: where they lie if that is in order on the CPU, else of a copy there.

    Example:
        >>> w = torch.arange(6.0).reshape(2, 3)
        >>> digest(w) == digest(w.t().contiguous().t())
        True
    """
    found = hashlib.blake2b(digest_size=16)
    for part in _parts(values.detach()):
        plain = part.resolve_conj().resolve_neg().to("cpu").contiguous().reshape(-1).view(torch.uint8)
        found.update(plain.numpy().data)
    return found.hexdigest()


def _parts(values: Tensor) -> Iterable[Tensor]:
    """Rows of the tensor that together have a million entries, or one row where that has more."""
    if values.dim() == 0 or values.numel() <= _CHUNK:
        return [values]
    return values.split(max(1, _CHUNK * len(values) // values.numel()))
