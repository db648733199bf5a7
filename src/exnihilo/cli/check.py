"""``exnihilo check``: whether a model can learn, before it is trained."""

import os
from collections.abc import Sequence
from pathlib import Path

import torch
import typer
from torch import nn

from exnihilo.checks.check import check
from exnihilo.checks.files import save, to_json, write_text
from exnihilo.checks.fix import remedies_plan
from exnihilo.checks.records import Diagnosis
from exnihilo.checks.sarif import to_sarif
from exnihilo.checks.terminal import print_diagnosis
from exnihilo.cli.extras import require_lab
from exnihilo.cli.models import printed_aside
from exnihilo.cli.outputs import require_folder
from exnihilo.cli.questions import Asked, asked_of
from exnihilo.cli.shown import console
from exnihilo.errors import ExnihiloError, InvalidValueError, UnknownNameError
from exnihilo.plans.edits import plan_of_edits
from exnihilo.plans.files import save as save_plan
from exnihilo.plans.records import Plan
from exnihilo.structure.reader import read
from exnihilo.structure.records import Structure

_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def ask_check(
    spec: str,
    *,
    inputs: Sequence[str],
    sizes: Sequence[str],
    suppress: Sequence[str],
    optimizer: str | None,
    lr: float | None,
    strict: bool,
    out: Path | None,
    sarif: Path | None,
    html: Path | None,
    plan: Path | None,
    as_json: bool,
) -> None:
    """Check a model, print one screen, write the files that were asked for, and exit with 1 where something fails."""
    reasons = _reasons(suppress)
    for path in (out, sarif, html, plan):
        if path is not None:
            require_folder(path)
    asked = asked_of(spec, sizes=sizes, inputs=inputs)
    with printed_aside():
        found = check(
            asked.model,
            asked.batch,
            asked.loss,
            asked.criterion,
            _optimizer(asked, optimizer, lr),
            asked.factory,
            suppress=reasons,
        )
    if out is not None:
        save(found, out)
    if sarif is not None:
        write_text(sarif, to_sarif(found, file=_file(spec)) + "\n")
    if html is not None:
        _write_page(asked, html, found)
    if plan is not None:
        save_plan(_remedies(found, asked.model), plan)
    if as_json:
        print(to_json(found))
    else:
        to = console()
        print_diagnosis(found, to)
        if asked.drawn:
            to.print(f"      learned   {asked.drawn}, for want of a batch and a loss", soft_wrap=True)
    graver = found.with_severity("FAIL", "WARN") if strict else found.with_severity("FAIL")
    if graver:
        raise typer.Exit(1)


def _reasons(texts: Sequence[str]) -> dict[str, str]:
    reasons: dict[str, str] = {}
    for text in texts:
        code, equals, reason = (part.strip() for part in text.partition("="))
        if not (code and equals and reason):
            raise InvalidValueError(
                f"'{text}' suppresses nothing: it must be CODE=REASON, or CODE:PATTERN=REASON.",
                fix="--suppress 'unused:pooler.*=the task does not use it'",
            )
        reasons[code] = reason
    return reasons


def _optimizer(asked: Asked, name: str | None, lr: float | None) -> torch.optim.Optimizer | None:
    """The one that was named, with its own rate or the one given; else what the factory returned."""
    if name is not None and name not in _OPTIMIZERS:
        raise UnknownNameError.of("optimizer", name, _OPTIMIZERS)
    if name is None and lr is None:
        return asked.optimizer
    trainable = [parameter for parameter in asked.model.parameters() if parameter.requires_grad]
    kind = _OPTIMIZERS[name or "adamw"]
    return kind(trainable, lr=lr) if lr is not None else kind(trainable)


def _remedies(found: Diagnosis, model: nn.Module) -> Plan:
    """The remedies as a plan; where there is none, one that keeps everything."""
    if any(f.remedy is not None and f.remedy.edits for f in found.with_severity("FAIL", "WARN")):
        return remedies_plan(found, model, unsafe=True)
    return plan_of_edits(model, {}, reason="remedy")


def _file(spec: str) -> str | None:
    source = spec.rpartition(":")[0]
    return Path(os.path.relpath(source)).as_posix() if source.endswith(".py") else None


def _write_page(asked: Asked, path: Path, found: Diagnosis) -> None:
    require_lab("exnihilo check --html")
    from exnihilo.report.diagnosis_page import write_page

    write_page(found, path, structure=_structure(asked))


def _structure(asked: Asked) -> Structure | None:
    """The model's structure, where it can be read from what a batch holds."""
    example = asked.batch[0] if asked.criterion is not None else asked.batch
    try:
        with printed_aside():
            return read(asked.model, example)
    except ExnihiloError:  # a loss of the user's own may call the model otherwise
        return None
