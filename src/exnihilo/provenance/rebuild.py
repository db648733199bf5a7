"""The verb ``rebuild``: the proof that a start can be made again, bit for bit."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from exnihilo.errors import InvalidValueError, ManifestError
from exnihilo.fills import FILLS_VERSION
from exnihilo.plans.apply import apply
from exnihilo.plans.live import dtype_name
from exnihilo.plans.records import Plan
from exnihilo.plans.values import digest, distance
from exnihilo.provenance.fingerprint import fingerprint, held
from exnihilo.provenance.manifest import platform_here
from exnihilo.provenance.records import Compared, Fingerprint, Manifest, Rebuilt
from exnihilo.structure.names import unwrapped
from exnihilo.structure.randomness import undisturbed


def rebuild(manifest: Manifest, factory: Callable[[], nn.Module], weights: Mapping[str, Any] | None = None) -> Rebuilt:
    """Build a model anew, apply a manifest's plan under its seed, and compare every digest with what was recorded.

    What the plan assigns follows from the plan, the seed and the names. What it keeps, and buffers, are the factory's:
    it runs from fixed random states, those of ``torch.manual_seed(0)``, and those of the process are left as they were.

    Args:
        manifest: From ``manifest``, or loaded.
        factory: Makes the model, with values and before anything is written to it.
        weights: A state dict to compare with the rebuilt start too: a checkpoint of step 0, perhaps of a wrapped model.
            Default None.

    Raises:
        ManifestError: The manifest's values were drawn by another specification of draws.
        StalePlanError: The factory makes another model.
        InvalidValueError: It makes no module, or one without values.

    Example:
        >>> import exnihilo as xn
        >>> model = nn.Linear(4, 2)
        >>> plan = xn.plan(model, "he", example=torch.zeros(1, 4))
        >>> _ = xn.apply(plan, model, seed=0)
        >>> rebuilt = rebuild(xn.manifest(model, plan, seed=0), lambda: nn.Linear(4, 2), model.state_dict())
        >>> rebuilt.is_exact
        True
        >>> print(rebuilt)  # doctest: +ELLIPSIS
        he for Linear under seed 0: rebuilt bit for bit
          fingerprint  ...
          2 of 2 equal  assigned by the plan
          2 of 2 equal  in the checkpoint
    """
    _require_these_draws(manifest)
    with undisturbed():
        model = cast("object", factory())  # a user's function may return anything
    if not isinstance(model, nn.Module):
        raise InvalidValueError(
            f"The factory makes a {type(model).__name__}; it must make a torch.nn.Module.", fix="lambda: Net()"
        )
    apply(manifest.plan, model, manifest.seed)
    now = fingerprint(model)
    stored = None if weights is None else _by_name(weights, now)
    return Rebuilt(
        model=manifest.plan.model,
        recipe=manifest.plan.recipe,
        seed=manifest.seed,
        plan=manifest.plan.id,
        recorded=manifest.fingerprint.hex,
        rebuilt=now.hex,
        tensors=_compared(manifest, now, {} if stored is None else _against(now, model, stored)),
        surplus=() if stored is None else tuple(sorted(stored.keys() - now.by_name.keys())),
        recorded_on=f"torch {manifest.torch}, {manifest.platform}",
        rebuilt_on=f"torch {torch.__version__}, {platform_here()}",
    )


def _require_these_draws(manifest: Manifest) -> None:
    if manifest.fills_version != FILLS_VERSION:
        raise ManifestError(
            f"The manifest's values were drawn by specification {manifest.fills_version} of draws, and this version "
            f"has {FILLS_VERSION}: it draws other values.",
            context=["nothing was built"],
            fix=f"pip install exnihilo=={manifest.exnihilo}",
        )


def _compared(
    manifest: Manifest, now: Fingerprint, stored: Mapping[tuple[str, ...], tuple[str, float | None]]
) -> tuple[Compared, ...]:
    recorded = manifest.fingerprint
    differing = set(recorded.differing(now))
    before, after = ({entry.names: entry for entry in held.tensors} for held in (recorded, now))
    compared: list[Compared] = []
    for names in sorted(before.keys() | after.keys()):
        origin, scheme = _origin(names, manifest.plan)
        words, off = stored.get(names, (None, None))
        compared.append(
            Compared(
                names=names,
                origin=origin,
                scheme=scheme,
                is_equal=differing.isdisjoint(names),
                recorded=before[names].digest if names in before else None,
                rebuilt=after[names].digest if names in after else None,
                stored=words,
                distance=off,
            )
        )
    return tuple(compared)


def _origin(names: tuple[str, ...], plan: Plan) -> tuple[Literal["assigned", "kept", "buffer"], str | None]:
    """Where a tensor's values come from, told by the row of the name that owns it."""
    rows = [plan.by_name[name] for name in names if name in plan.by_name]
    schemes = [row.scheme for row in rows if row.action == "assign"]
    if schemes:
        return "assigned", schemes[0]
    return ("kept" if rows else "buffer"), None


def _by_name(weights: Mapping[str, Any], now: Fingerprint) -> dict[str, Tensor]:
    """A state dict's tensors by canonical name: without what wrappers added to its keys."""
    named = {unwrapped(key): value for key, value in weights.items() if isinstance(value, Tensor)}
    if named.keys() & now.by_name.keys():
        return named
    return {name.removeprefix("module."): value for name, value in named.items()}  # of DistributedDataParallel


def _against(
    now: Fingerprint, model: nn.Module, stored: Mapping[str, Tensor]
) -> dict[tuple[str, ...], tuple[str, float | None]]:
    """How a checkpoint's tensors differ from the rebuilt ones, in words and in numbers."""
    return {
        names: _next_to(own, now.by_name[names[0]].digest, [stored[name] for name in names if name in stored])
        for names, _, own in held(model)
    }


def _next_to(own: Tensor, own_digest: str, stored: Sequence[Tensor]) -> tuple[str, float | None]:
    if not stored:
        return "missing", None
    for tensor in stored:  # several where a tie was saved under each name
        if tensor.shape != own.shape:
            return f"of shape {tuple(tensor.shape)}", None
        if tensor.dtype != own.dtype or digest(tensor) != own_digest:
            off = distance(own, tensor)
            return "differs" if tensor.dtype == own.dtype else dtype_name(tensor), off if math.isfinite(off) else None
    return "equal", 0.0
