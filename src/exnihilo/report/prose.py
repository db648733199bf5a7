"""The small markup of findings: paragraphs, ``## headings``, `code`, **strong**, ``[figure: name]``."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from exnihilo.report.numbers import retyped

_CODE = re.compile(r"`([^`]+)`")
_PERCENT = re.compile(r"(?<=\d) %")
_FIGURE = re.compile(r"^\[figure:\s*([^\]]+?)\s*\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Words, and the figures that stand beside them."""

    words: Markup
    figures: tuple[str, ...]


def inline(text: str) -> Markup:
    """Text with `code` and **strong** marked; everything else is escaped, and numbers outside of code are typeset.

    Example:
        >>> inline("`W = -1` is **not** < -1")
        Markup('<code>W = -1</code> is <strong>not</strong> &lt; −1')
    """
    words, *rest = _CODE.split(str(escape(text)))
    safe = _typeset(words)
    for code, after in zip(rest[::2], rest[1::2], strict=True):
        safe += f"<code>{code}</code>{_typeset(after)}"
    return Markup(re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe))


def _typeset(text: str) -> str:
    return _PERCENT.sub("\u00a0%", retyped(text))


def steps(text: str) -> tuple[Step, ...]:
    r"""An explanation as steps: the words up to a ``[figure: name]`` stand beside that figure.

    Example:
        >>> [(step.words, step.figures) for step in steps("One.\n\n[figure: a]\n\n## Two\n\nThree.")]
        [(Markup('<p>One.</p>'), ('a',)), (Markup('<h2>Two</h2><p>Three.</p>'), ())]
    """
    found: list[Step] = []
    words: list[Markup] = []
    for block in filter(None, (block.strip() for block in re.split(r"\n\s*\n", text))):
        figure = _FIGURE.match(block)
        if figure is None:
            words.append(_block(block))
        elif words or not found:
            found.append(Step(words=Markup("").join(words), figures=(figure[1],)))
            words = []
        else:
            found[-1] = Step(words=found[-1].words, figures=(*found[-1].figures, figure[1]))
    return (*found, Step(words=Markup("").join(words), figures=())) if words else tuple(found)


def figure_names(parts: Sequence[Step]) -> tuple[str, ...]:
    """The figures that steps place, in order."""
    return tuple(name for step in parts for name in step.figures)


def _block(block: str) -> Markup:
    if block.startswith("## "):
        return Markup("<h2>{}</h2>").format(inline(block[3:].strip()))
    return Markup("<p>{}</p>").format(inline(" ".join(block.split())))
