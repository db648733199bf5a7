"""pytest: what the assertions of ``exnihilo.testing`` found in a session, as SARIF and as pages.

Loaded in every session of an environment that holds exnihilo, so it imports nothing until one of its options is given.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from exnihilo.testing import Asserted, Session

_SESSION: "pytest.StashKey[Session]" = pytest.StashKey()
# What a worker of pytest-xdist hands to the process that started it, which alone writes files.
_HANDED = "exnihilo"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a session."""
    group = parser.getgroup("exnihilo", "exnihilo: checks that models can learn")
    group.addoption("--exnihilo-strict", action="store_true", help="assert_trainable fails for a WARN too.")
    group.addoption("--exnihilo-sarif", metavar="FILE", help="Write what assert_trainable found to FILE, as SARIF.")
    group.addoption("--exnihilo-html", metavar="DIR", help="Write a page for each assert_trainable to DIR.")


def pytest_configure(config: pytest.Config) -> None:
    """Begin a record where one was asked for."""
    if any(config.getoption(name) for name in ("exnihilo_strict", "exnihilo_sarif", "exnihilo_html")):
        from exnihilo import testing

        testing.session = testing.Session(strict=bool(config.getoption("exnihilo_strict")))
        config.stash[_SESSION] = testing.session


def pytest_unconfigure(config: pytest.Config) -> None:
    """End the record."""
    if _SESSION in config.stash:
        from exnihilo import testing

        testing.session = None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Take over what a worker found; a worker that died found nothing that could be told."""
    del error
    handed = getattr(node, "workeroutput", {}).get(_HANDED, ())
    if handed and _SESSION in node.config.stash:
        node.config.stash[_SESSION].asserted.extend(map(_taken, handed))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the files, or hand them to the process that does."""
    config = session.config
    if _SESSION not in config.stash:
        return
    asserted = config.stash[_SESSION].asserted
    if hasattr(config, "workeroutput"):
        config.workeroutput[_HANDED] = [_handed(each) for each in asserted]  # pyright: ignore[reportAttributeAccessIssue]
        return
    if sarif := config.getoption("exnihilo_sarif"):
        from exnihilo.integrations.session_sarif import session_sarif

        Path(sarif).parent.mkdir(parents=True, exist_ok=True)
        Path(sarif).write_text(session_sarif(asserted, root=config.rootpath), encoding="utf-8")
    if folder := config.getoption("exnihilo_html"):
        _write_pages(asserted, Path(folder))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One line for the models that were checked, and where to read more."""
    if _SESSION not in config.stash:
        return
    asserted = config.stash[_SESSION].asserted
    fail = sum(not each.diagnosis.ok for each in asserted)
    written = [str(path) for name in ("exnihilo_sarif", "exnihilo_html") if (path := config.getoption(name))]
    where = f"; written to {' and '.join(written)}" if written else ""
    models = "model" if len(asserted) == 1 else "models"
    terminalreporter.write_line(f"exnihilo: {len(asserted)} {models} checked, {fail} with a FAIL{where}")


def _write_pages(asserted: "list[Asserted]", folder: Path) -> None:
    from exnihilo.report.diagnosis_page import write_page

    folder.mkdir(parents=True, exist_ok=True)
    for number, each in enumerate(asserted, start=1):
        words = re.sub(r"[^\w.-]+", "-", each.test or each.diagnosis.facts.model).strip("-")
        write_page(each.diagnosis, folder / f"{number:03}-{words}.html")


def _handed(asserted: "Asserted") -> dict[str, Any]:
    """An assertion as the plain values that may pass between processes."""
    from exnihilo.checks.files import to_json

    return {"test": asserted.test, "file": asserted.file, "line": asserted.line, "json": to_json(asserted.diagnosis)}


def _taken(handed: dict[str, Any]) -> "Asserted":
    from exnihilo.checks.files import from_json
    from exnihilo.testing import Asserted

    return Asserted(test=handed["test"], file=handed["file"], line=handed["line"], diagnosis=from_json(handed["json"]))
