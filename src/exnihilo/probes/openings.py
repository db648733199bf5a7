"""When each parameter first gets a gradient, and what becomes of those that never do.

A gradient counts as zero where it is exactly zero, or where it is a rounding residue. The two are told apart by a
second backward pass of the loss times √3, which differs from the first in rounding alone: a live gradient changes by
about the dtype's precision, a residue by its own size.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.probes.records import Use
from exnihilo.probes.trial import Evaluation, Trial, first_evaluation, first_gradients

# No published gate is further than three zeros from the loss (adaLN-Zero); a chain may be longer by as much again.
MAX_STEPS = 6
# Of a parameter's root mean square: far above rounding, far below what would change what a model does. A parameter that
# is all zero takes a step of this size itself.
_STEP = 0.02
_SQRT3 = math.sqrt(3.0)
# A live gradient agrees with its second evaluation this well, and a residue differs by more than a tenth of itself.
_AGREES = {torch.float64: 1e-6, torch.float32: 1e-4}
_DIFFERS = 0.1
# Closed units below this share of a parameter are no dead end by themselves.
CLOSED_SHARE = 0.125
# What cancels leaves its rounding nearly everywhere, and zero here and there by chance: of a parameter's closed units
# this share. Of a shift's fewer will do, since nothing but what follows removes it.
_REMOVED, _REMOVED_SHIFT = 0.9, 0.5
# Of many residues this share may agree by chance.
_CHANCE = 0.05
# A gradient that is this much smaller than the largest one may be a residue, and is evaluated again.
_SUSPECT = {torch.float64: 1e-8, torch.float32: 1e-5}

# Exactly zero, live, hidden by rounding, or nothing but rounding.
ZERO, LIVE, UNDECIDED, RESIDUE = 0, 1, 2, 3


@dataclass(frozen=True, kw_only=True)
class Pass:
    """The gradients at one place, judged.

    Args:
        gradients: Of each trainable parameter that has one.
        verdicts: Of each unit of each trainable parameter: ``ZERO``, ``LIVE``, ``UNDECIDED`` or ``RESIDUE``.
        reached: Parameters that autograd leads to.
        loss: There.
    """

    gradients: dict[str, Tensor]
    verdicts: dict[str, Tensor]
    reached: frozenset[str]
    loss: float

    def scale(self, name: str) -> float:
        """Root mean square of a parameter's gradient."""
        return float(root_mean_square(self.gradients[name])) if name in self.gradients else 0.0


def judged_pass(trial: Trial, *, first: bool = False, opened: Mapping[str, Tensor] | None = None) -> Pass:
    """One evaluation and its gradients, each unit's gradient judged.

    Args:
        trial: Where it is made.
        first: It is the trial's first one, whose failures are explained.
        opened: Units that are known to be live, other than 0: small gradients of theirs are not doubted. Default None:
            all are.
    """
    evaluation = first_evaluation(trial) if first else trial.evaluate()
    found = first_gradients(trial, evaluation) if first else trial.gradients(evaluation.loss, keep_graph=True)
    gradients = {name: gradient for name, gradient in found.items() if gradient is not None}
    units = {name: unit_norms(gradient, units_of(trial, name)) for name, gradient in gradients.items()}
    largest = max((float(norms.max()) for norms in units.values()), default=0.0)
    limit = _SUSPECT[trial.dtype] * largest
    doubted = {name: (norms > 0) & (norms < limit) for name, norms in units.items()}
    if opened is not None:
        doubted = {name: doubts & (opened[name] == 0) for name, doubts in doubted.items()}
    suspects = [name for name, doubts in doubted.items() if bool(doubts.any())]
    verdicts = {name: (norms > 0).to(torch.int8) for name, norms in units.items()}
    if suspects:
        again = trial.gradients(evaluation.loss * _SQRT3)
        for name in suspects:
            second = again[name]
            if second is None:
                continue
            apart = unit_norms(second / _SQRT3 - gradients[name], units_of(trial, name))
            share = apart / units[name].clamp_min(torch.finfo(trial.dtype).tiny)
            judged = torch.where(share < _AGREES[trial.dtype], LIVE, torch.where(share > _DIFFERS, RESIDUE, UNDECIDED))
            judged = _without_chance(judged, doubted[name])
            verdicts[name] = torch.where(doubted[name], judged.to(torch.int8), verdicts[name])
    for name, parameter in trial.parameters.items():
        if name not in verdicts:
            shape = [parameter.shape[dim] for dim in units_of(trial, name)]
            verdicts[name] = torch.zeros(math.prod(shape), dtype=torch.int8, device=parameter.device)
    return Pass(
        gradients=gradients, verdicts=verdicts, reached=frozenset(gradients), loss=float(evaluation.loss.detach())
    )


def hasty_pass(trial: Trial, evaluation: Evaluation) -> Pass:
    """The gradients of an evaluation, whatever is not exactly zero taken for live: to move on, and to judge nothing."""
    found = trial.gradients(evaluation.loss)
    gradients = {name: gradient for name, gradient in found.items() if gradient is not None}
    verdicts = {name: (unit_norms(g, units_of(trial, name)) > 0).to(torch.int8) for name, g in gradients.items()}
    return Pass(
        gradients=gradients, verdicts=verdicts, reached=frozenset(gradients), loss=float(evaluation.loss.detach())
    )


def _without_chance(judged: Tensor, is_suspect: Tensor) -> Tensor:
    """The verdicts of a parameter's units, without those few residues that agree by chance while all others differ."""
    live, residue = ((judged == kind) & is_suspect for kind in (LIVE, RESIDUE))
    by_chance = int(live.sum()) <= _CHANCE * int(residue.sum())
    return torch.where(live, RESIDUE, judged) if by_chance else judged


def units_of(trial: Trial, name: str) -> tuple[int, ...]:
    """The dims of a parameter that tell its units apart: as it was used, else the first."""
    parameter = trial.parameters[name]
    return trial.promoting.unit_dims.get(name, (0,) if parameter.dim() else ())


def unit_norms(gradient: Tensor, unit_dims: tuple[int, ...]) -> Tensor:
    """The largest magnitude in each unit's part, in one dim: a sum of squares would be zero below their underflow."""
    rest = [dim for dim in range(gradient.dim()) if dim not in unit_dims]
    norms = torch.linalg.vector_norm(gradient, ord=math.inf, dim=rest) if rest else gradient.abs()
    return norms.reshape(-1)


def root_mean_square(values: Tensor) -> Tensor:
    """In units of the largest magnitude, so that small values do not underflow."""
    sizes = values.abs()
    largest = sizes.amax()
    return largest * (sizes / largest).square().mean().sqrt() if bool(largest > 0) else largest


@dataclass(frozen=True, kw_only=True)
class Chain:
    """What some normalized steps showed.

    Args:
        opened: Of each unit of each trainable parameter the step at which its gradient was live first, else 0.
        scales: Root mean square of each parameter's gradient when it opened.
        values: The parameters after the last step.
        passes: At each step.
    """

    opened: dict[str, Tensor]
    scales: dict[str, float]
    values: dict[str, Tensor]
    passes: tuple[Pass, ...]

    @property
    def closed(self) -> frozenset[str]:
        """Parameters with some unit that never opened."""
        return frozenset(name for name, steps in self.opened.items() if bool((steps == 0).any()))


def chain_of(trial: Trial, *, steps: int = MAX_STEPS) -> Chain:
    """Judged passes with normalized steps between them, until nothing more than stray units is left or opens.

    Each step moves every live unit along its gradient, by a share of its parameter's size; what is not live stays,
    so that rounding residues open nothing. The trial is left where the last step led.
    """
    opened: dict[str, Tensor] = {}
    scales: dict[str, float] = {}
    passes: list[Pass] = []
    for step in range(1, steps + 1):
        made = judged_pass(trial, first=step == 1, opened=opened or None)
        passes.append(made)
        if not math.isfinite(made.loss):
            break
        fresh = False
        for name, verdicts in made.verdicts.items():
            before = opened.setdefault(name, torch.zeros_like(verdicts))
            new = (before == 0) & (verdicts == LIVE)
            if bool(new.any()):
                fresh = fresh or not _are_stray(new, before == 0)
                scales.setdefault(name, made.scale(name))
                opened[name] = torch.where(new, step, before)
        is_done = not any(_may_open(trial, name, found, made) for name, found in opened.items())
        if is_done or (step > 1 and not fresh) or step == steps:
            break
        take_step(trial, made)
    return Chain(opened=opened, scales=scales, values=trial.values(), passes=tuple(passes))


def _may_open(trial: Trial, name: str, opened: Tensor, made: Pass) -> bool:
    """Whether further steps may tell more of a parameter than that stray units are off.

    Rows of a table that no sample chose stay closed; a shift with nothing but rounding for a gradient is removed by
    what follows, as far as ``fates`` does not find that it matters.
    """
    closed = opened == 0
    if trial.promoting.uses.get(name) == "table" and not bool(closed.all()):
        return False
    return float(closed.float().mean()) >= CLOSED_SHARE and not _is_rounding(trial, name, opened, made)


def _is_rounding(trial: Trial, name: str, opened: Tensor, made: Pass) -> bool:
    """Whether a shift's closed units have rounding for a gradient."""
    closed = opened == 0
    if trial.promoting.uses.get(name) != "shift" or not bool(closed.any()):
        return False
    return float((made.verdicts[name] == RESIDUE)[closed].float().mean()) >= removed_share("shift")


def removed_share(use: Use | None) -> float:
    """Which share of a parameter's closed units must be rounding, so that all of them count as removed."""
    return _REMOVED_SHIFT if use == "shift" else _REMOVED


def _are_stray(new: Tensor, closed: Tensor) -> bool:
    """Whether so few units opened, and so few of the closed ones, that a step switched them on by chance."""
    number = int(new.sum())
    return 2 * number < int(closed.sum()) or number < CLOSED_SHARE * new.numel()


def take_step(trial: Trial, made: Pass, *, floor: float = 0.0) -> None:
    """Move each live unit along its gradient, normalized over its parameter.

    Args:
        trial: Where the pass was made.
        made: Its gradients.
        floor: A parameter smaller than this moves as one of this size would: what an optimizer does that divides by the
            gradient's own size, such as Adam.
    """
    moved: dict[str, Tensor] = {}
    for name, gradient in made.gradients.items():
        parameter = trial.parameters[name]
        live = spread(made.verdicts[name] == LIVE, gradient, units_of(trial, name))
        direction = torch.where(live, gradient, torch.zeros_like(gradient))
        size = root_mean_square(direction)
        if bool(size > 0) and bool(torch.isfinite(size)):
            moved[name] = parameter.detach() - direction / size * (_STEP * max(size_of(parameter), floor))
    trial.set(moved)


def size_of(parameter: Tensor) -> float:
    """Root mean square of a parameter; 1 where it is all zero."""
    return float(root_mean_square(parameter.detach())) or 1.0


def spread(of_units: Tensor, like: Tensor, unit_dims: tuple[int, ...]) -> Tensor:
    """What is said of each unit, for each element of a parameter."""
    shape = [size if dim in unit_dims else 1 for dim, size in enumerate(like.shape)]
    return of_units.reshape(shape).expand_as(like)
