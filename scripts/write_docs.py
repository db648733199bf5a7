"""Writes the pages that repeat the code: docs/recipes/ from the recipes' docstrings, and docs/roles.md from real reads.

python scripts/write_docs.py            rewrites them
python scripts/write_docs.py --check    changes nothing; ends with 1 and names each page that is not current
"""

import argparse
import inspect
import re
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples"))

from models import llama, resnet  # noqa: E402  # the examples are found through the path above

from exnihilo.errors import ExnihiloError  # noqa: E402
from exnihilo.plans.make import plan  # noqa: E402
from exnihilo.recipes.named import RECIPES, recipes  # noqa: E402
from exnihilo.structure.reader import read  # noqa: E402
from exnihilo.structure.records import Branch, Role, Structure  # noqa: E402

RECORDS = ROOT / "src" / "exnihilo" / "structure" / "records.py"
SECTION = re.compile(r"^(Rule|Promise|Fails when|Args|Raises|Example|References|Differs):$", re.MULTILINE)
TITLES = {"Args": "Options", "Raises": "Refuses"}
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
MADE = "<!-- written by scripts/write_docs.py -->"


def pages() -> Mapping[Path, str]:
    """Each page and what it should say."""
    structures = {"a bottleneck ResNet": read(*resnet()), "a Llama": read(*llama())}
    found = {ROOT / "docs" / "recipes" / "README.md": index()}
    for name in RECIPES:
        found[ROOT / "docs" / "recipes" / f"{name}.md"] = recipe_page(name)
    found[ROOT / "docs" / "roles.md"] = roles_page(structures)
    return found


def index() -> str:
    """The recipes, a line each."""
    lines = [f"- [`{name}`]({name}.md): {line}" for name, line in recipes().items()]
    intro = [
        "A recipe is a law for a whole model: it gives each parameter a scheme by its role, or keeps it.",
        "It is named with its options, such as `depth-scaled(per=layer)`, in `xn.plan` and after `--recipe`.",
    ]
    return "\n".join([MADE, "# Recipes", "", *intro, "", *lines, ""])


def recipe_page(name: str) -> str:
    """One recipe: its docstring by sections, and what it plans for an example."""
    text = inspect.cleandoc(RECIPES[name].__doc__ or "")
    head, *parts = SECTION.split(text)
    lines = [MADE, f"# {name}", "", head.strip(), ""]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        lines += [f"## {TITLES.get(title, title)}", "", *section(title, inspect.cleandoc(body.strip("\n"))), ""]
    lines += [
        "## For a small Llama",
        "",
        "`examples/models.py:llama`, four layers:",
        "",
        "```text",
        planned(name),
        "```",
    ]
    return "\n".join([*lines, ""])


def section(title: str, body: str) -> list[str]:
    """A section of a docstring as Markdown."""
    if title == "Example":
        return ["```python", body, "```"]
    if title in ("Args", "Raises"):
        entries = re.split(r"\n(?=\S)", body)
        told = [" ".join(entry.split()).replace("``", "`").partition(": ") for entry in entries]
        return [f"- `{name}`: {text}" for name, _, text in told]
    return [line.replace("``", "`") for line in body.splitlines()]


def planned(name: str) -> str:
    """The plan that a recipe makes for the example, or why it refuses it."""
    model, example = llama()
    try:
        return str(plan(model, name, example=example))
    except ExnihiloError as error:
        return str(error)


def roles_page(structures: Mapping[str, Structure]) -> str:
    """Every role with its meaning, and two structures drawn."""
    notes = dict(re.findall(r'^    ([A-Z_]+) = "[A-Z_]+"(?:  # (.*))?$', RECORDS.read_text(), re.MULTILINE))
    lines = [
        MADE,
        "# Roles",
        "",
        "A role says what a parameter does in its model.",
        "It is read from one run of a copy of the model: which operations read it, and where their results go.",
        "No name decides it: with every submodule renamed the roles are the same.",
        "Each parameter of a `Structure` carries the evidence for its role, and a recipe assigns its laws by role.",
        "",
        "| role | what a parameter of it does | how it is told |",
        "| --- | --- | --- |",
        *(f"| `{role}` | {notes[role.name]} | {TOLD[role]} |" for role in Role),
        "",
        "`RESIDUAL_OUT` is the last linear map of a branch.",
        "What makes the branch's output zero may be a norm or a scale behind it: a branch's `outputs` name that.",
        "In the drawings each kind of branch stands once, with how many there are; the dotted line is its shortcut.",
    ]
    for title, structure in structures.items():
        lines += ["", f"## The structure of {title}", "", *drawing(structure), "", "```text", str(structure), "```"]
    return "\n".join([*lines, ""])


def drawing(structure: Structure) -> list[str]:
    """The stream from stem to head, each kind of branch once, as a Mermaid flowchart; dashed: the shortcut."""
    by_name = structure.by_name
    kinds = list(dict.fromkeys(_kind(branch) for branch in structure.branches))
    first = [p.name for p in structure.parameters if p.role in (Role.STEM, Role.EMBEDDING)][:1]
    last = [p.name for p in structure.parameters if p.role is Role.HEAD][:1]
    lines = ["```mermaid", "flowchart LR", f'    start["{first[0]}<br/>{by_name[first[0]].role}"] --> s0(( ))']
    for i, (members, outputs, shortcut, times) in enumerate(
        (*kind, sum(_kind(branch) == kind for branch in structure.branches)) for kind in kinds
    ):
        inside = "<br/>".join(f"{name}: {_role_of(structure, name)}" for name in members)
        label = f"{times} × " if times > 1 else ""
        lines.append(f'    s{i} --> b{i}["{label}branch<br/>{inside}"] --> s{i + 1}(("+"))')
        lines.append(f"    s{i} -. {shortcut} .-> s{i + 1}")
        lines.append(f"    %% residual outputs: {', '.join(outputs)}")
    lines.append(f'    s{len(kinds)} --> finish["{last[0]}<br/>{by_name[last[0]].role}"]')
    return [*lines, "```"]


def _kind(branch: Branch) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    short = tuple(name.removeprefix("blocks.").partition(".")[2] or name for name in branch.members)
    return short, tuple(name.removeprefix("blocks.").partition(".")[2] for name in branch.outputs), branch.shortcut


def _role_of(structure: Structure, short: str) -> str:
    found = next(p for p in structure.parameters if p.name.endswith(f".{short}"))
    ends = any(found.name in branch.outputs for branch in structure.branches)
    return f"<b>{found.role}</b>, residual output" if ends else str(found.role)


def main() -> int:
    """Reads the arguments and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 if a page is not current")
    check = parser.parse_args().check
    found = pages()
    stale = [path for path, text in found.items() if not path.exists() or path.read_text() != text]
    stale += [path for path in (ROOT / "docs" / "recipes").glob("*.md") if path not in found]
    for path in stale:
        print(f"{path.relative_to(ROOT)} is not current")
        if not check and path in found:
            path.parent.mkdir(exist_ok=True)
            path.write_text(found[path])
        elif not check:
            path.unlink()
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
