"""Where a model's numbers stop being finite."""

from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.probes.question import shapes_of
from exnihilo.probes.records import NotFinite
from exnihilo.probes.trial import Trial
from exnihilo.structure.names import canonical_names
from exnihilo.structure.recording import tensors_in

_NORMALIZES = {
    "_WeightNorm": "weight norm",
    "WeightNorm": "weight norm",
    "_SpectralNorm": "spectral norm",
    "SpectralNorm": "spectral norm",
}
# What these divide, by the names that PyTorch gives it; the length of weight norm is no part of it.
_DIVIDED = ("_v", "_orig", ".original", ".original1")


def not_finite(trial: Trial, loss: Tensor, gradients: dict[str, Tensor | None]) -> NotFinite | None:
    """What is not finite first: a parameter, an input, a module's output, the loss or a gradient; None if nothing is.

    Args:
        trial: A trial that was evaluated.
        loss: Its loss.
        gradients: Of that loss.
    """
    for name, parameter in trial.parameters.items():
        if not bool(torch.isfinite(parameter).all()):
            return NotFinite(place="parameter", name=name, parameters=(name,))
    if not bool(torch.isfinite(loss)):
        given = next((t for t in tensors_in(trial.batch) if not _all_finite([t])), None)
        if given is not None:
            return NotFinite(place="input", name=shapes_of(given), parameters=())
        module = _first_module(trial)
        if module is None:
            return NotFinite(place="loss", name="", parameters=())
        path, owner = module
        weight = _zero_weight(trial, path, owner)
        if weight is not None:
            return weight
        own = tuple(f"{path}.{name}" if path else name for name, _ in owner.named_parameters(recurse=False))
        return NotFinite(place="output", name=path, parameters=tuple(n for n in own if n in trial.parameters))
    for name, gradient in gradients.items():
        if gradient is not None and not bool(torch.isfinite(gradient).all()):
            return NotFinite(place="gradient", name=name, parameters=(name,))
    return None


def _zero_weight(trial: Trial, path: str, module: nn.Module) -> NotFinite | None:
    """The weight of zeros that a module normalizes, or that a module's hook does; None where that is not why."""
    hooks = module._forward_pre_hooks.values()  # pyright: ignore[reportPrivateUsage]  # the older functions are hooks
    by = next((_NORMALIZES[kind] for m in (module, *hooks) if (kind := type(m).__name__) in _NORMALIZES), None)
    owner = path.partition("parametrizations.")[0].removesuffix(".")
    for own, name in canonical_names(trial.twin).items() if by else ():
        is_own = own.startswith(f"{owner}." if owner else "") and name in trial.parameters
        if is_own and own.endswith(_DIVIDED) and not bool(trial.parameters[name].flatten(1).any(1).all()):
            return NotFinite(place="weight", name=name, parameters=(name,), path=own, by=by or "")
    return None


def _first_module(trial: Trial) -> tuple[str, nn.Module] | None:
    """The first module that makes numbers that are not finite of ones that are."""
    found: list[tuple[str, nn.Module]] = []
    paths = {module: path for path, module in trial.twin.named_modules()}

    def look(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        is_first = not found and not any(module.children())
        if is_first and _all_finite([*tensors_in(args), *tensors_in(kwargs)]) and not _all_finite(tensors_in(output)):
            found.append((paths[module], module))

    hooks = [module.register_forward_hook(look, with_kwargs=True) for module in paths]
    try:
        trial.evaluate()
    finally:
        for hook in hooks:
            hook.remove()
    return found[0] if found else None


def _all_finite(tensors: list[Tensor]) -> bool:
    return all(bool(torch.isfinite(t).all()) for t in tensors if t.is_floating_point())
