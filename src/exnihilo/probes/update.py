"""What the user's own optimizer does first: how far along its step the loss still falls, and what rounding swallows."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.errors import CheckError
from exnihilo.probes.openings import root_mean_square
from exnihilo.probes.question import Question
from exnihilo.probes.records import Use
from exnihilo.probes.trial import Trial
from exnihilo.structure.names import canonical_names

# Multiples of the step at which the loss is looked at, from below: where it first exceeds that before the step is the
# critical one.
_MULTIPLES = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
# A parameter of which less than this share changes, though its gradient is not zero, is held by rounding.
_HELD = 0.01
# A rate may be too large only where the first step led; by then it shows in a few steps more.
_LATER = 5
# A zero that moves by less than this share of what other maps move by, for its gradient too, is slowed.
_SLOW = 0.1
# A parameter that one step makes so much larger than any was learns nothing more: what follows is rounded away.
_FAR = 1e3
# Loss above that before the step by less than this is noise of a finite batch, not a step too far.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What the user's own optimizer does first.

    Args:
        rule: Such as ``"AdamW, lr 0.001"``.
        loss: Before the step.
        after: After it.
        critical: The multiple of the step beyond which the loss is higher than before; infinite where none of those
            tried is.
        later: The loss before each of some further steps on the same batch; empty where the first went too far already.
        frozen_by_rounding: Parameters whose gradient is not zero and of which nearly no element changed.
        decayed: Parameters that weight decay pulls toward zero.
        slowed: Maps and scales of zeros whose step is small beside that of other maps, how small, by name.
        thrown: Parameters that the first step makes a thousand times as large as any was before it.
    """

    rule: str
    loss: float
    after: float
    critical: float
    later: tuple[float, ...] = ()
    frozen_by_rounding: tuple[str, ...] = ()
    decayed: frozenset[str] = frozenset()
    slowed: tuple[tuple[str, float], ...] = ()
    thrown: tuple[str, ...] = ()


def update_of(model: nn.Module, question: Question, optimizer: torch.optim.Optimizer) -> Update | None:
    """The optimizer's first step, taken on copies; None where it cannot be taken without the optimizer's own loop.

    Args:
        model: Left as it was.
        question: Its batch and loss.
        optimizer: Of the model's parameters; a copy of it takes the steps.

    Raises:
        CheckError: The optimizer holds none of the model's trainable parameters.
    """
    if isinstance(optimizer, torch.optim.LBFGS):  # its step asks for the loss again and again
        return None
    trial = Trial(model, question, dtype=torch.float32)
    loss = trial.evaluate().loss
    gradients = trial.gradients(loss)
    before = trial.values()
    taking = _Taking(model, trial, optimizer)
    try:
        step = taking.stepped(gradients)
    except (TypeError, NotImplementedError, AttributeError):  # a step that wants more than gradients
        return None
    moved = {name: step[name] - before[name] for name in before}
    start, after, critical = float(loss.detach()), math.nan, math.inf
    for multiple in _MULTIPLES:
        trial.set({name: before[name] + multiple * moved[name] for name in before})
        there = float(trial.evaluate().loss.detach())
        after = there if multiple == 1.0 else after
        is_higher = not there <= start + _TOLERANCE * abs(start)
        if is_higher and math.isinf(critical):
            critical = multiple
        if multiple >= 1.0 and is_higher:
            break
    return Update(
        rule=_rule(optimizer),
        loss=start,
        after=after,
        critical=critical,
        later=_later(trial, taking, step) if critical > 1.0 else (),
        frozen_by_rounding=_held(model, optimizer, gradients),
        decayed=_decayed(model, optimizer),
        slowed=_slowed(before, moved, gradients, trial.promoting.uses),
        thrown=_thrown(before, step),
    )


def _decayed(model: nn.Module, optimizer: torch.optim.Optimizer) -> frozenset[str]:
    canonical = canonical_names(model)
    names = {id(parameter): canonical[path] for path, parameter in model.named_parameters()}
    pulled = [
        p for group in optimizer.param_groups if float(group.get("weight_decay") or 0) > 0 for p in group["params"]
    ]
    return frozenset(names[id(p)] for p in pulled if id(p) in names)


def _slowed(
    before: Mapping[str, Tensor],
    moved: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    uses: Mapping[str, Use],
) -> tuple[tuple[str, float], ...]:
    """Maps and scales of zeros that an optimizer moves by less than others, and by less for their gradient.

    An optimizer whose step is in proportion to the parameter's size moves a zero hardly at all. One that follows the
    gradient's size, or is free of it, does not tell a zero from anything else.
    """
    steps: dict[str, tuple[float, float]] = {}
    for name, gradient in gradients.items():
        is_told = before[name].dim() > 1 or uses.get(name) == "scale"
        if gradient is not None and is_told and bool(gradient.any()):
            size = float(root_mean_square(gradient))
            step = float(root_mean_square(moved[name]))
            steps[name] = step, step / size
    zeros = [name for name in steps if not bool(before[name].any())]
    others = [steps[name] for name in steps if name not in zeros and before[name].dim() > 1]
    if not zeros or not others:
        return ()
    usual = [median(values) for values in zip(*others, strict=True)]
    shares = {name: max(step / usual[0], rate / usual[1]) for name, (step, rate) in ((n, steps[n]) for n in zeros)}
    return tuple((name, share) for name, share in shares.items() if share < _SLOW)


def _thrown(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> tuple[str, ...]:
    largest = max(float(root_mean_square(value)) for value in before.values())
    sizes = {name: float(root_mean_square(value)) for name, value in after.items()}
    return tuple(name for name, size in sizes.items() if largest > 0 and not size <= _FAR * largest)


class _Taking:
    """An optimizer like the user's, over copies of a trial's parameters."""

    def __init__(self, model: nn.Module, trial: Trial, optimizer: torch.optim.Optimizer) -> None:
        self._twins = {name: value.requires_grad_() for name, value in trial.values().items()}
        self._optimizer = _like(model, optimizer, self._twins)

    def stepped(self, gradients: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
        """The parameters after one more step."""
        for name, twin in self._twins.items():
            twin.grad = gradients[name]
        self._optimizer.step()
        return {name: twin.detach().clone() for name, twin in self._twins.items()}


def _later(trial: Trial, taking: _Taking, values: dict[str, Tensor]) -> tuple[float, ...]:
    """The loss before each of some further steps on the same batch."""
    losses: list[float] = []
    for _ in range(_LATER):
        trial.set(values)
        loss = trial.evaluate().loss
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            break
        values = taking.stepped(trial.gradients(loss))
    return tuple(losses)


def _held(
    model: nn.Module, optimizer: torch.optim.Optimizer, gradients: Mapping[str, Tensor | None]
) -> tuple[str, ...]:
    """Parameters in whose own dtype the first step changes next to nothing, though their gradient is not zero."""
    canonical = canonical_names(model)
    mine = {canonical[path]: p for path, p in model.named_parameters() if p.requires_grad and p.is_floating_point()}
    twins = {name: parameter.detach().clone().requires_grad_() for name, parameter in mine.items()}
    for name, twin in twins.items():
        gradient = gradients.get(name)
        twin.grad = gradient.to(twin.dtype) if gradient is not None else None
    before = {name: twin.detach().clone() for name, twin in twins.items()}
    _like(model, optimizer, twins).step()
    held: list[str] = []
    for name, twin in twins.items():
        live = twin.grad is not None and bool((twin.grad != 0).any())
        changed = float((twin.detach() != before[name]).float().mean())
        if live and changed < _HELD and optimizer.param_groups and _rate(model, optimizer, name) > 0:
            held.append(name)
    return tuple(held)


def _like(model: nn.Module, optimizer: torch.optim.Optimizer, twins: Mapping[str, Tensor]) -> torch.optim.Optimizer:
    """A copy of an optimizer, its options and what it holds, over other tensors."""
    canonical = canonical_names(model)
    names = {id(parameter): canonical[path] for path, parameter in model.named_parameters()}
    held = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if not any(names.get(id(parameter)) in twins for parameter in held):
        raise CheckError(
            f"The optimizer holds none of the trainable parameters of {type(model).__name__}.",
            context=["it was made of another model's, or of none"],
            fix="optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)",
        )
    replaced: dict[int, Any] = {id(p): twins.get(names.get(id(p), ""), p) for p in held}
    twin = copy.deepcopy(_innermost(optimizer), replaced)
    vars(twin).pop("step", None)  # a scheduler wraps it around the optimizer itself
    for hooks in ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks"):
        vars(twin).get(hooks, {}).clear()
    trained = {id(value) for value in twins.values()}
    for group in twin.param_groups:  # what the trial does not train is no twin, and must not move
        group["params"] = [p for p in group["params"] if id(p) in trained]
    return twin


def _innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    """The optimizer inside wrappers, such as those of a mixed-precision library."""
    inner = getattr(optimizer, "optimizer", None)
    return _innermost(inner) if isinstance(inner, torch.optim.Optimizer) else optimizer


def _rate(model: nn.Module, optimizer: torch.optim.Optimizer, name: str) -> float:
    canonical = canonical_names(model)
    mine = {id(parameter): canonical[path] for path, parameter in model.named_parameters()}
    for group in optimizer.param_groups:
        if any(mine.get(id(p)) == name for p in group["params"]):
            return float(group.get("lr", 1.0))
    return 0.0


def _rule(optimizer: torch.optim.Optimizer) -> str:
    rates = sorted({float(group["lr"]) for group in optimizer.param_groups if "lr" in group})
    shown = f"{rates[0]:g}" if len(rates) == 1 else f"{rates[0]:g} to {rates[-1]:g}" if rates else "none"
    return f"{type(optimizer).__name__}, lr {shown}"
