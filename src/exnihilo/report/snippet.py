"""Python source as HTML; comments, strings, numbers and keywords are marked by the standard library's tokenizer."""

import io
import keyword
import tokenize
from collections.abc import Iterator

from markupsafe import Markup, escape

_CLASSES = {tokenize.COMMENT: "comment", tokenize.STRING: "string", tokenize.NUMBER: "number"}


def highlighted(source: str) -> Markup:
    """The source, escaped, with ``<span class="comment|string|number|keyword">`` around what deserves it.

    Source that does not tokenize is only escaped.

    Example:
        >>> highlighted("x = 0  # zero")
        Markup('x = <span class="number">0</span>  <span class="comment"># zero</span>')
    """
    try:
        return Markup("").join(_pieces(source))
    except (tokenize.TokenError, SyntaxError):
        return escape(source)


def _pieces(source: str) -> Iterator[Markup]:
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line))
    done = 0
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind = _CLASSES.get(token.type, "keyword" if keyword.iskeyword(token.string) else None)
        if kind is None:
            continue
        begin, end = starts[token.start[0] - 1] + token.start[1], starts[token.end[0] - 1] + token.end[1]
        yield escape(source[done:begin])
        yield Markup('<span class="{}">{}</span>').format(kind, source[begin:end])
        done = end
    yield escape(source[done:])
