"""The pages that repeat the code are what the script would write, and it says so when they are not."""

import importlib.util
import subprocess
import sys

import imports
import pytest

from exnihilo.structure.records import Role

SCRIPT = imports.ROOT / "scripts" / "write_docs.py"


@pytest.fixture(scope="module")
def script():
    path = list(sys.path)
    specification = importlib.util.spec_from_file_location("write_docs", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    yield module
    sys.path[:] = path


def cells(page, heading):
    """The rows of the table under a heading, by their first cell."""
    lines = page.split(f"## {heading}\n")[1].split("\n## ")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    return {row[0].strip("`"): row[1:] for row in rows}


def test_the_pages_are_current():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_section_of_a_docstring_is_on_its_page(script):
    page = script.recipe_page("zero-residual")
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        *("## Rule", "## Promise", "## Fails when", "## Options", "## Refuses", "## Example", "## References"),
        *("## For a small Llama", "## For a small bottleneck ResNet"),
    ]
    assert "closes a residual branch" in page
    assert "``" not in page.replace("```", "")


def test_a_wrapped_option_and_a_wrapped_reference_are_one_entry_each(script):
    options = "base: The law,\n    before. Default 1.\nper: ``2``."
    assert script.section("Args", options) == ["- `base`: The law, before.", "  Default 1.", "- `per`: `2`."]
    references = "Radford et al. (2019), Models,\nsection 2.\nZhang (2019), Depth."
    assert script.section("References", references) == [
        "- Radford et al. (2019), Models, section 2.",
        "- Zhang (2019), Depth.",
    ]


def test_every_role_has_a_meaning_a_way_to_tell_it_and_a_law(script):
    page = script.roles_page.page()
    meanings = cells(page, "What a role means, and how it is told")
    laws = cells(page, "What recipes do with it")
    assert list(meanings) == list(laws) == [str(role) for role in Role]
    assert all(all(row) for row in (*meanings.values(), *laws.values()))
    assert laws["BIAS"][:3] == ["`zeros`", "`zeros`", "keep; `zeros` of a head"]
    assert laws["UNKNOWN"] == ["no rule", "keep", "keep", "keep", "keep"]


def test_blocks_that_repeat_are_drawn_once_and_those_that_do_not_each_for_itself(script):
    assert script.roles_page.repeated("abab") == ("ab", 2)
    assert script.roles_page.repeated("aba") == ("aba", 1)


def test_a_drawing_has_every_parameter_once_and_marks_what_ends_a_branch(script):
    structure = script.roles_page.read(*script.roles_page.EXAMPLES.resnet())
    text = "\n".join(script.roles_page.drawing(structure))
    drawn = [name for part in text.split('"')[1::2] for name in part.split("<br/>") if ": " in name]
    assert sum(2 if "{" in name else 1 for name in drawn) == len(structure.parameters)
    marked = {name.split(":")[0] for name in drawn if "residual output" in name}
    assert marked == {f"<b>blocks.{{{k}}}.bn3.{end}" for k in ("0,2", "1,3") for end in ("weight", "bias")}
