"""What is told of a tensor's values in one number: how much samples and places differ, in how many directions."""

import math
from typing import Any

import torch
from torch import Tensor

# Places that ranks are estimated from: enough to tell one direction from several.
_PLACES = 64
_FEATURES = 4096


def rms_of(values: Tensor) -> float:
    """Root mean square; 0 where there is nothing."""
    return float(torch.linalg.vector_norm(values)) / math.sqrt(values.numel()) if values.numel() else 0.0


def spread_of(values: Tensor, num_samples: int) -> float:
    """Of the mean square of values, the share that differs between samples.

    Example:
        >>> spread_of(torch.tensor([[1.0], [-1.0]]), 2), spread_of(torch.ones(2, 3), 2)
        (1.0, 0.0)
    """
    if num_samples < 2 or values.numel() % num_samples:
        return 1.0
    rows = values.reshape(num_samples, -1)
    rows = rows[:, :: max(rows.shape[1] // _FEATURES, 1)].double()
    total = float(rows.square().mean())
    return float(rows.var(0, correction=0).mean()) / total if total > 0 else 0.0


def apart_of(values: Tensor, dim: int = -2) -> float:
    """Of the mean square of values, the share that differs along one dim, such as between places of a sample.

    Example:
        >>> apart_of(torch.ones(2, 5, 3)), apart_of(torch.eye(2).reshape(1, 2, 2))
        (0.0, 0.5)
    """
    wide = values.double()
    total = float(wide.square().mean())
    return float(wide.var(dim, correction=0).mean()) / total if total > 0 else 0.0


def effective_number(counts: Tensor) -> float:
    """The exponential of the entropy of some counts: how many equal ones would be as even.

    Example:
        >>> effective_number(torch.tensor([4, 4])), effective_number(torch.tensor([8, 0]))
        (2.0, 1.0)
    """
    shares = counts.double() / counts.sum().clamp_min(1)
    return math.exp(float(torch.special.entr(shares).sum()))


def rank_of(values: Tensor) -> float:
    """How many directions the differences between places take: the participation ratio of their covariance."""
    rows = values.flatten(0, -2)
    step = max(rows.shape[0] // _PLACES, 1)
    rows = rows[::step][:_PLACES].double()
    rows = rows - rows.mean(0)
    gram = rows @ rows.T
    total = float(gram.diagonal().sum())
    squares = float(gram.square().sum())
    return total**2 / squares if squares > 0 else 0.0


def entropy_of(weights: Tensor) -> float:
    """Mean entropy of rows of weights over that of equal ones, among places that have any weight.

    Example:
        >>> entropy_of(torch.full((1, 1, 2, 4), 0.25))
        1.0
    """
    places = (weights > 0).sum(-1)
    entropy = -(weights * weights.clamp_min(torch.finfo(weights.dtype).tiny).log()).sum(-1)
    open_rows = weights.shape[-1] if bool((places == weights.shape[-1]).all()) else None
    count = torch.full_like(entropy, float(open_rows)) if open_rows else _allowed(weights)
    some = count > 1.5
    return float((entropy[some] / count[some].log()).mean()) if bool(some.any()) else 1.0


def _allowed(weights: Tensor) -> Tensor:
    """How many places each row may look at: all, or under a causal mask those up to its own."""
    rows, columns = weights.shape[-2:]
    upper = torch.ones(rows, columns, device=weights.device).triu(1 + columns - rows).bool()
    if rows <= columns and bool((weights[..., upper] == 0).all()):
        return torch.arange(columns - rows + 1, columns + 1, device=weights.device).expand_as(weights[..., 0]).float()
    return (weights > 0).sum(-1).float()


def fused_weights(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    """The weights that a fused attention does not give out."""
    query, key = args[0].detach(), args[1].detach()
    if key.shape[1] != query.shape[1]:
        key = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scale = kwargs.get("scale") or query.shape[-1] ** -0.5
    scores = query @ key.transpose(-1, -2) * scale
    mask = kwargs.get("attn_mask")
    if isinstance(mask, Tensor):
        scores = scores.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else scores + mask
    is_causal = next((a for a in args[3:] if a is True), kwargs.get("is_causal", False))
    if is_causal:
        scores = scores.masked_fill(torch.ones_like(scores[0, 0]).triu(1).bool(), -math.inf)
    return scores.softmax(-1)
