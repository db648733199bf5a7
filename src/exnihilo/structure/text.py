"""A structure as one screen of plain text. Needs no torch."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from exnihilo.structure.folding import folded
from exnihilo.structure.records import Attention, Branch, GatedMap, NormPlacement, Parameter, Role, Structure

MAX_LINES = 45
MAX_COLUMNS = 100

_NORMS: dict[NormPlacement, str] = {
    "pre": "pre-norm",
    "post": "post-norm",
    "sandwich": "sandwich norm",
    "inner": "norm inside",
    "none": "no norm",
}
_MODES = {
    "meta": "without memory (meta tensors)",
    "fake": "without memory (fake tensors)",
    "real": "on a copy in memory",
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Section:
    """A title and its lines, of which the last may be left out where the screen is too small."""

    title: str
    lines: tuple[str, ...]
    can_shrink: bool = True

    def shrunk(self, num_lines: int) -> "_Section":
        """The section with its last lines counted and not shown."""
        hidden = len(self.lines) - num_lines + 1
        return self if hidden < 2 else _Section(self.title, (*self.lines[: num_lines - 1], f"  … {hidden} more lines"))


def screen(structure: Structure, *, columns: int = MAX_COLUMNS) -> str:
    """The structure as one screen: branches, attention and gated maps folded, roles counted, what is unusual last.

    Args:
        structure: What ``read`` returned.
        columns: Characters in a line; longer ones are cut. Default 100. Lines are at most 45, however deep the model:
            where there is more to say, the longest lists are cut, and the cut is counted.
    """
    head = [f"{structure.model}: {_size(structure)}, {_depth(structure)}", _reading(structure)]
    sections = [
        _Section(_titled("Residual branches", len(structure.branches)), _folded(structure.branches, _branch_cells)),
        _Section(_titled("Attention", len(structure.attentions)), _folded(structure.attentions, _attention_cells)),
        _Section(_titled("Gated maps", len(structure.gated_maps)), _folded(structure.gated_maps, _gated_cells)),
        _Section("Roles: how many, elements, an example", _role_lines(structure.parameters), can_shrink=False),
        _Section("To note", _notes(structure)),
    ]
    shown = _fitting([section for section in sections if section.lines], MAX_LINES - len(head))
    lines = [*head, *(line for section in shown for line in ("", section.title, *section.lines))]
    return "\n".join(_cut(line, columns) for line in lines)


def _size(structure: Structure) -> str:
    owners = _owners(structure.parameters)
    tied = len(structure.parameters) - len(owners)
    noun = "parameter" if len(owners) == 1 else "parameters"
    elements = sum(map(_numel, owners))
    return f"{len(owners)} {noun}{f' (and {tied} tied)' if tied else ''} of {elements:,} elements"


def _depth(structure: Structure) -> str:
    depth = structure.depth
    return f"{depth} residual branch{'' if depth == 1 else 'es'} deep" if depth else "no residual branch"


def _reading(structure: Structure) -> str:
    reading = structure.reading
    mode = "training" if reading.training else "evaluation"
    return f"read {_MODES[reading.mode]} in {reading.dtype}, {mode} mode, {reading.num_ops:,} operations"


def _titled(title: str, count: int) -> str:
    return f"{title} ({count})"


def _branch_cells(branch: Branch) -> tuple[str, str]:
    inside = branch.name
    notes = [branch.shortcut, _NORMS[branch.norm], *(["nested"] if branch.parent is not None else [])]
    ends = [_listed(inside, branch.maps)] if branch.maps else []
    if branch.outputs and branch.outputs != branch.maps:
        ends.append(_listed(inside, branch.outputs))
    if branch.ends_in:
        ends.append(branch.ends_in)
    scales = [scale for scale in branch.scales if scale not in branch.outputs]
    ends += [f"scaled by {_listed(inside, scales)}"] if scales else []
    ends += [f"gated by {_listed(inside, branch.modulated_by)}"] if branch.modulated_by else []
    ends += ["drop path"] if branch.drop_path else []
    return inside, f"{', '.join(notes)} → {' → '.join(ends)}" if ends else ", ".join(notes)


def _attention_cells(attention: Attention) -> tuple[str, str]:
    parts = {"query": attention.query, "key": attention.key, "value": attention.value}
    inside = _prefix([name for names in (*parts.values(), attention.out) for name in names])
    # Roles made by the same weights are named together: `query, key, value c_attn`.
    makers: dict[tuple[str, ...], list[str]] = {}
    for part, names in parts.items():
        if names:
            makers.setdefault(tuple(dict.fromkeys(names)), []).append(part)
    said = " · ".join(f"{', '.join(made)} by {_listed(inside, names)}" for names, made in makers.items())
    return inside, f"{said} → {_listed(inside, attention.out)}" if attention.out else said


def _gated_cells(gated: GatedMap) -> tuple[str, str]:
    if gated.gate == gated.up:
        return gated.gate.removesuffix(".weight"), f"{gated.activation}, both factors in one weight"
    inside = _prefix((gated.gate, gated.up))
    return inside, f"{_listed(inside, [gated.gate])} → {gated.activation}, × {_listed(inside, [gated.up])}"


def _role_lines(parameters: Sequence[Parameter]) -> tuple[str, ...]:
    groups: dict[str, list[Parameter]] = {}
    order = list(Role)
    for parameter in sorted(_owners(parameters), key=lambda parameter: order.index(parameter.role)):
        groups.setdefault(_roles(parameter), []).append(parameter)
    rows = [
        (label, str(len(group)), f"{sum(map(_numel, group)):,}", _example(group), _shape(group[0]))
        for label, group in groups.items()
    ]
    if not rows:
        return ()
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    return tuple(
        f"  {role:<{widths[0]}}  {count:>{widths[1]}}  {elements:>{widths[2]}}  {example}  {shape}"
        for role, count, elements, example, shape in rows
    )


def _roles(parameter: Parameter) -> str:
    """The role, or those of the logical matrices in a packed tensor."""
    return "+".join(dict.fromkeys(part.role for part in parameter.slices)) or parameter.role


def _example(group: Sequence[Parameter]) -> str:
    lines = folded(group, lambda parameter: parameter.name, lambda parameter: parameter.shape)
    return lines[0][0]


def _shape(parameter: Parameter) -> str:
    return "×".join(map(str, parameter.shape)) or "scalar"


def _notes(structure: Structure) -> tuple[str, ...]:
    owners = _owners(structure.parameters)
    kinds: list[tuple[str, list[Parameter], Callable[[Parameter], str]]] = [
        ("tied", [p for p in structure.parameters if p.tied_to], lambda p: f"one tensor with {p.tied_to}"),
        ("unused", [p for p in owners if not p.used], lambda p: p.evidence),
        ("detached", [p for p in owners if p.used and p.detached], lambda _: "used, and no gradient reaches it"),
        ("frozen", [p for p in owners if p.frozen], lambda _: "requires_grad=False"),
        ("unknown", [p for p in owners if p.used and p.role is Role.UNKNOWN], lambda p: p.evidence),
    ]
    failures = [f"  an earlier way to read it failed: {why}" for why in structure.reading.failures]
    return (*(line for kind, found, why in kinds for line in _noted(kind, found, why)), *failures)


def _noted(kind: str, found: Sequence[Parameter], why: Callable[[Parameter], str]) -> tuple[str, ...]:
    lines = folded(found, lambda parameter: parameter.name, why)
    shown = [f"  {kind:<8}  {pattern}: {why(parameter)}" for pattern, parameter, _ in lines[:3]]
    hidden = sum(count for _, _, count in lines[3:])
    return (*shown, *([f"  {kind:<8}  … and {hidden} more"] if hidden else []))


def _owners(parameters: Iterable[Parameter]) -> list[Parameter]:
    return [parameter for parameter in parameters if parameter.tied_to is None]


def _numel(parameter: Parameter) -> int:
    return parameter.layout.numel


def _folded(entries: Iterable[T], cells: Callable[[T], tuple[str, str]]) -> tuple[str, ...]:
    """Two columns, a line for all entries whose cells differ in numbers alone."""
    texts = [f"{inside or 'the model'}\t{said}" for inside, said in map(cells, entries)]
    rows = [pattern.split("\t") for pattern, _, _ in folded(texts, str, lambda _: 0)]
    width = max((len(inside) for inside, _ in rows), default=0)
    return tuple(f"  {inside:<{width}}  {said}" for inside, said in rows)


def _listed(inside: str, names: Iterable[str]) -> str:
    """Names without the part that they share with what they lie in, and weights by their modules."""
    start = f"{inside}." if inside else ""
    return " + ".join(dict.fromkeys(name.removeprefix(start).removesuffix(".weight") for name in names))


def _prefix(names: Sequence[str]) -> str:
    """The longest run of whole parts that all names begin with."""
    parts = [name.split(".")[:-1] for name in names]
    shared: list[str] = []
    for column in zip(*parts, strict=False):
        if len(set(column)) > 1:
            break
        shared.append(column[0])
    return ".".join(shared)


def _fitting(sections: Sequence[_Section], num_lines: int) -> list[_Section]:
    """The sections, the longest of those that can shrink cut until all fit."""
    sizes = [len(section.lines) for section in sections]
    shrinking = [i for i, section in enumerate(sections) if section.can_shrink]
    while sum(sizes) + 2 * len(sections) > num_lines and any(sizes[i] > 2 for i in shrinking):
        longest = max(shrinking, key=lambda i: sizes[i])
        sizes[longest] -= 1
    return [section.shrunk(size) for section, size in zip(sections, sizes, strict=True)]


def _cut(line: str, columns: int) -> str:
    return line if len(line) <= columns else f"{line[: columns - 1]}…"
