"""What becomes of the parameters that never open: a saddle that noise would free, a dead region, an invariance.

The screening runs in float32; where something stays closed, float64 decides (``learning_of``).
"""

import math
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn

from exnihilo.errors import ExnihiloError
from exnihilo.probes.batches import num_samples_of
from exnihilo.probes.effects import that_cancel, without_effect
from exnihilo.probes.explained import explained
from exnihilo.probes.finite import not_finite
from exnihilo.probes.openings import (
    CLOSED_SHARE,
    LIVE,
    RESIDUE,
    UNDECIDED,
    Chain,
    Pass,
    chain_of,
    judged_pass,
    removed_share,
    root_mean_square,
    spread,
    units_of,
)
from exnihilo.probes.other_values import fresh_values, noised
from exnihilo.probes.question import Question
from exnihilo.probes.records import FATE_CODES, FATES, Fate, Learning, Opening, Part
from exnihilo.probes.symmetry import twins_of
from exnihilo.probes.trial import Trial, cast, first_evaluation

# Elements above which a copy in float64 would not fit beside a model: rounding is then judged in float32.
_LARGEST = 4 * 10**8


def learning_of(
    model: nn.Module,
    question: Question,
    *,
    samples: int = 8,
    values: Mapping[str, Tensor] | None = None,
    trial: Trial | None = None,
) -> Learning:
    """When each trainable parameter opens, and what becomes of those that never do.

    Args:
        model: Left as it was.
        question: Its batch and loss.
        samples: How many samples of the batch to look at first; dead ends are confirmed on all of it.
        values: Of some parameters instead of their own. Default None: all start at their own.
        trial: A screening trial of the model with these values, not evaluated yet. Default None: one is made.

    Raises:
        CheckError: The model or the loss raises, or the loss is no scalar of the parameters.
    """
    make = partial(Trial, model, question, values=values)
    trial = trial if trial is not None else make(dtype=screening_dtype(model), samples=samples)
    chain = chain_of(trial)
    broken = _not_finite(trial, chain) or _whole_not_finite(make, trial)
    if broken is not None:
        return broken
    dtype, num_samples, confirmed = trial.dtype, trial.num_samples, True
    if any(_is_grave(trial, chain, name) for name in chain.closed) or _meets_more(make, trial, chain):
        chain, fates, decided, confirmed = _certified(make, trial, chain)
        dtype = decided.dtype
        num_samples = num_samples_of(question.batch) if confirmed else decided.num_samples
    else:
        fates = {name: _plain_fates(trial, chain, name) for name in chain.opened}
    fates = that_cancel(trial, chain, without_effect(trial, fates))
    widths = twins_of(make, trial, chain)
    start = trial.start()
    return Learning(
        openings=tuple(_opening(trial, name, chain, fates[name], start[name]) for name in trial.parameters),
        widths=widths,
        loss=chain.passes[0].loss,
        num_samples=num_samples,
        num_steps=len(chain.passes),
        certified=str(dtype).removeprefix("torch."),
        confirmed=confirmed,
    )


def _not_finite(trial: Trial, chain: Chain) -> Learning | None:
    """Where a number is not finite at the start: then nothing can be said of the rest."""
    first = chain.passes[0]
    if math.isfinite(first.loss) and all(bool(torch.isfinite(g).all()) for g in first.gradients.values()):
        return None
    trial.set(trial.start())
    found = not_finite(trial, torch.tensor(first.loss), dict(first.gradients))
    return Learning(
        openings=(),
        loss=first.loss,
        num_samples=trial.num_samples,
        num_steps=1,
        certified=str(trial.dtype).removeprefix("torch."),
        not_finite=found,
    )


def _whole_not_finite(make: Callable[..., Trial], trial: Trial) -> Learning | None:
    """The same of the whole batch, of which the samples that were looked at may be the good ones.

    Raises:
        CheckError: The model or the loss raises on the whole batch.
    """
    if trial.is_whole:
        return None
    try:
        loss = trial.loss_of_whole()
    except Exception as error:  # the user's own code
        if isinstance(error, torch.OutOfMemoryError):
            return None
        if isinstance(error, ExnihiloError):
            raise
        raise explained(error, trial.model, trial.twin, trial.question.batch) from error
    if math.isfinite(loss):
        return None
    whole = make(dtype=trial.dtype, samples=None)
    whole.evaluate()
    return Learning(
        openings=(),
        loss=loss,
        num_samples=whole.num_samples,
        num_steps=1,
        certified=str(trial.dtype).removeprefix("torch."),
        not_finite=not_finite(whole, torch.tensor(loss), {}),
    )


def _plain_fates(trial: Trial, chain: Chain, name: str) -> Tensor:
    """What becomes of each unit of a parameter that is no dead end as a whole, by what the steps showed.

    A parameter that no gradient leads to is not used, or detached; rows that nobody looked up are not used. A closed
    unit with nothing but rounding for a gradient is removed by what follows: a dead region or a saddle gives exact
    zeros, and what cancels in a sum leaves its rounding.
    """
    steps = chain.opened[name]
    opened, dead, removed = (torch.full_like(steps, FATE_CODES[fate]) for fate in ("opens", "dead", "invariant"))
    away = _away(trial, chain, name)
    if away is not None:
        return torch.where(steps > 0, opened, FATE_CODES[away])
    rounding = torch.stack([(v == RESIDUE) | (v == UNDECIDED) for v in (m.verdicts[name] for m in chain.passes)]).any(0)
    least = removed_share(trial.promoting.uses.get(name))
    mostly = float(rounding[steps == 0].float().mean()) >= least if bool((steps == 0).any()) else False
    return torch.where(steps > 0, opened, torch.where(rounding | mostly, removed, dead))


def _away(trial: Trial, chain: Chain, name: str) -> Fate | None:
    """Why no gradient leads to a parameter or to some of its rows; None where one does, or should."""
    if name not in trial.promoting.used:
        return "unused"  # what no sample chooses may be reached none the less, with no rows to learn from
    if not any(name in made.reached for made in chain.passes):
        return "detached"
    is_table = trial.promoting.uses.get(name) == "table"
    return "unused" if is_table and bool((chain.opened[name] > 0).any()) else None


def _is_grave(trial: Trial, chain: Chain, name: str) -> bool:
    """Whether a parameter may be a dead end: no unit opens, or a good part of a map does not that holds one value.

    Single units that are off behind an activation are many, and no dead end; neither is a shift that is removed.
    """
    closed = chain.opened[name] == 0
    if _away(trial, chain, name) is not None:
        return False
    if trial.promoting.uses.get(name) == "shift" and bool(
        (_plain_fates(trial, chain, name) != FATE_CODES["dead"]).all()
    ):
        return False
    if bool(closed.all()):
        return True
    value = trial.start()[name]
    if value.dim() < 2 or float(closed.float().mean()) < CLOSED_SHARE:
        return False
    held = value[spread(closed, value, units_of(trial, name))]
    return bool((held == held[0]).all())


def _meets_more(make: Callable[..., Trial], trial: Trial, chain: Chain) -> bool:
    """Whether other samples of the batch lead to a parameter that those looked at do not lead to."""
    away = {name for name in chain.closed if not bool(chain.opened[name].any()) and _away(trial, chain, name)}
    if not away or trial.is_whole:
        return False
    try:
        whole = make(dtype=trial.dtype, samples=None)
        return not away.isdisjoint(judged_pass(whole).reached.intersection(whole.promoting.used))
    except RuntimeError:  # it does not fit into memory
        return False


def screening_dtype(model: nn.Module) -> torch.dtype:
    """The dtype of a first look: float32, which is fast, or the model's own float64."""
    wide = any(p.dtype == torch.float64 for p in model.parameters())
    return torch.float64 if wide else torch.float32


def _finest_dtype(model: nn.Module) -> torch.dtype:
    too_large = sum(p.numel() for p in model.parameters()) > _LARGEST
    return torch.float32 if too_large else torch.float64


def _certified(
    make: Callable[..., Trial], screened: Trial, chain: Chain
) -> tuple[Chain, dict[str, Tensor], Trial, bool]:
    """The chain, mended where float32 or few samples saw too little; every unit's fate; where it was decided."""
    trial = make(dtype=_finest_dtype(screened.model), samples=screened.num_samples)
    trial.promoting.unit_dims.update(screened.promoting.unit_dims)  # both must count the same units
    try:
        first_evaluation(trial)
    except Exception:  # a kernel refuses float64: the noise floor of float32 must do
        trial = screened
    trial.set(chain.values)
    there = judged_pass(trial)
    if _opens_after_all(chain, there):
        trial.set(trial.start())
        chain = chain_of(trial)
        there = chain.passes[-1]
    trial, chain, there, confirmed = _confirmed(make, trial, chain, there)
    return chain, _fates(trial, chain, there), trial, confirmed


def _opens_after_all(chain: Chain, there: Pass) -> bool:
    return any(bool(((chain.opened[name] == 0) & (v == LIVE)).any()) for name, v in there.verdicts.items())


def _confirmed(make: Callable[..., Trial], trial: Trial, chain: Chain, there: Pass) -> tuple[Trial, Chain, Pass, bool]:
    """The same of the whole batch, where that opens what some samples of it did not; and whether it could be asked."""
    if trial.is_whole:
        return trial, chain, there, True
    try:
        whole = make(dtype=trial.dtype, samples=None)
        whole.promoting.unit_dims.update(trial.promoting.unit_dims)
        whole.set(chain.values)
        if not _opens_after_all(chain, judged_pass(whole)):
            return trial, chain, there, True
        whole.set(whole.start())
        longer = chain_of(whole)
        return whole, longer, longer.passes[-1], True
    except RuntimeError:  # it does not fit into memory
        return trial, chain, there, False


def _fates(trial: Trial, chain: Chain, there: Pass) -> dict[str, Tensor]:
    closed = chain.closed
    start = trial.start()
    # A saddle stays one after the steps. What noise frees before them alone lies at a kink, and its fate is not told.
    noisy_start, noisy = (
        _pass_at(trial, {name: noised(name, cast(trial.dtype, value)) for name, value in values.items()})
        for values in (start, chain.values)
    )
    used = frozenset(trial.promoting.used)
    fresh: list[Pass] = []
    if any(bool(((chain.opened[n] == 0) & (noisy.verdicts[n] != LIVE)).any()) for n in closed):
        for draw in range(2):
            made = _pass_at(trial, fresh_values(trial, start, draw))
            fresh += [made] if math.isfinite(made.loss) else []
    trial.set(start)
    reached = frozenset[str]().union(*(made.reached for made in (*chain.passes, there, noisy_start, noisy)))
    fates: dict[str, Tensor] = {}
    for name, steps in chain.opened.items():
        if name not in reached or name not in used or _away(trial, chain, name) == "unused":
            away: Fate = "detached" if name not in reached and name in used else "unused"
            fates[name] = torch.where(steps > 0, torch.full_like(steps, FATE_CODES["opens"]), FATE_CODES[away])
            continue
        fate = torch.full_like(steps, FATE_CODES["invariant"])
        hidden = torch.stack([made.verdicts[name] == UNDECIDED for made in (there, noisy, *fresh)])
        fate[hidden.all(0)] = FATE_CODES["undecided"]  # else some pass showed that what is left is rounding
        for made in fresh:
            fate[made.verdicts[name] == LIVE] = FATE_CODES["dead"]
        fate[noisy_start.verdicts[name] == LIVE] = FATE_CODES["undecided"]
        fate[noisy.verdicts[name] == LIVE] = FATE_CODES["stuck"]
        fate[steps > 0] = FATE_CODES["opens"]
        fates[name] = fate
    return fates


def _pass_at(trial: Trial, values: dict[str, Tensor]) -> Pass:
    trial.set(values)
    return judged_pass(trial)


def _opening(trial: Trial, name: str, chain: Chain, fates: Tensor, values: Tensor) -> Opening:
    steps = chain.opened[name]
    parts = _parts(fates, steps)
    opened = [part.step for part in parts if part.step is not None]
    first = values.flatten()[0]
    return Opening(
        parameter=name,
        shape=tuple(values.shape),
        unit_dims=units_of(trial, name),
        fate="opens" if opened else parts[0].fate,
        step=min(opened) if opened else None,
        gradient=chain.scales.get(name, 0.0),
        size=float(root_mean_square(values)),
        parts=parts,
        use=trial.promoting.uses.get(name, "other"),
        order=trial.promoting.used.get(name, -1),
        all_equal=float(first.real) if bool((values == first).all()) else None,
    )


def _parts(fates: Tensor, steps: Tensor) -> tuple[Part, ...]:
    if not bool(fates.any()) and bool((steps == 1).all()):  # nearly all parameters of nearly all models
        return (Part(fate="opens", step=1, ranges=((0, len(fates)),), num_units=len(fates)),)
    kinds = fates.to(torch.int64) * 100 + torch.where(fates == 0, steps.to(torch.int64), 0)
    found: list[Part] = []
    for kind in kinds.unique().tolist():
        is_kind = kinds == kind
        found.append(
            Part(
                fate=FATES[kind // 100],
                step=kind % 100 or None,
                ranges=_ranges(is_kind),
                num_units=int(is_kind.sum()),
            )
        )
    return tuple(sorted(found, key=lambda part: -part.num_units))


def _ranges(of_units: Tensor) -> tuple[tuple[int, int], ...]:
    """Half-open ranges of the units that are marked."""
    marked = torch.nn.functional.pad(of_units.to(torch.int8), (1, 1))
    turns = marked.diff().nonzero().flatten().tolist()
    return tuple(zip(turns[::2], turns[1::2], strict=True))
