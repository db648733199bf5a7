"""What is measured on a stack of runs: gradients, distinct units, dead and saturated units, zeros.

Shape legend: R runs, N samples, U units of a layer, D numbers that describe a unit.
"""

from collections.abc import Mapping, Sequence
from functools import cache

import torch
from torch import Tensor

from exnihilo.lab.layers import normalized_weight
from exnihilo.lab.networks import Hidden
from exnihilo.schemes.activations import activation_named

# Two units count as one at this distance, relative to the largest number of the layer: rounding stays below it.
RELATIVE_DISTANCE = 1e-6
# A unit is saturated where its derivative is below this share of the activation's largest ...
SATURATED_SLOPE = 0.05
# ... for at least this share of the samples.
SATURATED_SAMPLES = 0.9
_SLOPE_GRID = (-20.0, 20.0, 40_001)


def gradient_norms(gradients: Sequence[Tensor]) -> list[list[float]]:
    """Euclidean norm of each map's weight gradient for each run; ``gradients`` are ``[R, ...]``, one a map."""
    # One run at a time: a reduction over many rows may round otherwise than over one.
    norms = [[float(torch.linalg.vector_norm(run.double())) for run in gradient] for gradient in gradients]
    return [list(run) for run in zip(*norms, strict=True)]


def unit_descriptions(tensors: Mapping[str, Tensor], hidden: Hidden) -> Tensor:
    """``[R, U, D]``: of each unit its incoming weights, bias and norm parameters, and its outgoing weights.

    Units with equal descriptions compute the same function and receive the same gradient, now and for ever without
    dropout, whose masks may drop one of them and keep the other.
    """
    incoming = tensors[f"{hidden.into}.weight"]
    if (magnitude := tensors.get(f"{hidden.into}.magnitude")) is not None:
        incoming = normalized_weight(incoming, magnitude)
    vectors = (tensors.get(f"{hidden.into}.{name}") for name in ("bias", "norm.weight", "norm.bias"))
    outgoing = tensors[f"{hidden.out_of}.weight"]
    if (magnitude := tensors.get(f"{hidden.out_of}.magnitude")) is not None:
        outgoing = normalized_weight(outgoing, magnitude)
    parts = [
        incoming.flatten(2),
        *(vector.unsqueeze(2) for vector in vectors if vector is not None),
        outgoing.transpose(1, 2).flatten(2),
    ]
    return torch.cat(parts, dim=2)


def distinct_units(descriptions_RUD: Tensor, relative: float = 0.0) -> list[int]:
    """How many units of each run differ: by bits, or by more than ``relative`` times the layer's largest number.

    A run with NaN counts 0 units: nothing can be told about them.

    Example:
        >>> distinct_units(torch.tensor([[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0000002]]]))
        [2]
        >>> distinct_units(torch.tensor([[[1.0, 2.0], [1.0, 2.0], [1.0, 2.0000002]]]), relative=1e-6)
        [1]
    """
    counts: list[int] = []
    for units in descriptions_RUD:
        if not bool(torch.isfinite(units).all()):
            counts.append(0)
            continue
        if relative == 0.0:
            counts.append(int(torch.unique(units, dim=0).shape[0]))
            continue
        tolerance = relative * float(units.abs().max())
        near = torch.cdist(units, units, p=torch.inf) <= tolerance
        counts.append(int((~near.tril(-1).any(1)).sum()))
    return counts


def dead_share(activations_RNU: Tensor) -> list[float]:
    """Share of the units of each run whose output is one and the same for all samples."""
    still = activations_RNU.amax(1) == activations_RNU.amin(1)
    return still.double().mean(1).tolist()


def saturated_share(preactivations_RNU: Tensor, activation: str) -> list[float]:
    """Share of the units of each run that are saturated (see ``SATURATED_SLOPE`` and ``SATURATED_SAMPLES``)."""
    flat = _slope(preactivations_RNU, activation).abs() < SATURATED_SLOPE * largest_slope(activation)
    return (flat.double().mean(1) >= SATURATED_SAMPLES).double().mean(1).tolist()


@cache
def largest_slope(activation: str) -> float:
    """The largest absolute derivative of an activation over [-20, 20], by autograd on a fine grid."""
    low, high, count = _SLOPE_GRID
    return float(_slope(torch.linspace(low, high, count), activation).abs().max())


def _slope(z: Tensor, activation: str) -> Tensor:
    with torch.enable_grad():
        at = z.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(activation_named(activation).function(at).sum(), at)
    return slope


def zero_share(tensors: Sequence[Tensor]) -> list[float]:
    """Share of exact zeros in all tensors together, for each run; tensors are ``[R, ...]``."""
    zeros = sum((tensor == 0).flatten(1).sum(1).double() for tensor in tensors)
    return (torch.as_tensor(zeros) / sum(tensor[0].numel() for tensor in tensors)).tolist()
