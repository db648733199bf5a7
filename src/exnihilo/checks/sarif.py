"""Findings as SARIF 2.1.0, which code hosts show beside a change."""

import json
from collections.abc import Mapping
from typing import Any

from exnihilo.checks.records import Diagnosis, Finding, Severity
from exnihilo.version import __version__

_LEVELS: Mapping[Severity, str] = {"FAIL": "error", "WARN": "warning", "INFO": "note"}
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_HELP = "docs/rules.md"


def to_sarif(diagnosis: Diagnosis, *, file: str | None = None) -> str:
    """The findings as a SARIF log of one run.

    Args:
        diagnosis: What ``check`` returned.
        file: The source file that builds the model, relative to the repository: results point to it. Default None: they
            name parameters alone, and code hosts list them without a place.

    Returns:
        Indented JSON. Each result names its parameters as logical locations, the root cause first.
    """
    codes = sorted({finding.code for finding in diagnosis.findings} | set(diagnosis.passed))
    log = {
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "exnihilo", "version": __version__, "rules": [_rule(c) for c in codes]}},
                "results": [_result(finding, codes, file) for finding in diagnosis.findings],
            }
        ],
    }
    return json.dumps(log, indent=1, ensure_ascii=False)


def _rule(code: str) -> dict[str, Any]:
    words = code.replace("-", " ").capitalize()
    return {"id": code, "shortDescription": {"text": words}, "help": {"text": f"{_HELP}#{code}"}}


def _result(finding: Finding, codes: list[str], file: str | None) -> dict[str, Any]:
    remedy = f" Fix: {finding.remedy.line}" if finding.remedy is not None else ""
    location: dict[str, Any] = {
        "logicalLocations": [{"fullyQualifiedName": name, "kind": "member"} for name in finding.parameters]
    }
    if file is not None:
        location["physicalLocation"] = {"artifactLocation": {"uri": file}, "region": {"startLine": 1}}
    root = finding.parameters[0] if finding.parameters else "the model"
    result: dict[str, Any] = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{root}: {finding.evidence}. {finding.cause}.{remedy}"},
        "locations": [location],
    }
    if finding.suppressed:
        result["suppressions"] = [{"kind": "external", "justification": finding.suppressed}]
    return result
