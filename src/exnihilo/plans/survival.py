"""The verb ``survived``: whether what was written still stands."""

import torch
from torch import Tensor, nn

from exnihilo.fills import Key
from exnihilo.fills.shards import reshard
from exnihilo.plans.live import dtype_name, live_parameters
from exnihilo.plans.records import Applied, Overwritten, Survival, Written
from exnihilo.plans.scattering import gathered
from exnihilo.plans.values import described, digest
from exnihilo.schemes.spec import from_text


def survived(applied: Applied, model: nn.Module) -> Survival:
    """Which of the parameters that were written still hold what was written, bit for bit or cast.

    Ask it before training, after whatever may write too: ``model.apply(init)``, ``post_init``, a checkpoint that is
    loaded. Moving the model to another device changes nothing; casting it to another dtype is told apart from writing.
    Sharding changes nothing either: full tensors are gathered one at a time, which every rank must take part in.

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
    reshard(model)
    live = live_parameters(model)
    kept: list[str] = []
    cast: list[str] = []
    overwritten: list[Overwritten] = []
    for entry in applied.written:
        if entry.parameter in live:
            values = _values(live[entry.parameter])
            if _is_kept(entry, values):
                kept.append(entry.parameter)
            elif _is_cast(entry, values, applied.seed):
                cast.append(entry.parameter)
            else:
                overwritten.append(_overwritten(entry, values))
    return Survival(
        kept=tuple(kept),
        cast=tuple(cast),
        overwritten=tuple(overwritten),
        gone=tuple(entry.parameter for entry in applied.written if entry.parameter not in live),
    )


def _values(parameter: nn.Parameter) -> Tensor:
    """The full tensor; the parameter itself where it has no memory, or where this rank is outside of its mesh."""
    full = None if parameter.is_meta else gathered(parameter)
    return parameter if full is None else full


def _is_kept(entry: Written, values: Tensor) -> bool:
    return not values.is_meta and dtype_name(values) == entry.dtype and digest(values) == entry.digest


def _is_cast(entry: Written, values: Tensor, seed: int) -> bool:
    """Whether a tensor of another dtype holds what was written, rounded or widened to that dtype."""
    if values.is_meta or dtype_name(values) == entry.dtype or values.numel() != entry.layout.numel:
        return False
    drawn = from_text(entry.scheme).sample(entry.layout, Key(seed, entry.parameter))
    written = drawn.reshape(values.shape).to(getattr(torch, entry.dtype))
    return digest(written.to(values.dtype)) == digest(values)


def _overwritten(entry: Written, values: Tensor) -> Overwritten:
    return Overwritten(
        parameter=entry.parameter,
        scheme=entry.scheme,
        expected_std=entry.expected_std,
        found=_found(entry, values),
    )


def _found(entry: Written, values: Tensor) -> str:
    if values.is_meta:
        return "on the meta device"
    if dtype_name(values) != entry.dtype:
        return f"{dtype_name(values)} and no longer {entry.dtype}, of other values"
    facts = described(values)
    mean = f", mean {facts.mean:.3g}" if abs(facts.mean) > 0.5 * facts.std else ""
    return f"std {facts.std:.3g}{mean}"
