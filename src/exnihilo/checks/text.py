"""A diagnosis as one screen of plain text, a parameter's story, and a notebook cell. Needs no torch."""

import html
import math
import textwrap
from collections import Counter
from collections.abc import Sequence

from exnihilo.checks.records import Diagnosis, Finding
from exnihilo.errors import UnknownNameError
from exnihilo.probes.records import Fate, Opening
from exnihilo.structure.folding import folded

COLUMNS = 100
# Patterns of names in a line; what is left is counted.
_MAX_NAMES = 3
_TIED = "\u00a0"  # a space at which no line is broken
_FATES: dict[Fate, str] = {
    "opens": "opens at step {step}",
    "stuck": "never opens: a saddle that noise would free",
    "dead": "never opens: dead for every sample, here and nearby",
    "invariant": "never opens: the loss does not depend on it",
    "detached": "never opens: no gradient can reach it",
    "unused": "not used on this batch",
    "undecided": "undecided: rounding hides whether its gradient is zero",
}


def screen(diagnosis: Diagnosis, *, columns: int = COLUMNS) -> str:
    """The diagnosis as one screen: what was checked, the findings with their causes and remedies, and what passed.

    Args:
        diagnosis: What ``check`` returned.
        columns: Characters in a line. Default 100.
    """
    return "\n".join(line for _, line in screen_lines(diagnosis, columns=columns))


def screen_lines(diagnosis: Diagnosis, *, columns: int = COLUMNS) -> list[tuple[str, str]]:
    """The lines of the screen, each with its kind: ``title``, a severity, ``detail`` or ``passed``."""
    whole = headline(diagnosis).replace(" s · ", f"{_TIED}s · ").replace(" FAIL", f"{_TIED}FAIL")
    whole = whole.replace(" WARN", f"{_TIED}WARN").replace(" INFO", f"{_TIED}INFO")
    lines = [("title", piece.replace(_TIED, " ")) for piece in textwrap.wrap(whole, columns)]
    for finding in diagnosis.findings:
        if not finding.suppressed:
            lines += _finding_lines(finding, diagnosis, columns)
    for finding in diagnosis.findings:
        if finding.suppressed:
            lines += [
                ("detail", piece)
                for piece in _hanging(f"off   {finding.code}", f"suppressed: {finding.suppressed}", columns)
            ]
    if diagnosis.passed:
        lines += [("passed", piece) for piece in _hanging("PASS  ", " · ".join(diagnosis.passed), columns)]
    return lines


def headline(diagnosis: Diagnosis) -> str:
    """What was checked, and how it went, in one line.

    The batch, the samples looked at and the time are in it; findings are counted by severity.
    """
    facts = diagnosis.facts
    counted = Counter(finding.severity for finding in diagnosis.findings if not finding.suppressed)
    counts = " ".join(f"{counted[s]} {s}" for s in ("FAIL", "WARN", "INFO") if counted[s]) or "nothing found"
    parts = [
        facts.model,
        f"{_short(facts.num_parameters)} parameters",
        f"batch of {facts.batch}",
        f"loss {facts.loss:.4g}" if facts.loss is not None else "loss not finite",
        f"{facts.seconds:.1f} s",
        counts,
    ]
    return " · ".join(parts)


def _finding_lines(finding: Finding, diagnosis: Diagnosis, columns: int) -> list[tuple[str, str]]:
    head = f"{finding.severity}  {finding.code}"
    roots, behind = finding.parameters[: finding.num_roots], finding.parameters[finding.num_roots :]
    names = f"{named(roots)}{_elements(roots, diagnosis)}"
    names += f"; stops {named(behind)}{_elements(behind, diagnosis)}" if behind else ""
    lines = [(finding.severity, piece) for piece in _hanging(head, names or "the model as a whole", columns)]
    details = [("evidence", finding.evidence), ("cause", finding.cause)]
    if finding.remedy is not None:
        seen = f"   [verified: {finding.remedy.verified}]" if finding.remedy.verified else "   [not tried]"
        details.append(("fix", f"{finding.remedy.line}{seen}"))
    if finding.severity == "INFO":
        details = details[:1]
    for label, text in details:
        lines += [("detail", piece) for piece in _hanging(f"      {label}", text, columns, width=16)]
    return lines


def _hanging(head: str, text: str, columns: int, *, width: int = 22) -> list[str]:
    """A head and a text beside it, whose further lines stand below its first."""
    indent = max(width, len(head) + 2) if columns >= 60 else 8
    wrapped = textwrap.wrap(text, max(columns - indent, 20), break_long_words=False, break_on_hyphens=False) or [""]
    if columns < 60:
        return [head, *(" " * indent + piece for piece in wrapped)]
    return [head.ljust(indent) + wrapped[0], *(" " * indent + piece for piece in wrapped[1:])]


def named(names: Sequence[str], *, limit: int = _MAX_NAMES) -> str:
    """Names with their numbers folded, the first few of them.

    Example:
        >>> named(["h.0.w", "h.1.w", "head.w"])
        'h.{0-1}.w, head.w'
    """
    patterns = folded(names, str, lambda _: 0)
    shown = ", ".join(pattern for pattern, _, _ in patterns[:limit])
    rest = sum(count for _, _, count in patterns[limit:])
    return f"{shown} and {rest} more" if rest else shown


def _elements(names: Sequence[str], diagnosis: Diagnosis) -> str:
    shapes = {opening.parameter: opening.shape for opening in diagnosis.openings}
    total = sum(math.prod(shapes[name]) for name in names if name in shapes)
    return f" ({total:,} elements)" if total else ""


def _short(number: int) -> str:
    """A count in a few characters.

    Example:
        >>> _short(950), _short(11_234_567)
        ('950', '11.2 M')
    """
    for size, letter in ((10**9, "B"), (10**6, "M")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:,}"


def story(diagnosis: Diagnosis, parameter: str) -> str:
    """What is known of one parameter, in a few lines.

    Raises:
        UnknownNameError: It is no trainable parameter of the model.
    """
    known = {opening.parameter: opening for opening in diagnosis.openings}
    if parameter not in known:
        raise UnknownNameError.of("trainable parameter", parameter, known)
    opening = known[parameter]
    lines = [f"{parameter}   {'×'.join(map(str, opening.shape)) or 'scalar'}, {_use(opening)}", f"  {fate(opening)}"]
    if len(opening.parts) > 1:
        lines += [f"  {part_words(opening, place)}" for place in range(len(opening.parts))]
    lines += [
        f"  effective width {width.effective:,} of {width.units:,} units"
        for width in diagnosis.widths
        if width.parameter == parameter
    ]
    for finding in diagnosis.of(parameter):
        lines += _told(finding, parameter)
    if not diagnosis.of(parameter):
        lines.append("  no finding names it")
    return "\n".join(lines)


def fate(opening: Opening) -> str:
    """What becomes of a parameter, in words."""
    words = _FATES[opening.fate].format(step=opening.step)
    return f"{words}, gradient {opening.gradient:.3g} then (root mean square)" if opening.step is not None else words


def part_words(opening: Opening, place: int) -> str:
    """Some units of a parameter and what becomes of them, in words."""
    part = opening.parts[place]
    shown = ", ".join(str(a) if b - a == 1 else f"{a} to {b - 1}" for a, b in part.ranges[:4])
    more = ", ..." if len(part.ranges) > 4 else ""
    return f"units {shown}{more} ({part.num_units:,}): {_FATES[part.fate].format(step=part.step)}"


def _use(opening: Opening) -> str:
    words = {"map": "a map", "table": "a table", "scale": "a scale", "shift": "a shift", "other": "a parameter"}
    value = f", all {opening.all_equal:g}" if opening.all_equal is not None else ""
    return f"{words[opening.use]} of {opening.num_units:,} {'unit' if opening.num_units == 1 else 'units'}{value}"


def _told(finding: Finding, parameter: str) -> list[str]:
    roots = finding.parameters[: finding.num_roots]
    lines = [f"  {finding.severity} {finding.code}: {finding.cause}"]
    if finding.severity == "INFO":
        return lines
    if parameter in roots:
        others = len(finding.parameters) - len(roots)
        lines.append(f"    it is the cause; {others} more hang on it" if others else "    it is the cause")
    else:
        lines.append(f"    it hangs on {named(roots)}")
    if finding.remedy is not None:
        lines.append(f"    fix: {finding.remedy.line}")
    return lines


_COLORS = {"FAIL": "#a3271b", "WARN": "#764a00", "INFO": "#1b4c99"}


def notebook(diagnosis: Diagnosis) -> str:
    """The diagnosis as a small HTML table for a notebook, self-contained."""
    rows = "".join(_row(finding) for finding in diagnosis.findings)
    passed = html.escape(" · ".join(diagnosis.passed))
    return (
        '<div style="font-family:system-ui,sans-serif;line-height:1.45">'
        f"<p><strong>{html.escape(headline(diagnosis))}</strong></p>"
        f'<table style="border-collapse:collapse;text-align:left">{rows}</table>'
        f'<p style="opacity:.75">Passed: {passed}</p></div>'
    )


def _row(finding: Finding) -> str:
    color = _COLORS[finding.severity]
    remedy = f"<br><code>{html.escape(finding.remedy.line)}</code>" if finding.remedy is not None else ""
    off = f" (suppressed: {html.escape(finding.suppressed)})" if finding.suppressed else ""
    return (
        f'<tr style="vertical-align:top"><td style="color:{color};font-weight:700;padding:.2em .8em .2em 0">'
        f"{finding.severity}</td><td style='padding:.2em .8em .2em 0'>{html.escape(finding.code)}{off}</td>"
        f"<td style='text-align:left;padding:.2em 0'><code>{html.escape(named(finding.parameters))}</code><br>"
        f"{html.escape(finding.evidence)}: {html.escape(finding.cause)}{remedy}</td></tr>"
    )
