"""What a parameter does to the loss, where its gradient does not tell: asked by giving it other values."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from exnihilo.probes.openings import UNDECIDED, Chain, size_of, spread, units_of
from exnihilo.probes.other_values import fresh, fresh_values, random
from exnihilo.probes.records import FATE_CODES
from exnihilo.probes.trial import Trial

# A loss that other values of a shift change by less than this is changed by rounding alone.
_UNCHANGED = 1e-3
# Each parameter that no gradient reaches costs a pass; of more than these all are taken for cut off.
_MAX_CUT = 64
# So many passes may go into finding the shifts that matter among those that seem removed.
_MAX_ASKED = 12


def without_effect(trial: Trial, fates: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fates, where what no gradient reaches is told apart from what the loss does not depend on.

    A bias that vanishes when the model's output is differentiated, as in losses of an energy's gradient, is read by the
    model and cut off from the loss; other values leave the loss as it is, bit for bit.
    """
    cut = [name for name, fate in fates.items() if bool((fate == FATE_CODES["detached"]).all())]
    if not cut or len(cut) > _MAX_CUT:
        return fates
    values, start = trial.values(), trial.start()
    try:
        base = fresh_values(trial, start, 0)  # a zero elsewhere must not hide it
        trial.set(base)
        loss = trial.evaluate().loss.detach()
        for name in cut:
            trial.set({name: fresh(name, start[name], units_of(trial, name), 1)})
            if bool(trial.evaluate().loss.detach() == loss):
                fates = {**fates, name: torch.full_like(fates[name], FATE_CODES["invariant"])}
            trial.set({name: base[name]})
    finally:
        trial.set(values)
    return fates


def that_cancel(trial: Trial, chain: Chain, fates: dict[str, Tensor]) -> dict[str, Tensor]:
    """The fates, where a shift whose gradients only cancel is told apart from one that is removed.

    On classes of equal number the gradient of a head's bias cancels as long as the head gives out nothing: what is left
    is rounding, as of a bias in front of a norm. Other values of the former change the loss.
    """
    invariant = FATE_CODES["invariant"]
    uses = trial.promoting.uses
    shifts = [n for n, fate in fates.items() if uses.get(n) == "shift" and bool((fate == invariant).all())]
    waiting = [[n for n in shifts if any(bool((made.verdicts[n] >= UNDECIDED).any()) for made in chain.passes)]]
    mattering: list[str] = []
    for _ in range(_MAX_ASKED):  # halved again and again: what is removed is nearly all, and told at once
        names = waiting.pop() if waiting else []
        if not names:
            break
        if _change_the_loss(trial, chain, fates, names):
            half = len(names) // 2
            waiting += [part for part in (names[:half], names[half:]) if part] if half else []
            mattering += names if not half else []
    undecided = {n: torch.full_like(fates[n], FATE_CODES["undecided"]) for n in mattering}
    return {**fates, **undecided}


def _change_the_loss(trial: Trial, chain: Chain, fates: Mapping[str, Tensor], names: Sequence[str]) -> bool:
    """Whether other values of some shifts' invariant units change the loss by more than rounding."""
    values, start = trial.values(), trial.start()
    changed: dict[str, Tensor] = {}
    for name in names:
        value = start[name]
        is_invariant = spread(fates[name] == FATE_CODES["invariant"], value, units_of(trial, name))
        changed[name] = torch.where(is_invariant, value + max(size_of(value), 1.0) * random(name, value, 3), value)
    trial.set({**start, **changed})
    try:
        loss = float(trial.evaluate().loss.detach())
    finally:
        trial.set(values)
    first = chain.passes[0].loss
    return not abs(loss - first) <= _UNCHANGED * max(abs(first), 1.0)
