"""A diagnosis as a yes or a no."""

from exnihilo.checks.records import Diagnosis, Finding
from exnihilo.checks.text import screen_lines
from exnihilo.errors import UntrainableError


def counted(diagnosis: Diagnosis, *, strict: bool = False) -> tuple[Finding, ...]:
    """The findings for which a model does not pass: what fails; under ``strict`` what is warned of, too."""
    return diagnosis.with_severity("FAIL", "WARN") if strict else diagnosis.with_severity("FAIL")


def require_passed(diagnosis: Diagnosis, *, strict: bool = False) -> None:
    """Raise where a model does not pass its check.

    Args:
        diagnosis: What ``check`` returned.
        strict: A warning counts as well.

    Raises:
        UntrainableError: Something counts; the whole screen is in its message.
    """
    grave = counted(diagnosis, strict=strict)
    if not grave:
        return
    remedies = [finding.remedy for finding in grave if finding.remedy is not None]
    verified = [remedy for remedy in remedies if remedy.verified]
    first = (verified or remedies or [None])[0]
    raise UntrainableError(
        f"{diagnosis.facts.model} does not pass its check: {_counts(grave)}.",
        context=[line for kind, line in screen_lines(diagnosis) if kind not in {"title", "passed"}],
        fix=first.line if first is not None else f"suppress={{'{grave[0].code}': 'why it is meant to be so'}}",
    )


def _counts(findings: tuple[Finding, ...]) -> str:
    severities = [finding.severity for finding in findings]
    return ", ".join(f"{severities.count(each)} {each}" for each in ("FAIL", "WARN") if each in severities)
