"""The verb ``fix``: apply what a check found to help."""

from torch import nn

from exnihilo.checks.records import Diagnosis
from exnihilo.errors import CheckError
from exnihilo.plans.apply import apply
from exnihilo.plans.edits import plan_of_edits
from exnihilo.plans.records import Applied, Plan


def fix(diagnosis: Diagnosis, model: nn.Module, seed: int = 0, *, unsafe: bool = False) -> Applied:
    """Write the remedies of a diagnosis to the model, once, all or nothing.

    Args:
        diagnosis: What ``check`` said of this model, or of one like it.
        model: Written in place, as ``apply`` does.
        seed: Under which new values are drawn.
        unsafe: Apply remedies too that overwrite parameters which may hold something, or that were not seen to help.
            Default False: only what was tried on a copy, and overwrites what holds nothing (all zero, all equal, or
            copies of each other).

    Raises:
        CheckError: There is no such remedy.
        StalePlanError: The model's parameters are not those of the diagnosis. Nothing was written.

    Example:
        >>> import torch
        >>> from exnihilo import check
        >>> model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
        >>> _ = nn.init.zeros_(model[0].weight)
        >>> batch = (torch.ones(16, 4), torch.arange(16) % 2)
        >>> found = check(model, batch, criterion=nn.CrossEntropyLoss())
        >>> fix(found, model).written[0].parameter
        '0.weight'
        >>> check(model, batch, criterion=nn.CrossEntropyLoss()).ok
        True
    """
    return apply(remedies_plan(diagnosis, model, unsafe=unsafe), model, seed)


def remedies_plan(diagnosis: Diagnosis, model: nn.Module, *, unsafe: bool = False) -> Plan:
    """The remedies of a diagnosis as a complete plan, for ``apply`` or a file.

    Raises:
        CheckError: There is none.
    """
    chosen = [
        finding.remedy
        for finding in diagnosis.with_severity("FAIL", "WARN")
        if finding.remedy is not None and finding.remedy.edits and (finding.remedy.safe or unsafe)
    ]
    if not chosen:
        offered = [
            f"{f.code}: {f.remedy.line}" for f in diagnosis.with_severity("FAIL", "WARN") if f.remedy is not None
        ]
        kind = "remedy" if unsafe else "safe remedy"
        raise CheckError(
            f"The diagnosis of {diagnosis.facts.model} has no {kind} that writes parameters.",
            context=offered,
            fix="fix(diagnosis, model, unsafe=True)" if offered and not unsafe else "mend the model's code",
        )
    edits = {edit.parameter: edit.scheme for remedy in chosen for edit in remedy.edits}
    return plan_of_edits(model, edits, reason="remedy")
