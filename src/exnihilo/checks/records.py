"""What a check found, as plain values: findings with their remedies, and the diagnosis that holds them."""

from dataclasses import dataclass
from typing import Literal

from exnihilo.probes.records import Opening, Width

# A change of a record's fields raises this number; a file of another version is refused.
DIAGNOSIS_VERSION = 1

Severity = Literal["FAIL", "WARN", "INFO"]
Basis = Literal["exact", "measured"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """New values for one parameter.

    Args:
        parameter: Canonical full name.
        scheme: The law of its values, as ``schemes.spec`` spells it.
    """

    parameter: str
    scheme: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What would mend a finding.

    Args:
        line: One line of Python to paste, for a model called ``model``.
        edits: New values that do the same, as ``apply`` would write them; empty where the remedy is no new values.
        safe: The parameters it writes hold nothing that could be lost (all zero, all equal, or copies of each other),
            and it was verified: ``fix`` applies it.
        verified: What was seen when it was tried on a copy, such as ``"opens at step 2"``; empty where it was not.
    """

    line: str
    edits: tuple[Edit, ...] = ()
    safe: bool = False
    verified: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a rule found.

    Args:
        code: The rule's code, such as ``"stuck-saddle"``; ``docs/rules.md`` has each.
        severity: ``FAIL`` for what is proved to stop learning, ``WARN`` for what a measurement says will hurt it,
            ``INFO`` for what looks wrong and is innocent.
        basis: ``"exact"`` where it follows by proof, in exact arithmetic; ``"measured"`` where a number decided.
        parameters: Canonical full names, the root cause first.
        num_roots: How many of them are the cause; the others are what it stops.
        evidence: What was measured, with its numbers and units.
        cause: Why, in one clause.
        remedy: What would mend it; None where it needs none or none is known.
        suppressed: The reason it was suppressed for; empty where it was not.
    """

    code: str
    severity: Severity
    basis: Basis
    parameters: tuple[str, ...]
    num_roots: int = 1
    evidence: str
    cause: str
    remedy: Remedy | None = None
    suppressed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One place along the model's depth, and the signal that passes it.

    Args:
        name: The module whose output it is.
        forward: Root mean square of the output.
        backward: Root mean square of the loss's gradient with respect to it.
        on_stream: It lies on the residual stream, or on the only path there is.
    """

    name: str
    forward: float
    backward: float
    on_stream: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the check was of, and what it took.

    Args:
        model: Its class.
        num_parameters: Trainable elements.
        batch: What the batch is, in one line.
        loss: At the start; None where it is not finite.
        reference: The loss at zero outputs; None where there is no such thing.
        num_samples: Samples that the exact probes looked at.
        certified: The dtype in which zeros were told from rounding.
        seconds: How long it took.
        optimizer: The update rule and learning rate that were judged; empty where none was given.
    """

    model: str
    num_parameters: int
    batch: str
    loss: float | None
    reference: float | None = None
    num_samples: int
    certified: str
    seconds: float
    optimizer: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What ``check`` found. ``print`` shows one screen; ``checks.files`` has JSON and SARIF, ``report`` the page.

    Args:
        facts: What was checked.
        findings: The gravest first.
        openings: Of each trainable parameter, in the model's order.
        widths: Of each map that has units equal to each other now or later.
        stages: The signal along the depth.
        passed: The rules that looked and found nothing.
    """

    facts: Facts
    findings: tuple[Finding, ...]
    openings: tuple[Opening, ...]
    widths: tuple[Width, ...] = ()
    stages: tuple[Stage, ...] = ()
    passed: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Nothing that is not suppressed fails."""
        return not self.with_severity("FAIL")

    def with_severity(self, *severities: Severity) -> tuple[Finding, ...]:
        """The findings of these severities that are not suppressed."""
        return tuple(f for f in self.findings if f.severity in severities and not f.suppressed)

    @property
    def opening_step(self) -> dict[str, int | None]:
        """The opening step of each trainable parameter; None where it never opens."""
        return {opening.parameter: opening.step for opening in self.openings}

    @property
    def effective_width(self) -> dict[str, int]:
        """The effective width of each trainable map: its units, those that stay equal to each other counted once."""
        found = {width.parameter: width.effective for width in self.widths}
        maps = [opening for opening in self.openings if len(opening.shape) > 1 and opening.use != "table"]
        return {map_.parameter: found.get(map_.parameter, map_.num_units) for map_ in maps}

    def of(self, parameter: str) -> tuple[Finding, ...]:
        """The findings that name a parameter."""
        return tuple(finding for finding in self.findings if parameter in finding.parameters)

    def explain(self, parameter: str) -> str:
        """A parameter's story, in a few lines.

        Raises:
            UnknownNameError: It is no trainable parameter of the model.
        """
        from exnihilo.checks.text import story  # the records stand below what shows them

        return story(self, parameter)

    def __str__(self) -> str:
        from exnihilo.checks.text import screen  # the same

        return screen(self)

    def _repr_html_(self) -> str:
        from exnihilo.checks.text import notebook  # the same

        return notebook(self)
