"""Begins a study process for each line that it reads, fresh after the imports, and kills it.

    python killed_study.py LEDGER LOG fake|real

Each line holds the seconds after which the process gets its SIGKILL, or ``never``; the answer is its exit status.
Importing torch fifty times would take minutes; the process that is killed is no other for it.
"""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fake_engine import record_of

from exnihilo.lab import engine
from exnihilo.lab.driver import execute
from exnihilo.lab.records import Network, Run, RunRecord, Start
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import Task, load, task_named

STUDY = Study(
    name="killed",
    question="Does it come back?",
    tasks=("digits",),
    networks=tuple(Network(depth=1, width=width) for width in range(3, 43)),
    starts=(Start(name="xavier_normal"),),
    baseline=Start(name="he_normal"),
    lrs=(0.01, 0.1),
    extend=1,
    tuning_seeds=2,
    looks=(4, 6),
    steps=8,
    evaluations=2,
    measurements=1,
)


def trained(task: Task, runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    """Say what is trained, before it is."""
    with Path(sys.argv[2]).open("a") as log:
        log.write("".join(f"{run.identity}\n" for run in runs))
    if sys.argv[3] == "fake":
        return tuple(map(record_of, runs))  # no work at all: most kills fall into the commits
    time.sleep(0.08)  # the moments of the kills must fall into the study on a fast machine too
    return engine.train(task, runs)


def run_study() -> None:
    with Ledger(sys.argv[1]) as ledger:
        execute([STUDY], ledger, train=trained)


if __name__ == "__main__":
    load(task_named("digits"))
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            run_study()
            os._exit(0)
        if line.strip() != "never":
            time.sleep(float(line))
            os.kill(pid, signal.SIGKILL)  # still ours if it is done: nobody has asked for its status yet
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
