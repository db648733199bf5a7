"""Results → one self-contained HTML page, with ``results.json`` and the figures as SVG beside it.

The page asks nothing of the network: its styles, its script and the Vega libraries are inside it. Every figure is there
twice: as a static SVG (for print, and where scripts are off) and as a Vega-Lite specification that the script draws
to fit the screen.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert
from markupsafe import Markup

from exnihilo.claims.records import Answer, Cell, Figure, Results, Table
from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.report.charts import inlined, spec, svg
from exnihilo.report.numbers import failures_shown, interval_shown, shown
from exnihilo.report.output import FIGURES, PAGE, RESULTS, ensure_writable, replace_file
from exnihilo.report.palette import TOKENS, Style, series_styles
from exnihilo.report.prose import Step, figure_names, inline, steps
from exnihilo.report.results_json import to_json
from exnihilo.report.snippet import highlighted
from exnihilo.report.text import counts, run_line

OPENING = "F1"
# How the ids of papers' results begin.
PUBLISHED = "P"
OWN_MODEL = "exnihilo check my_model.py:build    # or hf:gpt2, timm:resnet50"
OWN_DATA = "exnihilo study examples/your_data.py --data your.csv --target column"

_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A figure, drawn: its Vega-Lite specification, and its static SVG."""

    figure: Figure
    specification: Mapping[str, Any]
    svg: str

    def inside(self, place: str) -> Markup:
        """The static SVG as part of a page; ``place`` keeps its ids apart from those of the same figure elsewhere."""
        return Markup(inlined(self.svg, prefix=f"{place}-{self.figure.name}"))


def write_report(results: Results, out: Path, *, explanation: str = "", own_data: str = OWN_DATA) -> Path:
    """Write ``index.html``, ``results.json`` and ``figures/<name>.svg`` into ``out``, each whole or not at all.

    Args:
        results: All answers; the page opens with ``F1`` where it is among them.
        out: The folder; made where it is missing.
        explanation: The opening in plain words, as paragraphs between blank lines with ``## headings``, `code`,
            ``**strong**`` and ``[figure: name]`` (any figure of the results) where a figure stands beside the words
            before it. Empty: what follows the first paragraph of the finding of ``F1``, in the same markup.
        own_data: The line at the end of the page that tries it on the reader's own data.

    Returns:
        The path of the page.

    Raises:
        OutputError: The folder cannot be written; nothing was drawn before this was known.
        InvalidValueError: Two figures share a name.
        UnknownNameError: The explanation places a figure that no answer has.
    """
    ensure_writable(out)
    drawings = draw(results)
    html = page(results, drawings, explanation=explanation, own_data=own_data)
    for drawing in drawings.values():
        replace_file(out / FIGURES / f"{drawing.figure.name}.svg", drawing.svg)
    replace_file(out / RESULTS, to_json(results) + "\n")
    replace_file(out / PAGE, html)
    return out / PAGE


def draw(results: Results) -> Mapping[str, Drawing]:
    """All figures of the results by name, with one style for each series name throughout."""
    figures = [figure for answer in results.claims for figure in answer.evidence.figures]
    names = [figure.name for figure in figures]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InvalidValueError(
            f"Figure name '{twice[0]}' is used {names.count(twice[0])} times; a name is the figure's file name.",
            fix=f"name them '{twice[0]}-a' and '{twice[0]}-b'",
        )
    styles = series_styles(figures)
    return {figure.name: _drawing(figure, styles) for figure in figures}


def page(results: Results, drawings: Mapping[str, Drawing], *, explanation: str, own_data: str) -> str:
    """The page as HTML.

    Args:
        results: All answers.
        drawings: Of every figure in them.
        explanation: See ``write_report``.
        own_data: See ``write_report``.
    """
    opening = next((answer for answer in results.claims if answer.id == OPENING), None)
    lede, _, rest = (opening.finding if opening is not None else "").strip().partition("\n\n")
    told = _told(opening, explanation or rest, drawings)
    return _template().render(
        results=results,
        opening=opening,
        lede=lede,
        told=told,
        placed=set(figure_names(told)),
        cards=[answer for answer in results.claims if answer.id != OPENING],
        first_published=next((answer.id for answer in results.claims if answer.id.startswith(PUBLISHED)), None),
        drawings=drawings,
        counts=counts(results),
        run_line=run_line(results),
        own_data=own_data,
        own_model=OWN_MODEL,
        tokens=TOKENS,
        specifications=_json({name: drawing.specification for name, drawing in drawings.items()}),
        themes=_json({token.light: token.dark for token in TOKENS}),
        library=_library(),
    )


def _told(opening: Answer | None, explanation: str, drawings: Mapping[str, Drawing]) -> tuple[Step, ...]:
    told = steps(explanation)
    for name in figure_names(told):
        if name not in drawings:
            raise UnknownNameError.of("figure", name, drawings)
    own = tuple(figure.name for figure in opening.evidence.figures) if opening is not None else ()
    # An explanation that places no figure is followed by the opening's own.
    return told if figure_names(told) or not own else (*told, Step(words=Markup(""), figures=own))


def _drawing(figure: Figure, styles: Mapping[str, Style]) -> Drawing:
    if not _FILE_NAME.fullmatch(figure.name):
        raise InvalidValueError(
            f"Figure name '{figure.name}' is no file name; use letters, digits, '.', '_' and '-'.",
            fix=f"name it '{re.sub(r'[^A-Za-z0-9_-]+', '-', figure.name).strip('-') or 'figure'}'",
        )
    specification = spec(figure, styles)
    drawn = svg(specification, title=figure.title, caption=figure.caption)
    return Drawing(figure=figure, specification=specification, svg=drawn)


def _json(value: Any) -> Markup:
    """JSON that may stand inside a script element: no ``<`` that could end it."""
    return Markup(json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


@cache
def _library() -> Markup:
    """Vega, Vega-Lite and Vega-Embed in one script."""
    return Markup(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script"))


def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("exnihilo.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {
        "shown": shown,
        "interval": interval_shown,
        "failures": failures_shown,
        "inline": inline,
        "highlighted": highlighted,
        "tally": _tally,
        "numeric": _numeric,
        "stance": _stance,
    }
    environment.filters.update(filters)

    def file(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])

    functions: dict[str, Any] = {"file": file}
    environment.globals.update(functions)
    return environment.get_template("page.html")


def _stance(cell: Cell) -> str:
    return {True: "supports", False: "refutes", None: "open"}[cell.supports]


def _tally(cells: tuple[Cell, ...]) -> str:
    """``6 cells: 4 support the claim, 1 refutes it, 1 is open``."""
    support, refute, unsettled = (sum(cell.supports is kind for cell in cells) for kind in (True, False, None))
    parts = [
        f"{support} {'supports' if support == 1 else 'support'} the claim" if support else "",
        f"{refute} {'refutes' if refute == 1 else 'refute'} {'it' if support else 'the claim'}" if refute else "",
        f"{unsettled} {'is' if unsettled == 1 else 'are'} open" if unsettled else "",
    ]
    return f"{len(cells)} {'cell' if len(cells) == 1 else 'cells'}: {', '.join(filter(None, parts))}"


def _numeric(table: Table) -> set[int]:
    """The columns that hold numbers, and perhaps gaps."""
    columns = {
        place: [row[place] for row in table.rows if row[place] is not None] for place in range(len(table.columns))
    }
    return {
        place
        for place, values in columns.items()
        if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    }
