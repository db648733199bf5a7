"""A diagnosis → one self-contained HTML page: findings, the signal along the depth, every parameter's opening."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from exnihilo.checks.records import Diagnosis, Severity
from exnihilo.claims.records import Axis, Figure
from exnihilo.probes.records import Opening
from exnihilo.report.charts import inlined, spec, svg
from exnihilo.report.output import replace_file
from exnihilo.report.palette import TOKENS
from exnihilo.report.snippet import highlighted
from exnihilo.structure.records import Structure

_TONES: dict[Severity, str] = {"FAIL": "refuted", "WARN": "depends", "INFO": "explained"}
_KEYS = (
    ("1", "opens at once"),
    ("2", "at step 2"),
    ("3", "at step 3"),
    ("4", "later"),
    ("never", "never"),
    ("innocent", "never, and harmless or not used"),
)
_MAX_STAGES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class _Square:
    """One parameter in the map."""

    key: str
    title: str
    is_part_closed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Group:
    """The parameters of one branch or module, in order."""

    name: str
    cells: tuple[_Square, ...]


def write_page(diagnosis: Diagnosis, path: str | Path, structure: Structure | None = None) -> Path:
    """Write the page of a diagnosis.

    Args:
        diagnosis: What ``check`` returned.
        path: The file; what stood there is replaced as a whole.
        structure: What ``read`` returned for the model: parameters are then drawn by residual branch. Default None:
            they are drawn by module.

    Raises:
        OutputError: The file cannot be written.
    """
    target = Path(path)
    replace_file(target, page(diagnosis, structure))
    return target


def page(diagnosis: Diagnosis, structure: Structure | None = None) -> str:
    """The page as HTML."""
    figure = signal_figure(diagnosis)
    return _template().render(
        diagnosis=diagnosis,
        verdict=_verdict(diagnosis),
        tone=_TONES,
        keys=_KEYS,
        groups=_groups(diagnosis, structure),
        widths=[width for width in diagnosis.widths if width.effective < width.units],
        figure=Markup(inlined(svg(spec(figure), title=figure.title), prefix="signal")) if figure is not None else None,
        tokens=TOKENS,
    )


def _verdict(diagnosis: Diagnosis) -> str:
    fails, warns = len(diagnosis.with_severity("FAIL")), len(diagnosis.with_severity("WARN"))
    if fails:
        return f"{diagnosis.facts.model} cannot learn as it is"
    if warns:
        return f"{diagnosis.facts.model} can learn, with {warns} {'warning' if warns == 1 else 'warnings'}"
    return f"{diagnosis.facts.model} can learn"


def signal_figure(diagnosis: Diagnosis) -> Figure | None:
    """The signal along the depth as a chart: of blocks where there are some, else through every module."""
    blocks = [stage for stage in diagnosis.stages if stage.on_stream]
    stages = blocks if len(blocks) > 1 else list(diagnosis.stages)
    every = max(math.ceil(len(stages) / _MAX_STAGES), 1)
    rows = [
        {"place": place, "size": size if size > 0 else None, "direction": direction}
        for place, stage in enumerate(stages)
        if place % every == 0
        for direction, size in (("output", stage.forward), ("gradient", stage.backward))
    ]
    if len(stages) < 2 or not any(row["size"] for row in rows):
        return None
    return Figure(
        name="signal",
        title="Signal along the depth",
        caption="",
        mark="line",
        x=Axis(field="place", title=f"{'blocks' if stages is blocks else 'modules'} in the order of execution"),
        y=Axis(field="size", title="root mean square", scale="log"),
        color=Axis(field="direction", title="", kind="nominal"),
        rows=tuple(rows),
    )


def _groups(diagnosis: Diagnosis, structure: Structure | None) -> tuple[_Group, ...]:
    """The parameters by the residual branch that they lie on, else by their module; in the model's order."""
    branches: dict[str, str] = {}
    for branch in structure.branches if structure is not None else ():
        for member in branch.members:
            branches[member] = f"branch {branch.index}: {branch.name}"
    roles = {p.name: p.role.value for p in structure.parameters} if structure is not None else {}
    gathered: dict[str, list[_Square]] = {}
    for opening in diagnosis.openings:
        where = branches.get(opening.parameter) or _module_of(opening.parameter)
        gathered.setdefault(where, []).append(_square(opening, roles.get(opening.parameter, "")))
    return tuple(_Group(name=name, cells=tuple(cells)) for name, cells in gathered.items())


def _module_of(parameter: str) -> str:
    parts = parameter.split(".")
    numbered = [place for place, part in enumerate(parts[:-1]) if part.isdigit()]
    kept = parts[: numbered[0] + 1] if numbered else parts[: max(len(parts) - 1, 1)]
    return ".".join(kept)


def _square(opening: Opening, role: str) -> _Square:
    words = f"opens at step {opening.step}" if opening.step is not None else opening.fate
    shape = "×".join(map(str, opening.shape)) or "scalar"
    title = f"{opening.parameter}, {shape}{', ' + role if role else ''}: {words}"
    closed = opening.num_of("stuck", "dead")
    is_part_closed = opening.step is not None and 8 * closed >= opening.num_units
    title += f"; {closed:,} of {opening.num_units:,} units never" if is_part_closed else ""
    return _Square(key=_key(opening), title=title, is_part_closed=is_part_closed)


def _key(opening: Opening) -> str:
    if opening.step is not None:
        return str(min(opening.step, 4))
    is_harmless = opening.fate in {"unused", "undecided"} or (opening.fate == "invariant" and opening.use != "map")
    return "innocent" if is_harmless else "never"


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(names[:6])
    return f"{shown} and {len(names) - 6} more" if len(names) > 6 else shown


def _template() -> jinja2.Template:
    loader = jinja2.PackageLoader("exnihilo.report")
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    filters: dict[str, Any] = {"highlighted": highlighted}
    environment.filters.update(filters)

    def file(name: str) -> Markup:
        return Markup(loader.get_source(environment, name)[0])

    functions: dict[str, Any] = {"file": file, "named": _named}
    environment.globals.update(functions)
    return environment.get_template("diagnosis.html")
