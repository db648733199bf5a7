"""The real thing: the quick preset through the command line, its results, and its page in a browser."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from browser import check_page

from exnihilo.claims.catalog import CLAIMS

pytestmark = pytest.mark.slow

EXNIHILO = Path(sys.executable).with_name("exnihilo")
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "100"}


def claims(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [str(EXNIHILO), "claims", "--preset", "quick", "--workers", "2", "--out", str(folder), *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=2400)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The folder of a whole run, and what the run printed."""
    folder = tmp_path_factory.mktemp("quick") / "report"
    done = claims(folder)
    assert done.returncode == 0, done.stderr[-2000:]
    return folder, done.stdout


def results_of(folder: Path):
    return json.loads((folder / "results.json").read_text())


def test_every_row_of_the_article_is_answered(report) -> None:
    found = results_of(report[0])["claims"]
    assert [answer["id"] for answer in found] == [claim.id for claim in CLAIMS]
    for answer in found:
        assert {"id", "statement", "verdict", "basis", "n", "rule", "evidence"} <= answer.keys()
        assert answer["rule"] and answer["statement"] and answer["finding"]


def test_at_most_two_claims_are_left_undecided(report) -> None:
    verdicts = [answer["verdict"] for answer in results_of(report[0])["claims"]]
    assert verdicts.count("undecided") <= 2
    assert verdicts.count("explained") == 1


def test_measured_answers_rest_on_at_least_three_tasks(report) -> None:
    tasks = ("digits", "wine", "breast_cancer", "spirals", "teacher_student", "diabetes")
    for answer in results_of(report[0])["claims"]:
        if answer["basis"] == "measured":
            shown = json.dumps(answer["evidence"])
            assert sum(f"{task}" in shown for task in tasks) >= 3, answer["id"]


def test_the_run_trains_thousands_of_networks_and_ends_with_a_line_a_claim(report) -> None:
    folder, printed = report
    assert results_of(folder)["num_runs"] >= 1500
    for claim in CLAIMS:
        assert sum(line.startswith(f"{claim.id} ") for line in printed.splitlines()) == 1
    assert str(folder / "index.html") in printed.replace("\n", "")


def test_asking_again_trains_nothing_and_prints_the_same_as_json(report, tmp_path) -> None:
    folder = tmp_path / "again"
    folder.mkdir()
    shutil.copy(report[0] / "ledger.sqlite", folder)
    again = claims(folder, "--json", "--only", "D4,M4,T5,K1")
    assert again.returncode == 0, again.stderr[-2000:]
    printed = {answer["id"]: answer for answer in json.loads(again.stdout)["claims"]}
    first = {answer["id"]: answer for answer in results_of(report[0])["claims"]}
    assert printed.keys() == {"D4", "M4", "T5", "K1"}
    assert all(printed[name] == first[name] for name in printed)


@pytest.mark.browser
def test_the_page_works_for_every_reader(report) -> None:
    check_page(report[0])
