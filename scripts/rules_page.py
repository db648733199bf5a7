"""docs/rules.md from the rules' own docstrings."""

import inspect
import re
import sys
from textwrap import dedent

from exnihilo.checks.catalog import RULES

_SECTION = re.compile(
    r"^(Finds|Why it is bad|Why it is told|What it misses|When it is innocent|How to fix):$", re.MULTILINE
)


def page() -> str:
    """Every rule with its sections, in the order in which they are asked."""
    lines = [
        "# Rules",
        "",
        "What `exnihilo check` looks for. A FAIL rests on a proof, in exact arithmetic; a WARN on a",
    ]
    lines += [
        "measurement; an INFO says what looks wrong and is innocent. Each can be suppressed by its code, with a reason:"
    ]
    lines += [
        '`suppress={"unused:pooler.*": "the task does not use it"}`, or `--suppress \'unused:pooler.*=...\'`.',
        "",
    ]
    lines += [f"- [`{code}`](#{code}): {_lines(rule)[0]}" for code, rule in RULES]
    for code, rule in RULES:
        lines += ["", f"## {code}", "", _lines(rule)[0], ""]
        head, *parts = _SECTION.split(_doc(rule))
        for title, body in zip(parts[::2], parts[1::2], strict=True):
            words = " ".join(dedent(body).split()).replace("``", "`")
            lines.append(f"**{title}.** {words}  ")
    return "\n".join([*lines, ""])


def _doc(rule: object) -> str:
    return inspect.cleandoc(sys.modules[rule.__module__].__doc__ or "")


def _lines(rule: object) -> list[str]:
    return _doc(rule).splitlines()
