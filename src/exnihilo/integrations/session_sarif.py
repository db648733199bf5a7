"""The findings of a whole test session as one SARIF log, each at the assertion that found it."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from exnihilo.checks.sarif import SCHEMA, to_sarif
from exnihilo.testing import Asserted
from exnihilo.version import __version__


def session_sarif(asserted: Sequence[Asserted], *, root: Path) -> str:
    """One run for all assertions: code hosts take no two runs of one tool in a file.

    Args:
        asserted: The assertions of a session, in order.
        root: What the files are named from: the repository.

    Returns:
        Indented JSON.
    """
    runs = [_run(each, root) for each in asserted]
    rules = {rule["id"]: rule for run in runs for rule in run["tool"]["driver"]["rules"]}
    places = {code: place for place, code in enumerate(sorted(rules))}
    results = [{**result, "ruleIndex": places[result["ruleId"]]} for run in runs for result in run["results"]]
    driver = {"name": "exnihilo", "version": __version__, "rules": [rules[code] for code in places]}
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _run(asserted: Asserted, root: Path) -> dict[str, Any]:
    """The run of one assertion, its results at the line that made it."""
    run = json.loads(to_sarif(asserted.diagnosis, file=Path(os.path.relpath(asserted.file, root)).as_posix()))["runs"][
        0
    ]
    for result in run["results"]:
        result["locations"][0]["physicalLocation"]["region"]["startLine"] = asserted.line
    return run
