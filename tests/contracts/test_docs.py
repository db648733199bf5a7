"""What the pages say is so: links, versions, error codes and the messages shown."""

import json
import re
import subprocess
import sys
from pathlib import Path

import imports
import pytest

from exnihilo import errors
from exnihilo.version import __version__

ERRORS_PAGE = imports.ROOT / "docs" / "errors.md"
SECTION = re.compile(r"^## (?P<code>[\w-]+)\n(?P<body>.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n+```text\n(?P<message>.*?)```", re.DOTALL)

# Runs examples where scikit-learn, an optional dependency, is missing, and prints what each of them raises.
PROGRAM = """
import json, sys
from exnihilo.errors import ExnihiloError
sys.modules["sklearn"] = None
printed = []
for example in json.load(sys.stdin):
    try:
        exec(example, {"__name__": "example"})
        printed.append("nothing")
    except ExnihiloError as error:
        printed.append(str(error))
json.dump(printed, sys.stdout)
"""


def pages():
    """Every page of the repository that a reader may open."""
    return sorted([*imports.ROOT.glob("*.md"), *imports.ROOT.glob("docs/**/*.md")])


def tracked_files():
    """The text files of the repository, as Git lists them; empty where this is no clone."""
    done = subprocess.run(["git", "ls-files", "-z"], cwd=imports.ROOT, capture_output=True, text=True, check=False)
    return [imports.ROOT / name for name in done.stdout.split("\0") if name]


def sections():
    return {match["code"]: match["body"] for match in SECTION.finditer(ERRORS_PAGE.read_text())}


def error_classes(base=errors.ExnihiloError):
    return [found for kind in base.__subclasses__() for found in (kind, *error_classes(kind))]


def anchor(heading):
    """The anchor that a heading gets on the page."""
    return re.sub(r"[^\w -]", "", heading.strip().lower()).replace(" ", "-")


def broken_links(page, text):
    """Each relative link of a page whose file or heading does not exist."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```", "", text, flags=re.DOTALL)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, heading = target.partition("#")
        path = (page.parent / name) if name else page
        headings = (
            re.findall(r"^#+ (.+)$", path.read_text(), re.MULTILINE) if path.suffix == ".md" and path.exists() else []
        )
        if not path.exists() or (heading and heading not in map(anchor, headings)):
            broken.append(target)
    return broken


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_relative_link_leads_somewhere(page):
    assert broken_links(page, page.read_text()) == []


def test_a_broken_link_is_found():
    page = imports.ROOT / "README.md"
    text = "[a](docs/none.md) [b](docs/errors.md#none) [c](docs/errors.md#data) [d](https://example.org)"
    assert broken_links(page, text) == ["docs/none.md", "docs/errors.md#none"]


def test_every_error_code_has_its_section_and_every_section_its_error():
    assert set(sections()) == {kind.code for kind in error_classes()}


def test_the_message_shown_for_an_error_is_the_one_that_is_printed(tmp_path):
    for code, body in sections().items():
        assert EXAMPLE.search(body), code
    examples, messages = zip(*EXAMPLE.findall(ERRORS_PAGE.read_text()), strict=True)
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=json.dumps(examples),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert [f"{message}\n" for message in json.loads(done.stdout)] == list(messages)


def test_the_citation_has_the_version_of_the_package():
    assert re.findall(r"^version: (.+)$", (imports.ROOT / "CITATION.cff").read_text(), re.MULTILINE) == [__version__]


def test_the_changelog_begins_with_what_is_not_released_or_with_this_version():
    first = re.search(r"^## (.+)$", (imports.ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first is not None
    assert first[1].split()[0] in {"Unreleased", __version__}


def test_every_version_of_the_constraints_is_pinned_and_every_dependency_constrained():
    lines = (imports.ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    assert pins["torch"] == "2.13.0"
    project = (imports.ROOT / "pyproject.toml").read_text()
    lists = re.findall(r"^(?:dependencies|lab|hf|timm|zoo|triton|dev) = \[(.+)\]$", project, re.MULTILINE)
    named = {name.lower() for names in lists for name in re.findall(r'"([\w-]+)', names)} - {"exnihilo"}
    assert len(lists) == 7
    assert named <= {name.lower() for name in pins}


def test_no_file_names_a_path_of_the_machine_it_was_written_on():
    # Written in parts, so that this file does not hold what it looks for.
    machine_path = re.compile(
        "|".join(["/" + "work/", "/" + "root/", "/" + r"home/\w", "/" + "Users/", "bash" + "_jobs"])
    )
    found = []
    for path in tracked_files():
        if path.suffix in {".png", ".gz", ".npz", ".parquet", ".ico"} or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if machine_path.search(line):
                found.append(f"{path.relative_to(imports.ROOT)}:{number}: {line.strip()[:80]}")
    assert found == []


def test_every_page_is_found():
    assert Path("docs/errors.md") in {page.relative_to(imports.ROOT) for page in pages()}
