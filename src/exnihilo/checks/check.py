"""The verb ``check``: prove before training that a model can learn, or name what stops it."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import nn

from exnihilo.checks.catalog import OF_THE_OPTIMIZER, RULES, findings_of
from exnihilo.checks.measured import Measured
from exnihilo.checks.measuring import measure
from exnihilo.checks.records import Diagnosis, Facts, Finding, Severity, Stage
from exnihilo.checks.remedies import tried
from exnihilo.errors import CheckError, UnknownNameError
from exnihilo.probes.apart import apart_from
from exnihilo.probes.neighbors import neighbors_of, untouched
from exnihilo.probes.question import Criterion, Loss, Question, require_learnable, shapes_of

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
    _require_options(optimizer, factory)
    question = Question(batch=batch, loss=loss, criterion=criterion)
    with apart_from(model), untouched(neighbors_of(question, model)):
        measured = measure(model, question, optimizer=optimizer, factory=factory)
        findings = tried(model, question, findings_of(measured), measured)
    ordered = sorted((_suppressed(finding, reasons) for finding in findings), key=lambda f: _ORDER[f.severity])
    codes = {finding.code for finding in findings}
    learning, signals = measured.learning, measured.signals
    return Diagnosis(
        facts=Facts(
            model=type(model).__name__,
            num_parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
            batch=shapes_of(batch),
            loss=learning.loss if math.isfinite(learning.loss) else None,
            reference=signals.reference if signals is not None else None,
            num_samples=learning.num_samples,
            certified=learning.certified,
            seconds=time.perf_counter() - started,
            optimizer=measured.update.rule if measured.update is not None else "",
        ),
        findings=tuple(ordered),
        openings=learning.openings,
        widths=learning.widths,
        stages=tuple(
            Stage(name=stage.name, forward=stage.forward, backward=stage.backward, on_stream=stage.is_block)
            for stage in (signals.stages if signals is not None else ())
        ),
        passed=tuple(code for code, _ in RULES if code not in codes and _looked(code, measured)),
    )


def _looked(code: str, measured: Measured) -> bool:
    """Whether a rule had something to look at."""
    if code == "uninitialized":
        return measured.constructed
    return code not in OF_THE_OPTIMIZER or measured.update is not None


def _require_options(optimizer: object, factory: object) -> None:
    if optimizer is not None and not isinstance(optimizer, torch.optim.Optimizer):
        raise CheckError(
            f"The optimizer is {optimizer!r}; it must be a torch.optim.Optimizer.",
            fix="check(..., optimizer=torch.optim.AdamW(model.parameters(), lr=1e-3)), or leave it out",
        )
    if factory is not None and not callable(factory):
        raise CheckError(
            f"The factory is {factory!r}; it must be callable.",
            fix="check(..., factory=lambda: Net()), or leave it out",
        )


def _reasons(suppress: Mapping[str, str]) -> dict[tuple[str, str], str]:
    given: Any = suppress
    if not isinstance(given, Mapping):
        raise CheckError(
            f"suppress is {given!r}; it must be a dict of reasons by code.",
            fix='check(..., suppress={"unused": "the pooler is for another task"})',
        )
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
