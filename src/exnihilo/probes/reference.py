"""The loss where a model's outputs are zero: what an untrained model should start near."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from exnihilo.probes.trial import Trial

_CLOSE = 1e-3


def reference_loss(trial: Trial, head: str, output: Tensor | None) -> float | None:
    """The loss where what the model returns is zero, or made of logits that are; None where that cannot be had.

    Args:
        trial: At its start.
        head: The weight that made the model's largest output; empty where it could not be told.
        output: That output; None where there was none.
    """
    if output is not None and _has_length_one(output):
        return None
    if trial.question.form == "own" or trial.has_own_loss or (output is not None and _are_probabilities(output)):
        names = [name for name in (head, f"{head.rpartition('.')[0]}.bias") if name in trial.parameters]
        if not names:
            return None
        kept = trial.values()
        trial.set({name: torch.zeros_like(trial.parameters[name]) for name in names})
        try:
            evaluation = trial.evaluate()
        finally:
            trial.set(kept)
        largest = max((o for o in evaluation.outputs if o.dim() > 1), key=lambda o: o.numel(), default=None)
        is_even = largest is not None and bool((largest == largest[..., :1]).all())
        return _finite(float(evaluation.loss.detach())) if is_even else None
    seen: list[bool] = []

    def emptied(_module: nn.Module, _args: Any, output: Any) -> Any:
        seen.append(True)
        return tree_map(_zero, output)

    hook = trial.twin.register_forward_hook(emptied)
    try:
        loss = float(trial.evaluate().loss.detach())
    except Exception:  # a loss may need what its model returns to be as it is
        return None
    finally:
        hook.remove()
    return _finite(loss) if seen else None


def _has_length_one(output: Tensor) -> bool:
    lengths = torch.linalg.vector_norm(output, dim=-1)
    return bool(((lengths - 1).abs() < _CLOSE).all())


def _are_probabilities(output: Tensor) -> bool:
    """Whether an output is of probabilities, or of their logarithms: neither can be zero everywhere."""
    are_shares = bool(((output >= 0) & (output <= 1)).all())
    return are_shares or bool((output.logsumexp(-1).abs() < _CLOSE).all())


def _zero(leaf: Any) -> Any:
    return leaf * 0.0 if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
