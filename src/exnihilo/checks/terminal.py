"""A diagnosis on a terminal, in color."""

from rich.console import Console
from rich.text import Text

from exnihilo.checks.records import Diagnosis
from exnihilo.checks.text import COLUMNS, screen_lines

_STYLES = {
    "title": "bold",
    "FAIL": "bold red",
    "WARN": "bold yellow",
    "INFO": "bold blue",
    "passed": "green",
    "detail": "",
}


def print_diagnosis(diagnosis: Diagnosis, to: Console) -> None:
    """Print one screen as wide as the console; its severities in color where there is color."""
    for kind, line in screen_lines(diagnosis, columns=max(min(to.width, COLUMNS), 40)):
        word = kind if kind in {"FAIL", "WARN", "INFO"} else ""
        if word and line.startswith(word):
            to.print(Text.assemble((word, _STYLES[kind]), (line[len(word) :], "bold")), soft_wrap=True)
        else:
            style = "" if word else _STYLES[kind]
            to.print(Text(line, style=style), soft_wrap=True)
