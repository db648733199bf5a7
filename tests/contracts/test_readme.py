"""README.md shows what its commands print, and its blocks run; the script that sees to it can tell when they do not."""

import importlib.util
import subprocess
import sys

import imports
import pytest

SCRIPT = imports.ROOT / "scripts" / "write_readme.py"


@pytest.fixture(scope="module")
def script():
    specification = importlib.util.spec_from_file_location("write_readme", SCRIPT)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_the_readme_is_current():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_command_is_shown_with_what_it_prints(script, tmp_path):
    text = "Before.\n\n<!-- output of: echo one; echo two >&2 -->\nwrong\n<!-- end -->\nAfter.\n"
    fresh = script.render(text, tmp_path)
    assert fresh == (
        "Before.\n\n<!-- output of: echo one; echo two >&2 -->\n"
        "```console\n$ echo one; echo two >&2\none\ntwo\n```\n<!-- end -->\nAfter.\n"
    )
    assert script.render(fresh, tmp_path) == fresh


def test_commands_use_the_python_that_runs_the_script(script, tmp_path):
    text = '<!-- output of: python -c "import sys; print(sys.prefix)" -->\n<!-- end -->\n'
    assert sys.prefix in script.render(text, tmp_path)


def test_a_file_is_shown_as_it_stands(script, tmp_path):
    fresh = script.render("<!-- file: CITATION.cff -->\n<!-- end -->\n", tmp_path)
    assert (imports.ROOT / "CITATION.cff").read_text().strip() in fresh


def test_marked_blocks_run_in_order_in_one_folder(script, tmp_path):
    text = (
        "<!-- run -->\n```sh\necho 3 > number\n```\n```sh\nfalse\n```\n"
        '<!-- run -->\n```python\nassert open("number").read() == "3\\n"\n```\n'
    )
    script.require_known_markers(text)
    assert script.run_blocks(text, tmp_path) == 2


@pytest.mark.parametrize("block", ["sh\nfalse", "python\nassert False", "sh\nfalse | true"])
def test_a_block_that_fails_is_an_error_that_shows_it(script, tmp_path, block):
    with pytest.raises(script.FailedBlock, match=r"exit code 1 of: "):
        script.run_blocks(f"<!-- run -->\n```{block}\n```\n", tmp_path)


@pytest.mark.parametrize(
    "text",
    ["<!-- output of: ls -->\nno end\n", "<!-- run -->\nno block\n", "<!-- run -->\n```console\n$ ls\n```\n"],
)
def test_a_marker_that_nothing_reads_is_refused(script, text):
    with pytest.raises(script.FailedBlock, match="1 markers, of which 0"):
        script.require_known_markers(text)
