"""`exnihilo study`: what it prints, where it resumes, and how it refuses."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exnihilo.cli.app import app
from exnihilo.lab.store import Ledger
from exnihilo.version import __version__

ROOT = Path(__file__).parents[2]
STUDY = """
from exnihilo.lab.records import Network, Start
from exnihilo.lab.study import Study

study = Study(
    name="small",
    question="Does zero learn?",
    tasks=("wine",),
    networks=(Network(depth=1, width=4),),
    starts=(Start(name="zeros"),),
    baseline=Start(name="he_normal"),
    lrs=(0.03, 0.1),
    extend=0,
    tuning_seeds=1,
    looks=(6,),
    steps=20,
    batch_size=16,
    evaluations=2,
    measurements=1,
)
"""
DATA = "a,b,label\n" + "".join(f"{i % 7},{i * i % 11},{'yes' if i % 7 > 3 else 'no'}\n" for i in range(60))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "small.py").write_text(STUDY)
    (tmp_path / "data.csv").write_text(DATA)
    return tmp_path


def ask(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [*arguments], prog_name="exnihilo")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_study_ends_in_its_verdicts_within_80_columns(folder: Path) -> None:
    code, out, err = ask("study", "small.py", "--workers", "1")
    assert code == 0
    assert "zeros vs he_normal" in out and "worse" in out and "6 unmoved" in out
    assert max(map(len, out.splitlines())) <= 80
    assert re.search(r"zeros vs he_normal .* worse .* 6 / 0\n.*p 0\.031", out)  # all of six fail, and none: 2 / 2**6
    assert "p: McNemar's exact test" in out
    assert "28 runs to the first look, at most 28 (about" in err
    assert "1 comparison, 6 paired seeds: enough to decide" in err


def test_a_second_call_resumes_and_trains_nothing(folder: Path) -> None:
    first = ask("study", "small.py", "--workers", "1", "--json")
    with Ledger("report/ledger.sqlite") as ledger:
        rows = ledger.records()
    _, _, err = ask("study", "small.py", "--workers", "1")
    assert "28 of them in the ledger already" in err
    assert ask("study", "small.py", "--workers", "1", "--json")[:2] == first[:2]
    with Ledger("report/ledger.sqlite") as ledger:
        assert ledger.records() == rows


def test_json_is_alone_on_standard_output(folder: Path) -> None:
    code, out, err = ask("study", "small.py", "--workers", "1", "--json")
    (study,) = json.loads(out)["studies"]
    assert code == 0
    assert "28 runs to the first look" in err  # what is told meanwhile stands apart
    assert study["question"] == "Does zero learn?"
    assert [verdict["outcome"] for verdict in study["verdicts"]] == ["worse"]
    (failed,) = study["failures"]
    assert (failed["comparison"], failed["n"]) == (study["verdicts"][0]["comparison"], 6)
    assert (failed["failures"], failed["discordant"], failed["p_value"]) == ([6, 0], [6, 0], 0.03125)
    assert {arm["start"]["name"]: arm["n"] for arm in study["arms"]} == {"he_normal": 6, "zeros": 6}


def test_a_dry_run_says_what_lies_ahead_and_leaves_no_trace(folder: Path) -> None:
    code, out, err = ask("study", "small.py", "--dry-run")
    assert (code, out) == (0, "")
    assert "1 task × 1 network × 1 optimizer × 2 starts × 2 learning rates" in err
    assert not (folder / "report").exists()
    code, out, _ = ask("study", "small.py", "--dry-run", "--json")
    (forecast,) = json.loads(out)["forecasts"]
    assert (forecast["num_tuning"], forecast["num_first"], forecast["can_decide"]) == (
        4,
        28,
        True,
    )  # judged at both rates


def test_too_few_seeds_are_told_before_anything_runs(folder: Path) -> None:
    Path("few.py").write_text(STUDY.replace("looks=(6,)", "looks=(4,)"))
    _, _, err = ask("study", "few.py", "--dry-run")
    assert "1 comparison, 4 paired seeds: CANNOT DECIDE anything at alpha 0.05" in err
    assert "Fix: looks=(6,) or more seeds, or fewer comparisons" in err


def test_what_a_study_file_prints_stays_out_of_the_json(folder: Path) -> None:
    Path("talks.py").write_text(STUDY + "print('hello')\n")
    code, out, err = ask("study", "talks.py", "--dry-run", "--json")
    assert code == 0
    assert json.loads(out)["forecasts"] and "hello" in err


def test_own_data_takes_the_place_of_the_tasks(folder: Path) -> None:
    code, out, _ = ask("study", "small.py", "--data", "data.csv", "--target", "label", "--workers", "1", "--json")
    assert code == 0
    (study,) = json.loads(out)["studies"]
    assert re.fullmatch(r"data-[0-9a-f]{8}", study["declaration"]["tasks"][0])


def test_a_seed_of_the_command_line_takes_the_place_of_the_files(folder: Path) -> None:
    ask("study", "small.py", "--workers", "1", "--seed", "7")
    with Ledger("report/ledger.sqlite") as ledger:
        assert {record.run.seed >> 20 for record in ledger.records()} == {7}


# --------------------------------------------------------------------------------------------------- what is refused

LINES = {
    "bad_lr.py": STUDY.replace("0.03, 0.1", "0.03, -0.1"),
    "bad_start.py": STUDY.replace('"zeros"', '"zeross"'),
    "bad_activation.py": STUDY.replace("width=4", "width=4, activation='rulu'"),
    "bad_task.py": STUDY.replace('"wine"', '"whine"'),
    "bad_gate.py": STUDY.replace('"zeros"', '"zero_gate"'),
    "bad_kind.py": STUDY.replace("width=4", "width=4, kind='mpl'"),
    "bad_norm.py": STUDY.replace("width=4", "width=4, norm='bath'"),
    "bad_optimizer.py": STUDY.replace("lrs=", "optimizers=('adm',), lrs="),
    "bad_syntax.py": "study = (\n",
    "null.py": "study = 1\0",
    "exits.py": "import sys\nsys.exit(3)\n",
    "bad_name.py": "study = Stduy()\n",
    "empty.py": "",
    "twice.py": STUDY + "studies = [study, study]\n",
    "latin.csv": DATA.replace("a,", "\xe9,", 1),
    "few.csv": "a,label\n" + "1,x\n2,y\n" * 2,
    "text.csv": DATA.replace("\n3,", "\nthree,", 1),
    "nan.csv": DATA.replace("\n3,", "\n,", 1),
}
WITH_DATA = ("study", "small.py", "--target", "label", "--data")
REFUSED = [
    (("study", "bad_lr.py"), "Study.lrs holds -0.1; a learning rate must be positive and finite."),
    (("study", "bad_start.py"), "Unknown start 'zeross'. Did you mean 'zeros'?"),
    (("study", "bad_activation.py"), "Unknown activation 'rulu'. Did you mean 'relu'?"),
    (("study", "bad_task.py"), "Unknown task 'whine'. Did you mean 'wine'?"),
    (("study", "bad_kind.py"), "Unknown kind of network 'mpl'. Did you mean 'mlp'?"),
    (("study", "bad_norm.py"), "Unknown norm 'bath'. Did you mean 'batch'?"),
    (("study", "bad_optimizer.py"), "Study.optimizers holds 'adm'; each entry must be an Optimizer."),
    (("study", "bad_gate.py"), "Start 'zero_gate' zeroes"),
    (("study", "bad_syntax.py"), "Study file 'bad_syntax.py' is not valid Python: '(' was never closed."),
    (("study", "bad_name.py"), "Study file 'bad_name.py' failed: NameError: name 'Stduy' is not defined"),
    (("study", "empty.py"), "Study file 'empty.py' holds no study."),
    (("study", "twice.py"), "Study file 'twice.py' holds several studies of the name 'small'."),
    (("study", "none.py"), "Study file 'none.py' does not exist."),
    (("study", "corrupt"), "Study file 'corrupt' cannot be read: Is a directory."),
    (("study", "null.py"), "Study file 'null.py' is not valid Python: source code"),
    (("study", "exits.py"), "Study file 'exits.py' ends the program, by exit(3), before it holds a study."),
    ((*WITH_DATA, "none.csv"), "none.csv"),
    ((*WITH_DATA, "few.csv"), "a split needs at least 5 of each class"),
    ((*WITH_DATA, "latin.csv"), "The file 'latin.csv' cannot be read as CSV."),
    ((*WITH_DATA, "text.csv"), "Feature column 'a' of"),
    ((*WITH_DATA, "nan.csv"), "Feature column 'a' of"),
    (("study", "small.py", "--data", "data.csv", "--target", "lable"), "lable"),
    (("study", "small.py", "--data", "data.csv", "--target", "label", "--kind", "sort"), "kind is 'sort'"),
    (("study", "small.py", "--target", "label"), "--target and --kind describe a data file, and --data names none."),
    (("study", "small.py", "--out", "data.csv"), "The ledger data.csv/ledger.sqlite cannot be written."),
    (("study", "small.py", "--out", "corrupt"), "corrupt/ledger.sqlite is no ledger, or is corrupt."),
    (("study", "small.py", "--out", "other"), "other/ledger.sqlite has schema version 99; this exnihilo reads 1."),
]


def prepare(folder: Path) -> None:
    for name, text in LINES.items():
        (folder / name).write_text(text, encoding="latin-1")
    (folder / "corrupt").mkdir()
    (folder / "corrupt" / "ledger.sqlite").write_text("no ledger at all\n" * 500)
    with Ledger(folder / "other" / "ledger.sqlite"):
        pass
    connection = sqlite3.connect(folder / "other" / "ledger.sqlite")
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def check_refusal(code: int, out: str, err: str, fact: str) -> None:
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    first, *rest = err.splitlines()
    assert fact in first
    assert any(line.startswith("  Fix: ") for line in rest)
    assert re.fullmatch(r"  \[[\w-]+\]  docs/errors\.md#[\w-]+", rest[-1])


@pytest.mark.parametrize(("arguments", "fact"), REFUSED)
def test_bad_input_gets_one_clear_error_and_changes_no_ledger(
    folder: Path, arguments: tuple[str, ...], fact: str
) -> None:
    prepare(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.sqlite*")}
    check_refusal(*ask(*arguments), fact)
    assert {path: path.read_bytes() for path in folder.rglob("*.sqlite*")} == before


@pytest.mark.parametrize(
    "arguments", [["study"], ["study", "small.py", "--workers", "0"], ["study", "small.py", "--wrong"], ["stduy"]]
)
def test_a_wrong_argument_exits_with_2(folder: Path, arguments: list[str]) -> None:
    assert ask(*arguments)[0] == 2


def real(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(Path(sys.executable).with_name("exnihilo")), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("arguments", "fact"), REFUSED)
def test_the_real_command_refuses_with_exit_code_2(folder: Path, arguments: tuple[str, ...], fact: str) -> None:
    prepare(folder)
    process = real(folder, *arguments)
    out, err = process.communicate(timeout=120)
    check_refusal(process.returncode, out, err, fact)


@pytest.mark.slow
def test_a_refused_call_loses_no_finished_run(folder: Path) -> None:
    prepare(folder)
    ask("study", "small.py", "--workers", "1")
    before = Path("report/ledger.sqlite").read_bytes()
    for arguments, _ in REFUSED:
        if "--out" not in arguments:
            assert ask(*arguments)[0] == 2
    assert Path("report/ledger.sqlite").read_bytes() == before


@pytest.mark.slow
def test_ctrl_c_says_how_to_continue_and_the_next_call_does(folder: Path) -> None:
    Path("long.py").write_text(STUDY.replace("looks=(6,)", "looks=(600,)").replace("steps=20", "steps=400"))
    process = real(folder, "study", "long.py", "--workers", "2")
    ledger, log = (folder / "report" / name for name in ("ledger.sqlite", "ledger.sqlite-wal"))
    limit = time.monotonic() + 120
    while not log.exists() or log.stat().st_size < 50_000:  # until some chunks are committed
        assert time.monotonic() < limit and process.poll() is None
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "Interrupted. Finished runs are kept in report/ledger.sqlite." in err
    assert "Continue with: exnihilo study long.py --workers 2" in err
    with Ledger(ledger) as opened:
        assert opened.count() > 4


def test_the_version_is_printed(folder: Path) -> None:
    assert ask("--version") == (0, f"exnihilo {__version__}\n", "")


PROGRAM = """
import sys
for module in ("sklearn", "scipy", "altair", "vl_convert", "jinja2", "pyarrow"):
    sys.modules[module] = None
sys.argv = ["exnihilo", {command!r}, "small.py"][:{length}]
from exnihilo.cli import main
assert "torch" not in sys.modules
main()
"""


@pytest.mark.parametrize(("command", "length"), [("claims", 2), ("study", 3)])
def test_the_core_alone_says_what_to_install(folder: Path, command: str, length: int) -> None:
    code = PROGRAM.format(command=command, length=length)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=folder)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"'exnihilo {command}' needs scikit-learn, scipy, altair, vl-convert-python, jinja2, pyarrow, which are not"
        " installed.",
        "  Fix: pip install 'exnihilo[lab]'",
        "  [missing-extra]  docs/errors.md#missing-extra",
    ]
