"""Remedies, tried on a copy before they are offered."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from exnihilo.checks.catalog import rule_of
from exnihilo.checks.measured import Measured
from exnihilo.checks.records import Edit, Finding, Remedy
from exnihilo.checks.roots import drawn, planned_by
from exnihilo.errors import ExnihiloError
from exnihilo.plans.edits import layout_of
from exnihilo.plans.live import live_parameters
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial
from exnihilo.schemes.spec import from_text
from exnihilo.structure.names import as_attribute, canonical_names

# A line longer than three statements is none to paste.
_MAX_STATEMENTS = 3
_DEAD_ENDS = {"stuck-saddle", "dead-region"}


def remedy_of(model: nn.Module, edits: Mapping[str, str]) -> Remedy:
    """New values for some parameters, not yet tried."""
    return Remedy(
        line=line_of(model, edits), edits=tuple(Edit(parameter=name, scheme=text) for name, text in edits.items())
    )


def branches_closed(trial: Trial) -> Remedy | None:
    """Every residual branch started at zero, where the model's structure tells its branches; else None."""
    planned = planned_by(trial, "zero-residual")
    edits = tuple(Edit(parameter=name, scheme=scheme) for name, scheme in planned.items() if name in trial.parameters)
    return Remedy(line='exnihilo.initialize(model, "zero-residual", example=...)', edits=edits) if edits else None


def line_of(model: nn.Module, edits: Mapping[str, str]) -> str:
    """The edits as one line of Python, with PyTorch's own initializers."""
    if len(edits) > _MAX_STATEMENTS:
        return "exnihilo.fix(diagnosis, model)"
    paths = {name: path for path, name in reversed(canonical_names(model).items())}
    shapes = {path: tuple(parameter.shape) for path, parameter in model.named_parameters(remove_duplicate=False)}
    return "; ".join(_statement(model, paths[name], text, shapes[paths[name]]) for name, text in edits.items())


def _statement(model: nn.Module, path: str, text: str, shape: tuple[int, ...]) -> str:
    target = as_attribute(path)
    if text in {"zeros", "ones"}:
        return f"nn.init.{text}_({target})"
    if text.startswith("constant("):
        return f"nn.init.constant_({target}, {text.partition('=')[2].rstrip(')')})"
    if text == "orthogonal":
        return f"nn.init.orthogonal_({target})"
    std = from_text(text).expected_std(layout_of(model, path, shape))
    return f"nn.init.normal_({target}, std={std:.4g})"


def tried(model: nn.Module, question: Question, findings: Iterable[Finding], measured: Measured) -> tuple[Finding, ...]:
    """The findings, with what their remedies did to a copy: the copy is measured anew, and asked by the same rule.

    A dead end may hide another one, so its remedy is tried beside those of earlier dead ends that ``fix`` would apply.
    """
    done: list[Finding] = []
    for finding in findings:
        earlier = [f.remedy for f in done if {f.code, finding.code} <= _DEAD_ENDS and f.remedy and f.remedy.safe]
        beside = [edit for remedy in earlier for edit in remedy.edits]
        done.append(_tried(model, question, finding, beside, measured))
    return tuple(done)


def _tried(
    model: nn.Module, question: Question, finding: Finding, beside: Sequence[Edit], measured: Measured
) -> Finding:
    from exnihilo.checks.measuring import measure  # it makes remedies, and this tries them

    remedy = finding.remedy
    if remedy is None or not remedy.edits or finding.code == "uninitialized":
        return finding
    try:
        after = measure(model, question, values=_drawn(model, (*beside, *remedy.edits)))
    except (ExnihiloError, RuntimeError, TypeError):  # what a copy's own code raises: then it was not seen to help
        return finding
    seen = _seen(finding, measured, after)
    if not seen:
        return finding
    before = measured.learning.by_name
    twins = {width.parameter for width in measured.learning.widths if width.effective < width.units}
    holds_nothing = all(
        edit.parameter in twins or (edit.parameter in before and before[edit.parameter].all_equal is not None)
        for edit in remedy.edits
    )
    return replace(finding, remedy=replace(remedy, verified=seen, safe=holds_nothing))


def _drawn(model: nn.Module, edits: Iterable[Edit]) -> dict[str, Tensor]:
    """What ``apply`` would write for some edits."""
    named = live_parameters(model)
    return {edit.parameter: drawn(edit.scheme, model, edit.parameter, named[edit.parameter]) for edit in edits}


def _seen(finding: Finding, measured: Measured, after: Measured) -> str:
    """What the remedy changed, where it changed what the finding says; empty where it did not."""
    if finding.code not in _DEAD_ENDS:
        again = rule_of(finding.code)(after)
        if any(set(found.parameters) & set(finding.parameters) for found in again if found.severity != "INFO"):
            return ""
        if finding.code == "initial-loss":
            return f"loss {after.learning.loss:.3g}"
        return "every unit is told apart" if finding.code == "twin-units" else "not found again"
    openings = after.learning.by_name
    named = [openings[name] for name in finding.parameters if name in openings]
    if not named or any(2 * opening.num_of("stuck", "dead") >= opening.num_units for opening in named):
        return ""
    steps = [opening.step for opening in named if opening.step is not None]
    last = max((part.step or 0 for opening in named for part in opening.parts), default=0)
    if not steps:
        return ""
    return f"opens at step {last}" if min(steps) == last else f"opens at steps {min(steps)} to {last}"
