"""The driver trains what is missing, once, and loses no finished run whatever ends it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

import pytest
import torch
from fake_engine import record_of, train
from test_store import dump
from test_study import HE, XAVIER, ZEROS, study_with

from exnihilo.errors import WorkerError
from exnihilo.lab import schedule
from exnihilo.lab.driver import Progress, chunks_of, execute, finished
from exnihilo.lab.forecast import forecast
from exnihilo.lab.records import Network, Optimizer, Run, RunRecord
from exnihilo.lab.schedule import judge, pending
from exnihilo.lab.store import Ledger

HERE = Path(__file__).parent


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "trained.log"
    path.touch()
    monkeypatch.setenv("FAKE_ENGINE_LOG", str(path))
    return path


def trained(log: Path) -> list[str]:
    return [line.split()[1] for line in log.read_text().splitlines()]


def test_all_that_is_pending_is_trained_once_and_kept(tmp_path: Path, log: Path) -> None:
    study = study_with()
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        records = execute([study], ledger, train=train)
        assert pending(study, records) == ()
        assert judge(study, ledger.records()) == judge(study, records)
        assert sorted(trained(log)) == sorted(ledger.identities())
        assert [entry.name for entry in ledger.declarations()] == ["example"]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.0])
def test_what_is_finished_of_a_study_is_found_without_reading_the_others(tmp_path: Path, share: float) -> None:
    study, other = study_with(margin=0.001), study_with(name="other", starts=(ZEROS,), steps=7)
    with Ledger(tmp_path / "whole.sqlite") as whole:
        execute([study, other], whole, train=train)
        records = whole.records()
    with Ledger(tmp_path / "part.sqlite") as part:
        own = [run for run in schedule.runs_of(study, records) if int(run.identity[:4], 16) < share * 0x10000]
        part.commit(record for record in records if record.run in own or record.run.steps == 7)
        stored = part.records()
        asked: list[str] = []
        found = finished([study], spied(part, asked))
    assert found == {record.run: record for record in stored if record.run in set(schedule.runs_of(study, stored))}
    assert forecast(study, found) == forecast(study, stored)
    assert len(asked) == len(set(asked))
    assert set(asked).isdisjoint(record.run.identity for record in stored if record.run.steps == 7)


def spied(ledger: Ledger, asked: list[str]) -> Ledger:
    """The ledger, writing down the identities that it is asked for."""

    class Spied:
        def records(self, identities: Iterable[str]) -> tuple[RunRecord, ...]:
            wanted = list(identities)
            asked.extend(wanted)
            return ledger.records(wanted)

    return cast(Ledger, Spied())


def test_studies_share_the_runs_that_they_have_in_common(tmp_path: Path, log: Path) -> None:
    studies = [study_with(looks=(8,)), study_with(name="other", starts=(XAVIER, ZEROS), looks=(8,))]
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        execute(studies, ledger, train=train)
    assert len(trained(log)) == len(set(trained(log))) == 3 * 3 * (2 + 8)  # starts, rates


def test_a_second_call_trains_nothing(tmp_path: Path, log: Path) -> None:
    seen: list[Progress] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        first = execute([study_with()], ledger, train=train)
        log.write_text("")
        assert dict(execute([study_with()], ledger, train=train, on_progress=seen.append)) == dict(first)
    assert trained(log) == []
    assert not any(progress.num_trained for progress in seen)


@pytest.mark.slow
def test_the_ledger_does_not_depend_on_workers_or_chunks(tmp_path: Path) -> None:
    study = study_with(starts=(XAVIER, ZEROS), networks=(Network(depth=1, width=8), Network(depth=2, width=8)))
    for name, workers in (("one", 1), ("two", 2)):
        with Ledger(tmp_path / name) as ledger:
            execute([study], ledger, workers=workers, train=train)
    with Ledger(tmp_path / "given") as ledger, ThreadPoolExecutor(3) as executor:
        execute([study], ledger, workers=3, train=train, executor=executor)
    assert dump(tmp_path / "one") == dump(tmp_path / "two") == dump(tmp_path / "given")


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    seen: list[Progress] = []
    done: list[str] = []
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        execute([study_with()], ledger, train=train, on_progress=seen.append, on_done=lambda s, _: done.append(s.name))
        assert seen[-1].num_trained == ledger.count()
    assert seen[0].num_trained == 0 and seen[0].num_waiting == 12
    assert seen[-1].num_waiting == 0
    assert done == ["example"]


def test_workers_train_on_one_thread_and_the_caller_keeps_its_own(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    counts: list[int] = []

    def counting(task: object, runs: tuple[Run, ...]) -> tuple[object, ...]:
        counts.append(torch.get_num_threads())
        return tuple(map(record_of, runs))

    torch.set_num_threads(2)
    try:
        with Ledger(tmp_path / "ledger.sqlite") as ledger:
            execute([study_with()], ledger, train=counting)  # type: ignore[arg-type]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert set(counts) == {1}


# ---------------------------------------------------------------------------------------------------------- chunks


def runs_of(n: int, **changes: object) -> list[Run]:
    fields = {"task": "digits", "network": Network(), "start": HE, "optimizer": Optimizer(), "lr": 0.1, "steps": 10}
    return [Run(**{**fields, "seed": seed, "batch_size": 32, **changes}) for seed in range(n)]  # type: ignore[arg-type]


def test_chunks_hold_every_run_once_and_never_mix_stacks() -> None:
    runs = runs_of(100) + runs_of(30, task="wine") + runs_of(30, network=Network(depth=3))
    chunks = chunks_of(runs, 2)
    assert sorted(run.identity for chunk in chunks for run in chunk) == sorted(run.identity for run in runs)
    assert all(len({(run.task, run.network) for run in chunk}) == 1 for chunk in chunks)


@pytest.mark.parametrize(
    ("num_runs", "workers", "sizes"),
    [
        (64, 1, [64]),
        (65, 1, [33, 32]),
        (64, 2, [16] * 4),
        (20, 2, [7, 7, 6]),
        (8, 4, [8]),
        (1000, 2, [63] * 8 + [62] * 8),
    ],
)
def test_chunks_keep_all_workers_busy_and_stay_large(num_runs: int, workers: int, sizes: list[int]) -> None:
    assert sorted((len(chunk) for chunk in chunks_of(runs_of(num_runs), workers)), reverse=True) == sizes


def test_the_longest_chunks_go_first() -> None:
    chunks = chunks_of(runs_of(8, steps=10) + runs_of(8, steps=100, task="wine"), 1)
    assert [chunk[0].steps for chunk in chunks] == [100, 10]


# ------------------------------------------------------------------------------------------------ what may go wrong


@pytest.mark.slow
def test_a_worker_that_dies_is_one_clear_error_and_costs_no_finished_run(
    tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = study_with()
    fatal = study.judging_seed(0)
    monkeypatch.setenv("FAKE_ENGINE_DIES", str(fatal))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(WorkerError) as caught:
            execute([study], ledger, workers=2, train=train)
        assert str(caught.value).splitlines() == [
            "A worker process died while it trained; the system may have been short of memory.",
            "  Finished runs are in the ledger; runs in flight will be trained again.",
            "  Fix: run the same command again, with fewer workers: --workers 1",
            "  [worker]  docs/errors.md#worker",
        ]
        kept = ledger.identities()
        assert {run.identity for run in pending(study, ())} <= kept  # the whole tuning was finished before
        monkeypatch.delenv("FAKE_ENGINE_DIES")
        log.write_text("")
        execute([study], ledger, workers=2, train=train)
        assert not kept & set(trained(log))
    assert not multiprocessing.active_children()


def failing(task: object, runs: tuple[Run, ...]) -> object:
    if any(run.start == ZEROS for run in runs):
        raise ValueError("no such thing")
    return tuple(map(record_of, runs))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_the_engine_is_passed_on_after_what_is_finished_is_kept(tmp_path: Path, workers: int) -> None:
    good, bad = study_with(steps=100, looks=(8,)), study_with(name="bad", baseline=None, starts=(ZEROS,))
    with Ledger(tmp_path / "ledger.sqlite") as ledger:
        with pytest.raises(ValueError, match="no such thing"):
            execute([good, bad], ledger, workers=workers, train=failing)  # type: ignore[arg-type]
        assert ledger.count() >= 6  # the longer runs go first
    assert not multiprocessing.active_children()


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
from fake_engine import train
from test_study import study_with
from exnihilo.lab.driver import execute
from exnihilo.lab.store import Ledger

if __name__ == "__main__":
    with Ledger({ledger!r}) as ledger:
        try:
            execute([study_with()], ledger, workers={workers}, train=train)
        except KeyboardInterrupt:
            print("interrupted", ledger.count())
            sys.exit(130)
"""


def start_program(tmp_path: Path, workers: int, *, seconds: float) -> subprocess.Popen[str]:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(here=str(HERE), ledger=str(tmp_path / "ledger.sqlite"), workers=workers))
    environment = {**os.environ, "FAKE_ENGINE_SECONDS": str(seconds), "FAKE_ENGINE_LOG": str(tmp_path / "trained.log")}
    return subprocess.Popen(
        [sys.executable, str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for_training(tmp_path: Path, num_chunks: int, num_workers: int = 1) -> set[int]:
    """Wait until that many chunks were begun, by that many processes at least; the processes that did."""
    log = tmp_path / "trained.log"
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        lines = log.read_text().splitlines() if log.exists() else []
        pids = {int(line.split()[0]) for line in lines}
        if len(lines) >= num_chunks * 6 and len(pids) >= num_workers:
            return pids
        time.sleep(0.02)
    raise TimeoutError("nothing was trained")


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(pids: set[int], seconds: float = 10.0) -> bool:
    limit = time.monotonic() + seconds
    while any(map(is_alive, pids)) and time.monotonic() < limit:
        time.sleep(0.05)
    return not any(map(is_alive, pids))


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_keeps_what_is_finished_and_leaves_quickly(tmp_path: Path, workers: int) -> None:
    program = start_program(tmp_path, workers, seconds=0.5)
    pids = wait_for_training(tmp_path, num_chunks=3)
    os.killpg(program.pid, signal.SIGINT)  # as a terminal does: to the whole group
    began = time.monotonic()
    out, err = program.communicate(timeout=20)
    assert program.returncode == 130, err
    assert time.monotonic() - began < 5
    assert "Traceback" not in err
    assert out.startswith("interrupted ") and int(out.split()[1]) >= 6
    assert wait_until_gone(pids | {program.pid})


@pytest.mark.slow
def test_workers_go_when_their_driver_is_killed(tmp_path: Path) -> None:
    program = start_program(tmp_path, 2, seconds=0.5)
    # On a busy machine one worker may have two chunks behind it when the other begins.
    pids = wait_for_training(tmp_path, num_chunks=2, num_workers=2)
    assert len(pids) == 2 and program.pid not in pids
    program.kill()
    program.communicate()
    assert wait_until_gone(pids)
