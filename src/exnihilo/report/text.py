"""The results in a terminal: one line a claim, and a closing count. Needs no color, no width and no extra."""

from collections import Counter
from pathlib import Path

from rich.console import Group, RenderableType
from rich.text import Text

from exnihilo.claims.records import Answer, ClaimVerdict, Results
from exnihilo.report.numbers import duration_shown

COLORS: dict[ClaimVerdict, str] = {
    "supported": "green",
    "refuted": "red",
    "depends": "yellow",
    "undecided": "bright_black",
    "explained": "blue",
}
_WIDEST = max(map(len, COLORS))


def claim_line(answer: Answer) -> Text:
    """One line: id, verdict as a colored word, and the finding, cut off at the width of the terminal.

    Example:
        >>> answer = Answer(id="D2", title="ReLU", statement="", verdict="refuted", basis="exact", n=0, rule="",
        ...                 finding="Only the output bias moves. The rest never does.", rerun="")
        >>> claim_line(answer).plain
        'D2   refuted    Only the output bias moves. The rest never does.'
    """
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append(f"{answer.id:<4} ", style="bold")
    line.append(f"{answer.verdict:<{_WIDEST}}  ", style=COLORS[answer.verdict])
    factor = f"on {answer.factor}: " if answer.verdict == "depends" and answer.factor else ""
    line.append(_bare(f"{factor}{answer.finding}"))
    return line


def _bare(text: str) -> str:
    """One line without the markup of findings."""
    return " ".join(text.replace("`", "").replace("**", "").split())


def counts(results: Results) -> dict[ClaimVerdict, int]:
    """How many claims got each verdict, in the order of ``COLORS``; verdicts that did not occur are left out."""
    found = Counter(answer.verdict for answer in results.claims)
    return {verdict: found[verdict] for verdict in COLORS if found[verdict]}


def count_line(results: Results) -> Text:
    """``24 claims: 9 supported, 7 refuted, ...``."""
    claims = len(results.claims)
    line = Text(f"{claims} {'claim' if claims == 1 else 'claims'}: ", style="bold")
    parts = [Text(f"{number} {verdict}", style=COLORS[verdict]) for verdict, number in counts(results).items()]
    return line + Text(", ").join(parts)


def run_line(results: Results) -> str:
    """What the answers stand on, such as ``2,016 training runs · preset quick · seed 0 · 3 min 41 s``."""
    runs = f"{results.num_runs:,} training {'run' if results.num_runs == 1 else 'runs'}"
    return f"{runs} · preset {results.preset} · seed {results.seed} · {duration_shown(results.seconds)}"


def summary(results: Results, page: Path | None = None) -> RenderableType:
    """The end of a run: one line a claim, the count of verdicts, what they stand on, and where the page is.

    Args:
        results: All answers.
        page: The page's path, where one was written.
    """
    lines: list[RenderableType] = [claim_line(answer) for answer in results.claims]
    closing = [Text(""), count_line(results), Text(run_line(results), style="dim")]
    # The path must stay whole, so that it can be copied: no ellipsis, no line break of ours inside.
    where = [Text(f"page: {page}", overflow="fold")] if page is not None else []
    return Group(*lines, *closing, *where)
