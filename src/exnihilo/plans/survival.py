"""The verb ``survived``: whether what was written still stands."""

from torch import nn

from exnihilo.plans.live import dtype_name, live_parameters
from exnihilo.plans.records import Applied, Overwritten, Survival, Written
from exnihilo.plans.values import described, digest


def survived(applied: Applied, model: nn.Module) -> Survival:
    """Which of the parameters that were written still hold what was written, bit for bit.

    Ask it before training, after whatever may write too: ``model.apply(init)``, ``post_init``, a checkpoint that is
    loaded. Moving the model to another device changes nothing.

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
    found = [(entry, live.get(entry.parameter)) for entry in applied.written]
    overwritten = [_overwritten(entry, parameter) for entry, parameter in found if parameter is not None]
    changed = tuple(entry for entry in overwritten if entry is not None)
    names = {entry.parameter for entry in changed}
    return Survival(
        kept=tuple(e.parameter for e, parameter in found if parameter is not None and e.parameter not in names),
        overwritten=changed,
        gone=tuple(entry.parameter for entry, parameter in found if parameter is None),
    )


def _overwritten(entry: Written, parameter: nn.Parameter) -> Overwritten | None:
    if parameter.is_meta:
        words = "on the meta device"
    elif dtype_name(parameter) != entry.dtype:
        words = f"{dtype_name(parameter)} and no longer {entry.dtype}"
    elif digest(parameter) == entry.digest:
        return None
    else:
        facts = described(parameter)
        mean = f", mean {facts.mean:.3g}" if abs(facts.mean) > 0.5 * facts.std else ""
        words = f"std {facts.std:.3g}{mean}"
    return Overwritten(parameter=entry.parameter, scheme=entry.scheme, expected_std=entry.expected_std, found=words)
