"""The verb ``survived``: whether what was written still stands."""

import torch
from torch import nn

from exnihilo.fills import Key
from exnihilo.plans.live import dtype_name, live_parameters
from exnihilo.plans.records import Applied, Overwritten, Survival, Written
from exnihilo.plans.values import described, digest
from exnihilo.schemes.spec import from_text


def survived(applied: Applied, model: nn.Module) -> Survival:
    """Which of the parameters that were written still hold what was written, bit for bit or cast.

    Ask it before training, after whatever may write too: ``model.apply(init)``, ``post_init``, a checkpoint that is
    loaded. Moving the model to another device changes nothing; casting it to another dtype is told apart from writing.

    Args:
        applied: What ``apply`` returned.
        model: The model as it is now, perhaps wrapped since.

    Example:
        >>> import torch
        >>> from exnihilo.plans.apply import initialize
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> applied = initialize(model, "zero-head", torch.zeros(1, 4), seed=0)
        >>> survived(applied, model).intact
        True
        >>> _ = nn.init.constant_(model[2].weight, 0.5)
        >>> print(survived(applied, model))
        1 as written, 1 overwritten, 0 gone
          2.weight was zeros, now std 0, mean 0.5
    """
    live = live_parameters(model)
    found = [(entry, live[entry.parameter]) for entry in applied.written if entry.parameter in live]
    kept = {entry.parameter for entry, parameter in found if _is_kept(entry, parameter)}
    cast = {entry.parameter for entry, parameter in found if _is_cast(entry, parameter, applied.seed)}
    return Survival(
        kept=tuple(entry.parameter for entry, _ in found if entry.parameter in kept),
        cast=tuple(entry.parameter for entry, _ in found if entry.parameter in cast),
        overwritten=tuple(_overwritten(*pair) for pair in found if pair[0].parameter not in kept | cast),
        gone=tuple(entry.parameter for entry in applied.written if entry.parameter not in live),
    )


def _is_kept(entry: Written, parameter: nn.Parameter) -> bool:
    return not parameter.is_meta and dtype_name(parameter) == entry.dtype and digest(parameter) == entry.digest


def _is_cast(entry: Written, parameter: nn.Parameter, seed: int) -> bool:
    """Whether a parameter of another dtype holds what was written, rounded or widened to that dtype."""
    if parameter.is_meta or dtype_name(parameter) == entry.dtype or parameter.numel() != entry.layout.numel:
        return False
    drawn = from_text(entry.scheme).sample(entry.layout, Key(seed, entry.parameter))
    written = drawn.reshape(parameter.shape).to(getattr(torch, entry.dtype))
    return digest(written.to(parameter.dtype)) == digest(parameter)


def _overwritten(entry: Written, parameter: nn.Parameter) -> Overwritten:
    return Overwritten(
        parameter=entry.parameter,
        scheme=entry.scheme,
        expected_std=entry.expected_std,
        found=_found(entry, parameter),
    )


def _found(entry: Written, parameter: nn.Parameter) -> str:
    if parameter.is_meta:
        return "on the meta device"
    if dtype_name(parameter) != entry.dtype:
        return f"{dtype_name(parameter)} and no longer {entry.dtype}, of other values"
    facts = described(parameter)
    mean = f", mean {facts.mean:.3g}" if abs(facts.mean) > 0.5 * facts.std else ""
    return f"std {facts.std:.3g}{mean}"
