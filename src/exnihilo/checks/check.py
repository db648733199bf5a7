"""The verb ``check``: prove before training that a model can learn, or name what stops it."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from exnihilo.checks.catalog import RULES
from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Diagnosis, Facts, Finding, Severity
from exnihilo.checks.remedies import remedy_of, tried
from exnihilo.checks.roots import Roots, laws_for, roots_of
from exnihilo.errors import UnknownNameError
from exnihilo.probes.apart import apart_from
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Criterion, Loss, Question, require_learnable, shapes_of
from exnihilo.probes.records import Learning
from exnihilo.probes.trial import Trial

_ORDER: Mapping[Severity, int] = {"FAIL": 0, "WARN": 1, "INFO": 2}


def check(
    model: nn.Module,
    batch: Any,
    loss: Loss | None = None,
    criterion: Criterion | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    factory: Callable[[], nn.Module] | None = None,
    *,
    suppress: Mapping[str, str] | None = None,
) -> Diagnosis:
    """Prove before training that a model can learn, or name what stops it.

    Copies of the model take some normalized steps on the batch, in float32 and, where something stays closed, in
    float64. The model is left bit for bit as it was: parameters, buffers, gradients, modes, hooks and random states.
    The user's own hooks stay silent on the copies.

    Args:
        model: A module with values, as it is to be trained. In eval mode its copies train none the less.
        batch: What one training step is given, 8 samples or more for preference.
        loss: ``loss(model, batch)`` returns the scalar that is trained. It must use its model argument.
        criterion: ``criterion(output, target)`` for a batch ``(input, target)``, where input may be a tensor, a tuple
            of arguments or a dict of keyword arguments. With neither, the model's output must hold its own ``.loss``.
        optimizer: Of the model's parameters: tells the update rule and the learning rate to judge. Default None:
            neither is judged.
        factory: Makes the model anew: two constructions tell uninitialized memory. Default None: it is not looked for.
        suppress: Reasons by code, or by ``"code:pattern"`` of a parameter's name: such findings are kept, and do not
            count.

    Returns:
        Findings, the gravest first: FAIL for what is proved to stop learning, WARN for what a measurement says will
        hurt it, INFO for what looks wrong and is innocent; the opening step of each parameter; the effective width of
        each map.

    Raises:
        CheckError: The model or the loss raises, the loss is no scalar or does not depend on the model it is given, or
            there is nothing to train.
        UnknownNameError: ``suppress`` names no rule.

    Example:
        >>> _ = torch.manual_seed(0)
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> batch = (torch.randn(16, 4), torch.arange(16) % 2)
        >>> check(model, batch, criterion=nn.CrossEntropyLoss()).ok
        True
        >>> _ = nn.init.zeros_(model[0].weight), nn.init.zeros_(model[0].bias)
        >>> check(model, batch, criterion=nn.CrossEntropyLoss()).findings[0].parameters[0]
        '0.weight'
    """
    started = time.perf_counter()
    reasons = _reasons(suppress or {})
    require_learnable(model)
    question = Question(batch=batch, loss=loss, criterion=criterion)
    with apart_from(model):
        learning = learning_of(model, question)
        measured = _measured(model, question, learning)
        found = [finding for _, rule in RULES for finding in rule(measured)]
        findings = tried(model, question, found, learning)
    ordered = sorted((_suppressed(finding, reasons) for finding in findings), key=lambda f: _ORDER[f.severity])
    codes = {finding.code for finding in findings}
    return Diagnosis(
        facts=Facts(
            model=type(model).__name__,
            num_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            batch=shapes_of(batch),
            loss=learning.loss,
            num_samples=learning.num_samples,
            certified=learning.certified,
            seconds=time.perf_counter() - started,
        ),
        findings=tuple(ordered),
        openings=learning.openings,
        widths=learning.widths,
        passed=tuple(code for code, _ in RULES if code not in codes),
    )


def _measured(model: nn.Module, question: Question, learning: Learning) -> Measured:
    stuck = roots_of(model, question, learning, fates=("stuck",))
    dead = roots_of(model, question, learning, fates=("dead",))
    remedies = tuple((_names(roots), remedy_of(model, _edits(roots))) for roots in (stuck, dead) if roots.found)
    twins = [width.parameter for width in learning.widths if width.effective < width.units]
    twins_remedy = None
    if twins:
        trial = Trial(model, question, dtype=torch.float32)
        trial.evaluate()
        laws = laws_for(model, trial)
        twins_remedy = remedy_of(model, {name: laws[name] for name in twins})
    return Measured(learning=learning, stuck=stuck, dead=dead, remedies=remedies, twins_remedy=twins_remedy)


def _names(roots: Roots) -> tuple[str, ...]:
    return tuple(name for root in roots.found for name in root.parameters)


def _edits(roots: Roots) -> dict[str, str]:
    return {name: scheme for root in roots.found for name, scheme in zip(root.parameters, root.schemes, strict=True)}


def _reasons(suppress: Mapping[str, str]) -> dict[tuple[str, str], str]:
    known = [code for code, _ in RULES]
    reasons: dict[tuple[str, str], str] = {}
    for spelled, reason in suppress.items():
        code, _, pattern = spelled.partition(":")
        if code not in known:
            raise UnknownNameError.of("rule", code, known)
        reasons[code, pattern or "*"] = reason
    return reasons


def _suppressed(finding: Finding, reasons: Mapping[tuple[str, str], str]) -> Finding:
    for (code, pattern), reason in reasons.items():
        if code == finding.code and all(fnmatchcase(name, pattern) for name in finding.parameters):
            return replace(finding, suppressed=reason)
    return finding
