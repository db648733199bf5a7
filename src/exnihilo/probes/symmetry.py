"""Which units training can never tell apart.

Two units stay equal for ever where they give equal activations and receive equal back-signals on every sample, and
still do after some steps. Back-signals come from random weights on the model's outputs, so that no target and no loss
has a part in it: two classes that the batch lacks look alike to its loss, and are not twins. Activations are kept as
random projections over samples and places; a unit's weight gradient is a projection of its back-signal on what it was
given.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

from exnihilo.probes.openings import Chain, judged_pass, take_step, unit_norms, units_of
from exnihilo.probes.promotion import MATRICES, Promoting, aten
from exnihilo.probes.records import Width
from exnihilo.probes.trial import Trial

_NUM_PROJECTIONS = 4
# Equal units differ by rounding, which some steps in float64 raise to about 1e-12, a step in float32 to some 1e-7;
# others differ by what they are.
_EQUAL = 1e-8
_NEARLY = 1e-5
# Of ReLU units that are twins, a few samples switch some off, and what is off is nobody's twin.
_SAMPLES = 64
# A unit whose gradient is this small beside its map's largest is dead, and nobody's twin.
_LIVE = 1e-12
# Steps that tell transient twins apart: a zero head needs one, a unit behind two gates three.
_STEPS = 3
# Rows of a table are what a batch chooses, and shifts and scales have one number a unit, whatever their shape.
_NO_MAPS = frozenset({"table", "shift", "scale"})
_STACKED = frozenset({aten.bmm.default, aten.baddbmm.default})


def twins_of(make: Callable[..., Trial], screened: Trial, chain: Chain) -> tuple[Width, ...]:
    """Of each map with units that are equal to each other, how many training can tell apart.

    Args:
        make: Makes trials of the model.
        screened: The trial that the chain was made on; it is moved by a step.
        chain: What some normalized steps showed.
    """
    start = screened.start()
    maps = [n for n, v in start.items() if v.dim() > 1 and screened.promoting.uses.get(n) not in _NO_MAPS]
    equal = {name: equal_rows(start[name], units_of(screened, name)) for name in maps}
    suspects = {name: classes for name, classes in equal.items() if classes}
    if not suspects:
        return ()
    screened.set(chain.values)
    take_step(screened, chain.passes[-1])
    moved = {name: screened.parameters[name].detach() for name in suspects}
    left = {name for name, value in moved.items() if _live_classes(screened, name, value, chain)}
    certain = _permanent(make, screened, chain) if left else {}
    dropped = _told_apart_by_dropout(make, screened, chain, certain) if certain else frozenset[str]()
    return tuple(
        _width(name, start[name], units_of(screened, name), suspects.get(name, []), certain.get(name, []), dropped)
        for name in start
        if name in suspects or name in certain
    )


def equal_rows(value: Tensor, unit_dims: tuple[int, ...], *, within: float = _EQUAL) -> list[tuple[int, ...]]:
    """Classes of more than one unit with equal values, the largest first.

    Example:
        >>> equal_rows(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 2.0]]), (0,))
        [(0, 2)]
    """
    rows = _rows(value.detach(), unit_dims).double()
    return classes_of(rows @ _directions(rows.shape[1], rows.device), within=within)


def classes_of(signatures: Tensor, *, within: float = _EQUAL) -> list[tuple[int, ...]]:
    """Classes of more than one row that agree in every column to within rounding, the largest first."""
    scale = signatures.abs().amax(0).clamp_min(torch.finfo(signatures.dtype).tiny)
    scaled = signatures / scale
    # Sorted by a mixture of all columns: rows that agree in one of them would else come in each other's midst.
    order = (scaled @ _directions(scaled.shape[1], scaled.device, 1).to(scaled.dtype)).flatten().argsort(stable=True)
    ordered = scaled[order]
    apart = ((ordered[1:] - ordered[:-1]).abs() > within).any(1)
    labels = torch.zeros(len(order), dtype=torch.int64, device=order.device)
    labels[1:] = apart.cumsum(0)
    if int(labels[-1]) + 1 == len(order):
        return []
    counts = labels.bincount()
    grouped = (order[labels == label] for label in (counts > 1).nonzero().flatten().tolist())
    return sorted((tuple(sorted(group.tolist())) for group in grouped), key=lambda group: (-len(group), group[0]))


def _rows(value: Tensor, unit_dims: tuple[int, ...]) -> Tensor:
    """The values of each unit in a row; a complex number is two."""
    if value.is_complex():
        value = torch.view_as_real(value)
    rest = [dim for dim in range(value.dim()) if dim not in unit_dims]
    units = 1
    for dim in unit_dims:
        units *= value.shape[dim]
    return value.permute(*unit_dims, *rest).reshape(units, -1)


def _directions(size: int, device: torch.device, count: int = _NUM_PROJECTIONS) -> Tensor:
    """Fixed random directions, the same for every tensor of this size."""
    generator = torch.Generator().manual_seed(size)
    return torch.randn(size, count, dtype=torch.float64, generator=generator).to(device)


def _live_classes(trial: Trial, name: str, value: Tensor, chain: Chain) -> bool:
    """Whether units that are still equal do move: those that never open are dead ends, not twins."""
    opened = chain.opened[name] > 0
    return any(bool(opened[list(group)].any()) for group in equal_rows(value, units_of(trial, name), within=_NEARLY))


def _permanent(make: Callable[..., Trial], screened: Trial, chain: Chain) -> dict[str, list[tuple[int, ...]]]:
    """Classes of units that are equal after the steps, in activations and back-signals."""
    trial = _trial(make, screened, dropout=False)
    trial.set(chain.values)
    for _ in range(_STEPS):
        take_step(trial, judged_pass(trial))
    return _tied(trial)


def _trial(make: Callable[..., Trial], screened: Trial, *, dropout: bool) -> Trial:
    trial = make(dtype=torch.float64, samples=max(screened.num_samples, _SAMPLES), dropout=dropout)
    trial.promoting.unit_dims.update(screened.promoting.unit_dims)
    return trial


def _tied(trial: Trial) -> dict[str, list[tuple[int, ...]]]:
    """Classes of more than one live unit with equal activations and equal weight gradients."""
    watching = Watching(trial)
    with watching:
        evaluation = trial.evaluate()
    # A model that is not called as a whole has no outputs to weight: its loss must do.
    scalar = _weighted(evaluation.outputs) if evaluation.outputs else evaluation.loss
    gradients = trial.gradients(scalar)
    found: dict[str, list[tuple[int, ...]]] = {}
    for name, gradient in gradients.items():
        if gradient is None or gradient.dim() < 2 or trial.promoting.uses.get(name) in _NO_MAPS:
            continue
        unit_dims = units_of(trial, name)
        norms = unit_norms(gradient, unit_dims)
        live = norms > _LIVE * norms.max()
        rows = _rows(gradient, unit_dims)
        signatures = [rows @ _directions(rows.shape[1], rows.device)]
        seen = watching.signals.get(name)
        values = _rows(trial.parameters[name].detach(), unit_dims)
        signatures += seen if seen else [values @ _directions(values.shape[1], values.device)]
        places = live.nonzero().flatten()
        classes = classes_of(torch.cat(signatures, 1)[places]) if len(places) > 1 else []
        if classes:
            found[name] = [tuple(places[list(group)].tolist()) for group in classes]
    return found


def _weighted(outputs: Iterable[Tensor]) -> Tensor:
    """The outputs' sum with fixed random weights."""
    parts = [
        (output.double() * _directions(output.numel(), output.device, 1).reshape(output.shape)).sum()
        for output in outputs
    ]
    return torch.stack(parts).sum()


class Watching(Promoting):
    """Keeps random projections of what each map gives out, by the name of its weight."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial.dtype, trial.parameters)
        self.unit_dims.update(trial.promoting.unit_dims)
        self.signals: dict[str, list[Tensor]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation, and look at what a map gives out."""
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if func is aten.convolution.default or func in MATRICES:
            self._keep(func, args, out)
        return out

    def _keep(self, func: Any, args: tuple[Any, ...], out: Tensor) -> None:
        places = ((1, 1),) if func is aten.convolution.default else MATRICES[func]
        for place, dim in places:
            name = self.name_of(args[place])
            if name is None or out.dim() == 0:
                continue
            rows = _units_first(out, dim, stacked=func in _STACKED)
            if rows.shape[0] == self.num_units(name) and rows.shape[1]:
                self.signals.setdefault(name, []).append(rows @ _directions(rows.shape[1], rows.device))


def _units_first(out: Tensor, dim: int, *, stacked: bool) -> Tensor:
    """What a map gives out, one row a unit; of stacked maps the units of the first, then those of the next."""
    values = out.detach().double()
    moved = values.movedim(dim, 1).flatten(0, 1) if stacked else values.movedim(dim, 0)
    return moved.reshape(moved.shape[0], -1)


def _told_apart_by_dropout(
    make: Callable[..., Trial], screened: Trial, chain: Chain, certain: dict[str, list[tuple[int, ...]]]
) -> frozenset[str]:
    """Maps whose classes come apart where the model's own dropout acts."""
    if not screened.silencing.silenced:
        return frozenset()
    trial = _trial(make, screened, dropout=True)
    trial.set(chain.values)
    take_step(trial, judged_pass(trial))
    still = _tied(trial)
    return frozenset(name for name, classes in certain.items() if still.get(name) != classes)


def _width(
    name: str,
    start: Tensor,
    unit_dims: tuple[int, ...],
    now: list[tuple[int, ...]],
    later: list[tuple[int, ...]],
    dropped: frozenset[str],
) -> Width:
    units = _rows(start, unit_dims).shape[0]
    tied = {unit for group in later for unit in group}
    return Width(
        parameter=name,
        units=units,
        effective=units - sum(len(group) - 1 for group in later),
        classes=tuple(later),
        transient=len({unit for group in now for unit in group} - tied),
        dropout=name in dropped,
    )
