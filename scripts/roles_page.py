"""The page on roles: what each means, how the reader tells it, what recipes do with it, and two structures drawn."""

import importlib.util
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from exnihilo.layouts import Layout
from exnihilo.plans.text import scheme_shown
from exnihilo.recipes.named import recipe_named
from exnihilo.schemes.spec import to_text
from exnihilo.structure.folding import folded
from exnihilo.structure.reader import read
from exnihilo.structure.records import Branch, Parameter, Reading, Role, Structure

ROOT = Path(__file__).resolve().parent.parent


def examples() -> ModuleType:
    """``examples/models.py``, under a name of its own: it is not the only file of the repository called so."""
    specification = importlib.util.spec_from_file_location("example_models", ROOT / "examples" / "models.py")
    if specification is None or specification.loader is None:
        raise SystemExit("examples/models.py is missing")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


EXAMPLES = examples()
RECORDS = ROOT / "src" / "exnihilo" / "structure" / "records.py"

# How the reader tells each role; what it does is said where the roles are defined.
TOLD: Mapping[Role, str] = {
    Role.EMBEDDING: "an index that depends on the input chooses its rows, or it is joined to the input's own",
    Role.POSITION: "added to activations, or looked up, at places that no input changes",
    Role.STEM: "a linear map or convolution whose input depends on no parameter",
    Role.HIDDEN: "a linear map or convolution to which no other role applies",
    Role.QUERY: "the first factor of an attention's scores, fused or written out, is made by it",
    Role.KEY: "the second factor of the scores is made by it",
    Role.VALUE: "what the scores mix is made by it",
    Role.ATTENTION_OUT: "the first map that reads what the scores mixed",
    Role.GATE: "a product of two maps of one input: an activation lies between it and the product",
    Role.UP: "the same product: no activation lies between",
    Role.RESIDUAL_OUT: "the last map on a path from the fork of `shortcut(x) + branch(x)` to the sum",
    Role.HEAD: "only views, softmaxes, sums and shifts lie between it and an output, and it is on no branch",
    Role.MODULATION: "its output multiplies what a norm made, or a whole branch, at all places alike (adaLN)",
    Role.ROUTER: "its output is ranked, or its softmax weighs what maps side by side made",
    Role.ADAPTER: "two maps in a row, narrow between, whose result is added to that of a map of the same input (LoRA)",
    Role.RECURRENT: "a parameter of a recurrent module that the run enters",
    Role.NORM_SCALE: "multiplies what was normalized, in the same operation or behind it",
    Role.NORM_SHIFT: "added to what was normalized",
    Role.BRANCH_SCALE: "multiplies behind the branch's last map (LayerScale, ReZero)",
    Role.SCALE: "multiplies anything else",
    Role.BIAS: "added in the operation of its map, or right behind it",
    Role.UNKNOWN: "the evidence says which operation reads it",
}

FAMILIES = ("xavier", "he", "lecun", "orthogonal", "gpt2")
BY_ROLE = ("zero-bias", "zero-head", "zero-residual", "depth-scaled")

VECTORS = (Role.NORM_SCALE, Role.NORM_SHIFT, Role.BRANCH_SCALE, Role.SCALE, Role.BIAS)

# Where a parameter stands, as far as a recipe asks: some roles have other values at the end of a branch.
AT_END, OF_HEAD = "at the end of a branch", "of a head"
PLACES = {
    Role.NORM_SCALE: ("", AT_END),
    Role.NORM_SHIFT: ("", AT_END),
    Role.BIAS: ("", AT_END, OF_HEAD),
    Role.MODULATION: ("", "that makes the gate of a branch"),
}


def page() -> str:
    """The whole page, without its first line."""
    return "\n".join(
        [
            "# Roles",
            "",
            "A role says what a parameter does in its model.",
            "It is read from one run of a copy of the model: which operations read it, and where their results go.",
            "No name decides it: with every submodule renamed the roles are the same.",
            "Each parameter of a `Structure` carries the evidence for its role, and a recipe assigns its laws by role.",
            "",
            "## What a role means, and how it is told",
            "",
            "Where several roles fit, the first in the order of `structure/roles.py` holds.",
            "",
            *table(("role", "what a parameter of it does", "how it is told"), meanings()),
            "",
            "`RESIDUAL_OUT` is the last linear map of a branch.",
            "What makes the branch's output zero may be a norm or a scale behind it: a branch's `outputs` name that.",
            "",
            "## What recipes do with it",
            "",
            "The families draw maps by their own law, and share one law for all else.",
            "The recipes beside them write a few roles and keep the rest.",
            "`default` keeps everything; `zeros`, `constant` and `zeros+noise` write everything that is not frozen.",
            "A scale that the model multiplies as `1 + w` gets `zeros` for a factor of 1, and -1 for a factor of 0.",
            "Where a role has no rule, the plan is refused and names the parameter, unless no output depends on it.",
            "Each recipe has [its own page](recipes/README.md).",
            "",
            *table(("role", ", ".join(f"`{name}`" for name in FAMILIES), *(f"`{n}`" for n in BY_ROLE)), laws()),
            *drawn("a bottleneck ResNet", "resnet", read(*EXAMPLES.resnet())),
            *drawn("a Llama", "llama", read(*EXAMPLES.llama())),
            "",
        ]
    )


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    return [f"| {' | '.join(line)} |" for line in (columns, ["---"] * len(columns), *rows)]


def meanings() -> list[tuple[str, str, str]]:
    """Each role, its comment in the enumeration, and how the reader tells it."""
    text = RECORDS.read_text(encoding="utf-8")
    notes = dict(re.findall(r'^    ([A-Z_]+) = "[A-Z_]+"  # (.+)$', text, re.MULTILINE))
    return [(f"`{role}`", notes[role.name], TOLD[role]) for role in Role]


def laws() -> list[tuple[str, ...]]:
    """For each role, what the families and the recipes beside them do with it: their own answer for a structure."""
    structure = one_of_each()
    families = [answers(name, structure) for name in FAMILIES]
    others = [answers(name, structure) for name in BY_ROLE]
    rows: list[tuple[str, ...]] = []
    for role in Role:
        shared = {name: " / ".join(sorted({answer[name] for answer in families})) for name in placed(role)}
        rows.append((f"`{role}`", in_one(role, shared), *(in_one(role, answer) for answer in others)))
    return rows


def in_one(role: Role, answer: Mapping[str, str]) -> str:
    """One cell: the law of a role, and where it is another."""
    first, *rest = [(answer[name], place) for name, place in placed(role).items()]
    others: dict[str, list[str]] = {}
    for law, place in rest:
        if law != first[0]:
            others.setdefault(law, []).append(place)
    return "; ".join([first[0], *(f"{law} {' and '.join(places)}" for law, places in others.items())])


def placed(role: Role) -> dict[str, str]:
    """The parameters of a role in the structure that has one of each, and where each stands."""
    return {f"{role} {place}".strip(): place for place in PLACES.get(role, ("",))}


def answers(name: str, structure: Structure) -> dict[str, str]:
    """What a recipe assigns to each parameter, in words."""
    assigned = recipe_named(name).assign(structure)
    words = dict.fromkeys((parameter.name for parameter in structure.parameters), "no rule")
    for parameter in structure.parameters:
        if parameter.name in assigned:
            scheme = assigned[parameter.name].scheme
            own = scheme is not None and scheme.expected_std(parameter.layout) > 0 and bool(parameter.layout.in_dims)
            text = "keep" if scheme is None else f"`{scheme_shown(to_text(scheme))}`"
            words[parameter.name] = "its law" if own and not is_looked_up(parameter) else text
    return words


def is_looked_up(parameter: Parameter) -> bool:
    """Its rows are looked up, by the input or by place."""
    return parameter.role in (Role.EMBEDDING, Role.POSITION)


def one_of_each() -> Structure:
    """A structure with a parameter for each role and place, in branches that end in a map, a norm, a scale, a gate."""
    parameters = tuple(
        Parameter(
            name=name,
            path=name,
            shape=(4,) if role in VECTORS else (4, 4),
            dtype="float32",
            layout=Layout.vector(4) if role in VECTORS else Layout.linear(out=4, in_=4),
            role=role,
            evidence="",
            follows=Role.HEAD if place == OF_HEAD else None,
        )
        for role in Role
        for name, place in placed(role).items()
    )
    scale, gate = str(Role.BRANCH_SCALE), f"{Role.MODULATION} {PLACES[Role.MODULATION][1]}"
    ends: tuple[dict[str, Any], ...] = (
        {"maps": (Role.RESIDUAL_OUT,), "outputs": (Role.RESIDUAL_OUT,), "output_biases": (f"{Role.BIAS} {AT_END}",)},
        {"outputs": (f"{Role.NORM_SCALE} {AT_END}",), "output_biases": (f"{Role.NORM_SHIFT} {AT_END}",)},
        {"outputs": (scale,), "scales": (scale,)},
        {"modulated_by": (gate,)},
    )
    branches = tuple(
        Branch(index=i, name="", shortcut="identity", members=(), **({"maps": (), "outputs": ()} | end))
        for i, end in enumerate(ends)
    )
    reading = Reading(mode="meta", dtype="float32", training=True, num_ops=0)
    return Structure(model="one of each", parameters=parameters, branches=branches, reading=reading)


def drawn(title: str, factory: str, structure: Structure) -> list[str]:
    """A section with the drawing of a structure, and what ``print`` shows of it."""
    return [
        "",
        f"## The structure of {title}",
        "",
        f"`examples/models.py:{factory}`, from the stem at the top to the head.",
        "Blocks that repeat stand once; a thick arrow is a branch, a dotted one its shortcut.",
        "",
        "```mermaid",
        *drawing(structure),
        "```",
        "",
        "As `print` shows it:",
        "",
        "```text",
        str(structure),
        "```",
    ]


def drawing(structure: Structure) -> list[str]:
    """The stream from stem to head as a Mermaid flowchart."""
    before, after = outside(structure)
    unit, times = repeated([kind(structure, branch) for branch in structure.branches])
    lines = ["flowchart TB", f'    start["{listed(structure, before)}"] --> fork0(( ))']
    if times > 1:
        lines.append(f'    subgraph repeated["{times} times"]')
    for i in range(len(unit)):
        branches = structure.branches[i :: len(unit)]
        members = [name for branch in branches for name in branch.members]
        shortcuts = [name for branch in branches for name in branch.shortcut_members]
        here, there = f"fork{i}", f"fork{i + 1}"
        lines += [
            f'    {here} ==> branch{i}["{listed(structure, members)}"]',
            f'    branch{i} ==> {there}(("+"))',
        ]
        if shortcuts:
            lines += [
                f'    {here} -. {branches[0].shortcut} .-> shortcut{i}["{listed(structure, shortcuts)}"]',
                f"    shortcut{i} -.-> {there}",
            ]
        else:
            lines.append(f"    {here} -. {branches[0].shortcut} .-> {there}")
    lines += ["    end"] if times > 1 else []
    return [*lines, f'    fork{len(unit)} --> finish["{listed(structure, after)}"]']


def outside(structure: Structure) -> tuple[list[str], list[str]]:
    """The parameters before the first branch and behind the last, in the model's order."""
    inside = {name for branch in structure.branches for name in (*branch.members, *branch.shortcut_members)}
    names = [parameter.name for parameter in structure.parameters]
    first = next(i for i, name in enumerate(names) if name in inside)
    return names[:first], [name for name in names[first:] if name not in inside]


def listed(structure: Structure, names: Sequence[str]) -> str:
    """A line for each parameter with its role; what makes a branch's output zero is bold and marked."""
    outputs = {name for branch in structure.branches for name in (*branch.outputs, *branch.output_biases)}
    roles = {name: structure.by_name[name].role for name in names}
    patterns = folded(names, str, lambda name: (roles[name], name in outputs))
    return "<br/>".join(
        f"<b>{pattern}: {roles[name]}, residual output</b>" if name in outputs else f"{pattern}: {roles[name]}"
        for pattern, name, _ in patterns
    )


def kind(structure: Structure, branch: Branch) -> tuple[str, ...]:
    """What two branches share that are drawn as one: all but the numbers in their names."""
    parts = (*branch.members, "|", *branch.shortcut_members, "|", *branch.outputs)
    return (branch.shortcut, *(re.sub(r"\b\d+\b", "#", name, count=1) for name in parts))


def repeated(kinds: Sequence[Any]) -> tuple[Sequence[Any], int]:
    """The shortest run of which a sequence is made by repeating it, and how often.

    Example:
        >>> repeated("abab")
        ('ab', 2)
    """
    length = next(n for n in divisors(len(kinds)) if all(kinds[i] == kinds[i % n] for i in range(len(kinds))))
    return kinds[:length], len(kinds) // length


def divisors(count: int) -> Iterator[int]:
    """The divisors of a number, the smallest first."""
    return (n for n in range(1, count + 1) if count % n == 0)
