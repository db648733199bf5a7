"""The loss where a model's outputs are zero: what an untrained model should start near."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from exnihilo.probes.trial import Trial


def reference_loss(trial: Trial, head: str) -> float | None:
    """The loss where what the model returns is zero; None where that cannot be had."""
    if trial.question.form == "own" or trial.has_own_loss:
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
        is_zero = largest is not None and not bool(largest.any())
        return _finite(float(evaluation.loss.detach())) if is_zero else None
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


def _zero(leaf: Any) -> Any:
    return leaf * 0.0 if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
