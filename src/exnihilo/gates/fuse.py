"""The verb ``fuse``: fold gates into the weights that they scale, with the same outputs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from exnihilo.errors import GateError
from exnihilo.gates.attach import attentions_of, gates_of, remove
from exnihilo.gates.records import GATE_NAMES, GateKind

_TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fused:
    """What ``fuse`` did.

    Args:
        folded: Gates that are part of other parameters now, by the name that the model gave them.
        left: Gates that stay, each with the reason.
    """

    folded: tuple[str, ...]
    left: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        noun = "gate" if len(self.folded) == 1 else "gates"
        lines = [f"{len(self.folded)} {noun} folded in, {len(self.left)} left"]
        return "\n".join([*lines, *(f"  {name}: {why}" for name, why in self.left)])


def fuse(model: nn.Module) -> Fused:
    """Fold gates into the weights and biases of their modules, in place; the model then computes the same without them.

    A factor is multiplied into weight and bias; a shift is added to the bias, one before a map through its weight.
    What cannot be folded stays a gate, and is told.

    Args:
        model: Changed in place. Optimizers that hold its gates must be made anew.

    Raises:
        GateError: It has no gates.

    Example:
        >>> from exnihilo.gates.attach import attach
        >>> from exnihilo.gates.records import Gate
        >>> model = nn.Sequential(nn.Linear(2, 2))
        >>> _ = attach(model, [Gate(module="0", parameter="0.weight")])
        >>> print(fuse(model))
        1 gate folded in, 0 left
        >>> sorted(model.state_dict())
        ['0.bias', '0.weight']
    """
    found = gates_of(model)
    if not found:
        raise GateError(
            f"{type(model).__name__} has no gates to fold in.",
            context=["it was fused already, or no recipe that adds gates was applied"],
            fix='exnihilo.initialize(model, "rezero", example, seed=0) adds some',
        )
    attentions = attentions_of(model)
    folded: list[str] = []
    left: list[tuple[str, str]] = []
    # From the inside out, as the module applies them: what goes in, the factor, what is added behind it.
    for kind in ("shift_in", "scale", "scale_last", "scale_second", "shift_out"):
        for name, (module, own) in found.items():
            if own != kind:
                continue
            why = why_left(module, kind) or _why_behind(name, left)
            if why is not None:
                left.append((name, why))
                continue
            with torch.no_grad():
                _FOLDS[kind](module, getattr(module, GATE_NAMES[kind]))
            remove(module, kind, attentions.get(module))
            folded.append(name)
    return Fused(folded=tuple(folded), left=tuple(left))


def why_left(module: Any, kind: GateKind) -> str | None:
    """Why a gate cannot be folded into its module; None where it can."""
    if kind not in _FOLDS:
        return f"no weight makes what its module, a {type(module).__name__}, gives out"
    weight = _scaled_by(module)
    if kind == "scale":
        return "its weight is computed from others" if weight is None else None
    if getattr(module, "bias", None) is None and kind == "shift_out":
        return "its module has no bias to take it"
    if kind == "shift_in":
        if not isinstance(module, (nn.Linear, *_CONVOLUTIONS)):
            return f"what a {type(module).__name__} makes of it is no number added to its output"
        if isinstance(module, _CONVOLUTIONS) and module.padding_mode == "zeros" and _pads(module):
            return "it is added before a padded convolution, where the border is not shifted"
        if module.bias is None:
            return "its module has no bias to take it"
        if weight is not module.weight:
            return "its weight is computed from others"
    return None


def _scaled_by(module: Any) -> Tensor | None:
    """What a factor is multiplied into: the weight, or the length of a normalized one; None where there is no such."""
    if not parametrize.is_parametrized(module, "weight"):
        weight = getattr(module, "weight_g", getattr(module, "weight", None))  # the older hook keeps the length there
        return weight if isinstance(weight, nn.Parameter) else None
    computed = module.parametrizations["weight"]
    is_normed = len(computed) == 1 and type(computed[0]).__name__ == "_WeightNorm"
    return computed.original0 if is_normed else None


def _pads(module: Any) -> bool:
    padding = module.padding
    return padding != "valid" and any(padding) if not isinstance(padding, str) else padding != "valid"


def _why_behind(name: str, left: list[tuple[str, str]]) -> str | None:
    """A factor may be folded past a shift before the map, which stays; the order of the others is kept."""
    own = name.rpartition(".")
    blocked = own[2] == "shift_out" and any(other == f"{own[0]}{own[1]}branch_gate" for other, _ in left)
    return "it is added behind a factor that stays" if blocked else None


def _fold_scale(module: Any, gate: Tensor) -> None:
    weight, bias = _scaled_by(module), getattr(module, "bias", None)
    if weight is None:
        return
    dim = 1 if isinstance(module, _TRANSPOSED) else 0
    if isinstance(module, _TRANSPOSED) and gate.numel() > 1 and module.groups > 1:
        per_group = gate.reshape(module.groups, 1, -1, *[1] * (weight.dim() - 2))
        weight.copy_((weight.unflatten(0, (module.groups, -1)) * per_group).flatten(0, 1))
    else:
        shape = [1] * weight.dim()
        shape[dim] = -1
        weight.mul_(gate.reshape(shape))
    if bias is not None:
        bias.mul_(gate)


def _fold_shift_in(module: Any, gate: Tensor) -> None:
    sums = module.weight.flatten(1).sum(1)
    module.bias.add_(gate * sums)


def _fold_shift_out(module: Any, gate: Tensor) -> None:
    module.bias.add_(gate)


_FOLDS: Mapping[GateKind, Callable[[Any, Tensor], None]] = {
    "scale": _fold_scale,
    "shift_in": _fold_shift_in,
    "shift_out": _fold_shift_out,
}
