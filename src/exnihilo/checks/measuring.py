"""Runs the probes on a model, and brings together what they found."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from exnihilo.checks.catalog import findings_of
from exnihilo.checks.measured import NO_SAMPLES, Measured
from exnihilo.checks.remedies import branches_closed, remedy_of
from exnihilo.checks.roots import laws_for, roots_of
from exnihilo.checks.rules import growing_stream
from exnihilo.probes.construction import uninitialized
from exnihilo.probes.fates import learning_of, screening_dtype
from exnihilo.probes.openings import hasty_pass, take_step
from exnihilo.probes.question import Question
from exnihilo.probes.records import Learning, Signals
from exnihilo.probes.samples import samples_of
from exnihilo.probes.signals import Listener
from exnihilo.probes.statistics import spread_of
from exnihilo.probes.tables import padding_rows
from exnihilo.probes.trial import Trial
from exnihilo.probes.update import update_of

_SAMPLES = 8
# What stochastic depth leaves out half of the time is left out by all of these once in a thousand.
_SEEDS = 10
# Below it samples, or the places of each, may have collapsed: whether they still have after some steps is looked at.
_SPREAD = 1e-3
_OUTPUT_SPREAD = 1e-2
_LATER_STEPS = 5
_FLOOR = 0.5
# Of so few places, a unit may be off at all by chance.
_PLACES = 64
_DEAD = 0.3


def measure(
    model: nn.Module,
    question: Question,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    factory: Callable[[], nn.Module] | None = None,
    values: Mapping[str, Tensor] | None = None,
) -> Measured:
    """All measurements of a model; what is costly is made only where something is amiss.

    Args:
        model: Left as it was.
        question: Its batch and loss.
        optimizer: Whose step is judged. Default None: none is.
        factory: Makes the model anew. Default None: uninitialized memory is not looked for.
        values: Of some parameters, in the place of the model's own: what a remedy would write.

    Raises:
        CheckError: The model or the loss raises, or the loss is no scalar of the parameters.
    """
    make = partial(Trial, model, question, dtype=screening_dtype(model), samples=_SAMPLES, values=values)
    trial = make()
    listener = Listener(trial)
    learning = learning_of(model, question, samples=_SAMPLES, values=values, trial=trial)
    heard = listener.signals() if learning.not_finite is None else None
    signals = _on_enough(make, heard) if heard is not None else None
    measured = Measured(
        learning=learning,
        roots=roots_of(make, learning),
        signals=signals,
        later=_later(make, trial, signals) if signals is not None else None,
        by_chance=_read_by_chance(trial, learning),
        samples=samples_of(trial, listener.example, listener.output) if signals is not None else NO_SAMPLES,
        padding=padding_rows(model),
        update=update_of(model, question, optimizer) if optimizer is not None and signals is not None else None,
        uninitialized=uninitialized(factory) if factory is not None else (),
        constructed=factory is not None,
    )
    graver = {finding.code for finding in findings_of(measured) if finding.severity != "INFO"}
    if not graver:
        return measured
    laws = laws_for(trial)
    return replace(
        measured,
        redraws={name: remedy_of(model, {name: law}) for name, law in laws.items()},
        closed_branches=branches_closed(trial) if growing_stream.CODE in graver else None,
    )


def _read_by_chance(trial: Trial, learning: Learning) -> frozenset[str]:
    """Parameters that are not used, and are under other random numbers."""
    left = {opening.parameter for opening in learning.openings if opening.fate == "unused"}
    found = set[str]()
    for seed in range(1, 1 + _SEEDS if left else 1):
        try:
            found |= left & trial.read_under(seed)
        except Exception:  # the model's own code, on a path that the first draw did not take
            continue
        if found == left:
            break
    return frozenset(found)


def _on_enough(make: Callable[..., Trial], signals: Signals) -> Signals:
    """The signals, with activations of the whole batch where few places make many units look off."""
    if not any(a.dead > _DEAD and a.places < _PLACES for a in signals.activations):
        return signals
    whole = make(samples=None)
    listener = Listener(whole)
    whole.evaluate()
    return replace(signals, activations=listener.signals().activations)


def _later(make: Callable[..., Trial], trial: Trial, signals: Signals) -> Signals | None:
    """What passes after some steps, where samples or an attention's places are nearly alike and stay so; else None."""
    is_alike = signals.output_spread is not None and signals.output_spread < _OUTPUT_SPREAD
    samples = is_alike and any(m.rms > 0 and m.spread < _SPREAD for m in signals.maps)
    places = any(a.apart is not None and a.apart < _SPREAD for a in signals.attentions)
    if not samples and not places:
        return None
    trial.set(trial.start())
    for _ in range(_LATER_STEPS):
        evaluation = trial.evaluate()
        outputs = [output for output in evaluation.outputs if output.dim() > 1]
        largest = max(outputs, key=lambda output: output.numel(), default=None)
        if not places and (largest is None or spread_of(largest.detach(), trial.num_samples) > _SPREAD):
            break
        take_step(trial, hasty_pass(trial, evaluation), floor=_FLOOR)
    else:
        moved = make()
        moved.set(trial.values())
        listener = Listener(moved)
        moved.evaluate()
        trial.set(trial.start())
        return listener.signals()
    trial.set(trial.start())
    return None
