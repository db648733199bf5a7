"""The tools that are compared, each asked by its own documented entry point with its own defaults.

An answer has the tool's own gravest severity, ``fail``, ``warn`` or ``none`` (``info`` counts as none), and the
parameter names that it gives with findings of that kind, in its order. Every rival runs in an environment of its own.
"""

from __future__ import annotations

import contextlib
import copy
import io
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from benchmarks.check.faults import Injected
from benchmarks.check.subjects import Subject
from torch import nn


@dataclass(frozen=True)
class Answer:
    """What a tool says: its severity, the names it gives, and in short what it found."""

    severity: str
    named: tuple[str, ...]
    found: tuple[str, ...] = ()


def exnihilo(injected: Injected) -> Answer:
    from exnihilo import check

    subject = injected.subject
    optimizer = None
    if injected.options is not None:
        trained = [p for p in subject.model.parameters() if p.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=injected.options["lr"])
    found = check(subject.model, subject.batch, subject.loss, optimizer=optimizer)
    graver = found.with_severity("FAIL", "WARN")
    severity = "fail" if not found.ok else "warn" if graver else "none"
    named = [name for finding in graver for name in finding.parameters]
    return Answer(severity, tuple(dict.fromkeys(named)), tuple(finding.code for finding in graver))


def parts(subject: Subject) -> tuple[Any, Any, Callable[[Any, Any], Any]]:
    """Input, target and criterion, for tools that take a loss of output and target."""
    if isinstance(subject.batch, dict):
        return subject.batch, None, lambda output, target=None: output.loss

    class Given(nn.Module):
        def __init__(self, output: Any):
            super().__init__()
            self.output = output

        def forward(self, x: Any) -> Any:
            return self.output

    return subject.batch[0], subject.batch[1], lambda o, t: subject.loss(Given(o), (subject.batch[0][: len(t)], t))


def torchtest2(injected: Injected) -> Answer:
    import torchtest2 as tool

    inputs, targets, criterion = parts(injected.subject)
    options: dict[str, Any] = {} if targets is None else {"loss_fn": criterion}
    if injected.options is not None:
        options["optimizer"] = torch.optim.SGD(injected.subject.model.parameters(), lr=injected.options["lr"])
    report = tool.check_model(injected.subject.model, inputs, targets, **options)
    failed = [r for r in report.results if r.status.value == "FAIL"]
    warned = [r for r in report.results if r.status.value == "WARN"]
    severity = "fail" if failed else "warn" if warned else "none"
    texts = [f"{r.details} {r.message}" for r in [*failed, *warned]]
    return Answer(severity, names_in(texts, injected.subject.model), tuple(r.name for r in [*failed, *warned]))


def syndset(injected: Injected) -> Answer:
    import syndset as tool

    inputs, targets, criterion = parts(injected.subject)
    report = tool.audit(injected.subject.model, inputs, targets, loss_fn=criterion)
    bad = [check for check in report.checks if "PASS" not in str(check)]
    severity = "none" if not bad else "warn" if report.is_healthy() else "fail"
    return Answer(severity, names_in(map(str, bad), injected.subject.model), tuple(str(check)[:60] for check in bad))


def torchdiag(injected: Injected) -> Answer:
    import torchdiag as tool

    subject = injected.subject
    model = copy.deepcopy(subject.model).train()
    with torch.random.fork_rng():  # the pass is ours, and no doing of the tool
        subject.loss(model, subject.batch).backward()
    stats = tool.check_gradients(model)
    dead: dict[str, Any] = {}
    if not isinstance(subject.batch, dict):
        with contextlib.suppress(Exception):
            dead = tool.check_dead_neurons(model, subject.batch[0])
    named = [n for n, s in stats.items() if s["status"] != "OK"]
    many = [n for n, s in dead.items() if s["dead_pct"] > 20]
    return Answer("fail" if named or many else "none", tuple(named), tuple(many))


def preflight(injected: Injected) -> Answer:
    from preflight.checks.model import check_gradients

    subject = injected.subject
    if isinstance(subject.batch, dict):
        raise ValueError("it takes tensors alone")
    _, _, criterion = parts(subject)
    result = check_gradients([subject.batch], copy.deepcopy(subject.model).train(), criterion)
    return Answer("none" if result.passed else "fail", names_in([result.message], subject.model))


def torch_audit(injected: Injected) -> Answer:
    """Its rules about speed and weight decay (TA2) are not counted: they warn of every model here."""
    from torch_audit import audit

    subject = injected.subject
    model = copy.deepcopy(subject.model).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    with torch.random.fork_rng():  # the pass is ours, and no doing of the tool
        subject.loss(model, subject.batch).backward()
    findings = [
        finding
        for phase in ("static", "init", "backward", "optimizer")
        for finding in audit(model, phase=phase, optimizer=optimizer).findings
        if not finding.rule_id.startswith("TA2")
    ]
    ranks = {f.severity.value for f in findings}
    severity = "fail" if ranks & {"ERROR", "FATAL"} else "warn" if "WARN" in ranks else "none"
    texts = [f"{f.entity} {f.module_path} {f.message}" for f in findings if f.severity.value != "INFO"]
    return Answer(severity, names_in(texts, subject.model), tuple(f.rule_id for f in findings))


def model_clinic(injected: Injected) -> Answer:
    from model_clinic import diagnose

    findings = diagnose(injected.subject.model.state_dict(), plugins=False)
    graver = [f for f in findings if f.severity in {"ERROR", "WARN"}]
    severity = "fail" if any(f.severity == "ERROR" for f in graver) else "warn" if graver else "none"
    return Answer(severity, tuple(f.param_name for f in graver), tuple({f.condition for f in graver}))


def overfit_one_batch(injected: Injected) -> Answer:
    """What people do now: a hundred Adam steps on one batch must bring the loss down by half."""
    subject = injected.subject
    model = copy.deepcopy(subject.model).train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for _ in range(100):
        optimizer.zero_grad()
        loss = subject.loss(model, subject.batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return Answer("none" if losses[-1] < 0.5 * losses[0] else "fail", ())


def names_in(texts: Iterable[str], model: nn.Module) -> tuple[str, ...]:
    """The parameters that some texts name, in the order in which they do."""
    known = [n for n, _ in model.named_parameters()]
    pattern = re.compile("|".join(rf"(?<![\w.]){re.escape(n)}(?![\w.])" for n in sorted(known, key=len, reverse=True)))
    return tuple(dict.fromkeys(match.group() for text in texts for match in pattern.finditer(text)))


TOOLS: dict[str, Callable[[Injected], Answer]] = {
    "exnihilo": exnihilo,
    "torchtest2": torchtest2,
    "syndset": syndset,
    "torchdiag": torchdiag,
    "preflight-ml": preflight,
    "torch-audit": torch_audit,
    "model-clinic": model_clinic,
    "overfit-one-batch": overfit_one_batch,
}
PINNED = {
    "torchtest2": "0.1.0",
    "syndset": "0.2.1",
    "torchdiag": "0.1.0",
    "preflight-ml": "0.1.1",
    "torch-audit": "0.3.0",
    "model-clinic": "0.4.2",
}


def asked(tool: str, injected: Injected) -> Answer:
    """A tool's answer; what it prints is dropped."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return TOOLS[tool](injected)
