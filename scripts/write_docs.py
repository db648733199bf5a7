"""Writes the pages that repeat the code: docs/recipes/ and docs/rules.md from docstrings, docs/roles.md from real reads.

python scripts/write_docs.py            rewrites them
python scripts/write_docs.py --check    changes nothing; ends with 1 and names each page that is not current
"""

import argparse
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

import roles_page  # noqa: E402  # found through the path above
import rules_page  # noqa: E402  # the same
from torch import Tensor, nn  # noqa: E402

from exnihilo.errors import ExnihiloError  # noqa: E402
from exnihilo.plans.make import plan  # noqa: E402
from exnihilo.recipes.named import RECIPES, recipes  # noqa: E402

SECTION = re.compile(r"^(Rule|Promise|Fails when|Args|Raises|Example|References|Differs):$", re.MULTILINE)
TITLES = {"Args": "Options", "Raises": "Refuses"}
MODELS = {"a small Llama": roles_page.EXAMPLES.llama, "a small bottleneck ResNet": roles_page.EXAMPLES.resnet}
MADE = "<!-- written by scripts/write_docs.py -->"

# A sentence ends at a stop before a capital or before code.
SENTENCE = re.compile(r"(?<=[.]) +(?=[A-Z`])")


def pages() -> Mapping[Path, str]:
    """Each page and what it should say."""
    found = {ROOT / "docs" / "recipes" / "README.md": index()}
    for name in RECIPES:
        found[ROOT / "docs" / "recipes" / f"{name}.md"] = recipe_page(name)
    found[ROOT / "docs" / "roles.md"] = f"{MADE}\n{roles_page.page()}"
    found[ROOT / "docs" / "rules.md"] = f"{MADE}\n{rules_page.page()}"
    return found


def index() -> str:
    """The recipes, a line each."""
    lines = [f"- [`{name}`]({name}.md): {code(line)}" for name, line in recipes().items()]
    intro = [
        "A recipe is a law for a whole model: by its [role](../roles.md) each parameter gets a scheme, or is kept.",
        "It is named with its options, such as `depth-scaled(per=layer)`, in `xn.plan` and after `--recipe`.",
    ]
    return "\n".join([MADE, "# Recipes", "", *intro, "", *lines, ""])


def recipe_page(name: str) -> str:
    """One recipe: its docstring by sections, and what it plans for two examples."""
    recipe = RECIPES[name]
    head, *parts = SECTION.split(inspect.cleandoc(recipe.__doc__ or ""))
    lines = [MADE, f"# {name}", "", *prose(head.strip()), ""]
    for title, body in zip(parts[::2], parts[1::2], strict=True):
        body = dedent(body.strip("\n")).rstrip()
        if title == "Example":
            body = f">>> from {recipe.__module__} import {getattr(recipe, '__name__', '')}\n{body}"
        lines += [f"## {TITLES.get(title, title)}", "", *section(title, body), ""]
    for title, factory in MODELS.items():
        lines += [f"## For {title}", "", f"`examples/models.py:{factory.__name__}`", ""]
        lines += ["```text", planned(name, factory), "```", ""]
    return "\n".join(lines)


def section(title: str, body: str) -> list[str]:
    """A section of a docstring as Markdown."""
    match title:
        case "Example":
            return ["```pycon", body, "```"]
        case "Args" | "Raises":
            entries = [entry.partition(": ") for entry in joined(body, r"\n(?=\S)")]
            return [line for name, _, text in entries for line in item(f"`{name}`: {text}")]
        case "References":
            return [f"- {code(entry)}" for entry in joined(body, r"\n(?=[^\n]*\(\d{4}\))")]
        case _ if body.startswith("- "):
            return [line for entry in joined(body, r"\n(?=- )") for line in item(entry.removeprefix("- "))]
        case _:
            return prose(body)


def joined(body: str, start: str) -> list[str]:
    """The entries of a list, each on one line."""
    return [" ".join(entry.split()) for entry in re.split(start, body)]


def item(text: str) -> list[str]:
    """A list item, one sentence a line."""
    first, *rest = prose(text)
    return [f"- {first}", *(f"  {line}" for line in rest)]


def prose(text: str) -> list[str]:
    """Prose, one sentence a line."""
    return SENTENCE.split(code(" ".join(text.split())))


def code(text: str) -> str:
    """Docstrings put code between two backticks, Markdown between one."""
    return text.replace("``", "`")


def planned(name: str, factory: Callable[[], tuple[nn.Module, Tensor]]) -> str:
    """The plan that a recipe makes for an example, or why it refuses it."""
    model, example = factory()
    try:
        return str(plan(model, name, example=example))
    except ExnihiloError as error:
        return str(error)


def main() -> int:
    """Reads the arguments and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 if a page is not current")
    check = parser.parse_args().check
    found = pages()
    old = {path for path in (ROOT / "docs" / "recipes").glob("*.md") if path not in found}
    stale = [path for path, text in found.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in (*stale, *sorted(old)):
        print(f"{path.relative_to(ROOT)} is not current")
        if check:
            continue
        if path in old:
            path.unlink()
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(found[path], encoding="utf-8")
    return 1 if check and (stale or old) else 0


if __name__ == "__main__":
    sys.exit(main())
