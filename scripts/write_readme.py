"""Writes the outputs that README.md shows, so that none is pasted by hand.

Three markers, each an HTML comment on its own line, closed by ``<!-- end -->`` where text is generated:

``<!-- output of: COMMAND -->``  the command, run in an empty folder beside examples/, and what it prints
``<!-- file: PATH -->``          a file of the repository
``<!-- run -->``                 the fenced ``sh`` or ``python`` block that follows is run and must succeed

    python scripts/write_readme.py            rewrites README.md
    python scripts/write_readme.py --check    changes nothing; ends with 1 and a diff if a shown output is not current

Commands find the ``exnihilo`` that is installed beside the Python that runs this script.
"""

import argparse
import difflib
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"

GENERATED = re.compile(
    r"^<!-- (?P<kind>output of|file): (?P<what>.+?) -->\n.*?^<!-- end -->$", re.MULTILINE | re.DOTALL
)
RUNNABLE = re.compile(r"^<!-- run -->\n+```(?P<language>sh|python)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
MARKER = re.compile(r"^<!-- (?:output of: .+|file: .+|run) -->$", re.MULTILINE)
FENCE_LANGUAGES = {".py": "python", ".sh": "sh", ".toml": "toml", ".csv": "text"}


class FailedBlock(Exception):
    """A block of the README whose command fails."""


def render(text: str, folder: Path) -> str:
    """The text with every generated block written anew; commands run in ``folder``."""

    def block(match: re.Match[str]) -> str:
        kind, what = match["kind"], match["what"]
        if kind == "file":
            language = FENCE_LANGUAGES.get(Path(what).suffix, "text")
            body = (ROOT / what).read_text()
        else:
            language = "console"
            body = f"$ {what}\n{run(['bash', '-euo', 'pipefail', '-c', what], folder)}"
        return f"<!-- {kind}: {what} -->\n```{language}\n{body.rstrip()}\n```\n<!-- end -->"

    return GENERATED.sub(block, text)


def run_blocks(text: str, folder: Path) -> int:
    """Runs the blocks marked so, in order, in one folder; returns how many there are."""
    blocks = list(RUNNABLE.finditer(text))
    for match in blocks:
        interpreter = ["bash", "-euo", "pipefail", "-c"] if match["language"] == "sh" else [sys.executable, "-c"]
        run([*interpreter, match["code"]], folder)
    return len(blocks)


def require_known_markers(text: str) -> None:
    """Refuses a marker that nothing reads: one without its end, or without its fence."""
    known = len(GENERATED.findall(text)) + len(RUNNABLE.findall(text))
    if known != len(MARKER.findall(text)):
        raise FailedBlock(f"{len(MARKER.findall(text))} markers, of which {known} have an end or a fenced block")


def run(command: list[str], folder: Path) -> str:
    """What a command prints, both streams as a reader sees them, without color."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "COLUMNS": "100",
        "NO_COLOR": "1",
        "TERM": "dumb",
    }
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise FailedBlock(f"exit code {done.returncode} of: {command[-1]}\n{done.stdout}")
    return "\n".join(line.rstrip() for line in done.stdout.splitlines())


def main() -> int:
    """Reads the arguments and returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 if an output is not current")
    check = parser.parse_args().check
    text = README.read_text()
    try:
        require_known_markers(text)
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "examples").symlink_to(ROOT / "examples")
            fresh = render(text, Path(folder))
            num_run = run_blocks(text, Path(folder))
    except FailedBlock as failure:
        print(f"README.md: {failure}")
        return 1
    num_shown = len(GENERATED.findall(text))
    if check and fresh != text:
        lines = difflib.unified_diff(
            text.splitlines(), fresh.splitlines(), "README.md", "what it would say", lineterm=""
        )
        print("\n".join(lines))
        return 1
    if not check:
        README.write_text(fresh)
    print(f"README.md: {num_shown} shown outputs are current, {num_run} blocks ran")
    return 0


if __name__ == "__main__":
    sys.exit(main())
