"""A study that is killed at any moment resumes with nothing lost and nothing run twice."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from test_store import dump

from exnihilo.lab.store import Ledger

PROGRAM = Path(__file__).with_name("killed_study.py")
NUM_KILLS = 50


class StudyProcess:
    """Begins the study, and again after each kill."""

    def __init__(self, ledger: Path, log: Path, engine: str) -> None:
        self.ledger, self.log = ledger, log
        log.touch()
        self.zygote = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(ledger), str(log), engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self.zygote.stdout is not None
        return self.zygote.stdout.readline().strip()

    def run(self, kill_after: float | None) -> int:
        """The exit status; the process gets a SIGKILL after so many seconds."""
        assert self.zygote.stdin is not None
        self.zygote.stdin.write(f"{'never' if kill_after is None else kill_after}\n")
        self.zygote.stdin.flush()
        return int(self._line())

    def __enter__(self) -> "StudyProcess":
        return self

    def __exit__(self, *_: object) -> None:
        assert self.zygote.stdin is not None and self.zygote.stdout is not None
        self.zygote.stdin.close()
        self.zygote.wait(timeout=60)
        self.zygote.stdout.close()


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "longest"), [("real", 0.3), ("fake", 0.1)])
def test_fifty_kills_lose_nothing_and_train_nothing_twice(tmp_path: Path, engine: str, longest: float) -> None:
    with StudyProcess(tmp_path / "unbroken.sqlite", tmp_path / "unbroken.log", engine) as unbroken:
        assert unbroken.run(None) == 0
    moments = random.Random("fifty kills")
    committed: set[str] = set()
    num_lines = 0
    statuses: list[int] = []
    with StudyProcess(tmp_path / "killed.sqlite", tmp_path / "killed.log", engine) as study:
        for attempt in range(NUM_KILLS):
            if not committed and attempt % 5 == 4:  # a busy machine has not come to the first commit yet
                longest *= 1.5
            statuses.append(study.run(moments.uniform(0.0, longest)))
            lines = study.log.read_text().splitlines()
            assert not committed & set(lines[num_lines:]), "a run that was committed was trained again"
            num_lines = len(lines)
            with Ledger(study.ledger) as ledger:
                assert committed <= ledger.identities(), "a finished run was lost"
                committed = set(ledger.identities())
        num_at_work = sum(status == -signal.SIGKILL for status in statuses)
        assert num_at_work == NUM_KILLS or engine == "fake", "the study was too short for its kills"
        assert committed, "no attempt came far enough to commit anything"
        assert study.run(None) == 0
    assert dump(study.ledger) == dump(unbroken.ledger)
