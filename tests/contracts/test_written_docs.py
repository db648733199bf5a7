"""The pages that repeat the code are what the script would write, and it says so when they are not."""

import subprocess
import sys

import imports

SCRIPT = imports.ROOT / "scripts" / "write_docs.py"


def test_the_pages_are_current():
    done = subprocess.run([sys.executable, SCRIPT, "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_section_of_a_docstring_is_on_its_page():
    page = (imports.ROOT / "docs" / "recipes" / "zero-residual.md").read_text()
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert headings == [
        *("## Rule", "## Promise", "## Fails when", "## Refuses", "## Example", "## References"),
        "## For a small Llama",
    ]
    assert "closes a residual branch" in page
    assert "``" not in page.replace("```", "")
