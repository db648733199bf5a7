"""Other values for a model's parameters: the same with noise, and fresh ones that hold nothing of the old."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from exnihilo.probes.openings import size_of, units_of
from exnihilo.probes.trial import Trial

# A saddle is left by any noise, however small; a dead region, or the samples of another expert, only at their border.
_NOISE = {torch.float64: 1e-6, torch.float32: 1e-2}


def _generator(name: str, device: torch.device, draw: int) -> torch.Generator:
    seed = int.from_bytes(name.encode("utf-8", "surrogatepass")[-6:], "little") * 31 + draw
    return torch.Generator(device=device).manual_seed(seed)


def random(name: str, value: Tensor, draw: int) -> Tensor:
    """Standard normal numbers for a parameter, others for each draw."""
    generator = _generator(name, value.device, draw)
    return torch.randn(value.shape, dtype=value.dtype, device=value.device, generator=generator)


def noised(name: str, value: Tensor) -> Tensor:
    """Values a little beside the old ones, by their size."""
    share = _NOISE[value.real.dtype if value.is_complex() else value.dtype]
    return value + share * size_of(value) * random(name, value, 0)


def fresh_values(trial: Trial, start: Mapping[str, Tensor], draw: int) -> dict[str, Tensor]:
    """Values for all parameters that hold nothing of those at the start."""
    return {name: fresh(name, value, units_of(trial, name), draw) for name, value in start.items()}


def fresh(name: str, value: Tensor, unit_dims: tuple[int, ...], draw: int) -> Tensor:
    """Values that hold nothing of the old ones: maps at their usual size, vectors about zero, scales about one."""
    noise = random(name, value, 1 + draw)
    if value.dim() < 2:
        around = 1.0 if 0.5 < float(value.mean().real) < 2.0 else 0.0
        return around + 0.1 * noise
    inner = math.prod(size for dim, size in enumerate(value.shape) if dim not in unit_dims)
    return noise / math.sqrt(max(inner, 1))
