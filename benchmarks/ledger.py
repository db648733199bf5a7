"""How long a study of 100,000 tuning runs takes to plan, and its ledger to answer what is missing.

    python benchmarks/ledger.py

Planning asks for the runs that choose the rates, all at once, and cuts them into chunks; what is judged, at the chosen
rates and their neighbors, follows from these runs and is no part of it. The resume query asks a ledger that holds all
but one of them which one is missing, hashing every run on the way. Goals: under 10 s, and under 1 s.
"""

import dataclasses
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from exnihilo.lab.driver import chunks_of
from exnihilo.lab.records import Network, Run, RunRecord, Start
from exnihilo.lab.schedule import pending
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study

STUDY = Study(
    name="large",
    question="How long do a hundred thousand tuning runs take to plan?",
    tasks=("digits", "wine"),
    networks=tuple(Network(depth=depth, width=width) for depth in range(1, 11) for width in (16, 32, 64, 128, 256)),
    starts=tuple(Start(name=name) for name in ("zeros", "xavier_normal", "orthogonal", "small_normal")),
    baseline=Start(name="he_normal"),
    lrs=(0.003, 0.01, 0.03, 0.1, 0.3),
    tuning_seeds=40,
    steps=500,
)


def timed(name: str, goal: float, work: Callable[[], tuple[Run, ...]]) -> tuple[Run, ...]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    print(f"{name:<42} {wall:6.2f} s wall, {cpu:6.2f} s CPU   goal {goal:g} s   {'met' if wall < goal else 'MISSED'}")
    return result


def record_of(run: Run) -> RunRecord:
    """A record of the usual size."""
    num_evaluations, num_measurements = run.evaluations + 1, run.measurements + 1
    depth = run.network.depth
    by_hidden = ((0.25,) * depth,) * num_measurements
    widths = ((run.network.width,) * depth,) * num_measurements
    curve = tuple(1.0 / (1.0 + index) for index in range(num_evaluations))
    return RunRecord(
        run=run,
        layers=tuple(f"layers.{index}" for index in range(depth + 1)),
        evaluation_steps=tuple(range(num_evaluations)),
        train_loss=curve,
        validation_loss=curve,
        train_score=curve,
        validation_score=curve,
        test_loss=0.5,
        test_score=0.9,
        measurement_steps=tuple(range(num_measurements)),
        gradient_norm=((0.1,) * (depth + 1),) * num_measurements,
        effective_width=widths,
        effective_width_relative=widths,
        dead_units=by_hidden,
        saturated_units=by_hidden,
        zero_weights=(0.0,) * num_measurements,
        zero_activations=(0.5,) * num_measurements,
        diverged=False,
        moved=True,
    )


def main() -> None:
    def plan() -> tuple[Run, ...]:
        runs = pending(STUDY, ())
        chunks_of(runs, workers=2)
        return runs

    runs = timed("plan 100,000 tuning runs", 10.0, plan)
    assert len(runs) == 100_000, len(runs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        with Ledger(path) as ledger:
            for first in range(1, len(runs), 1000):
                ledger.commit(map(record_of, runs[first : first + 1000]))
        print(f"{'ledger':<42} {path.stat().st_size / 1e6:6.0f} MB")
        again = tuple(dataclasses.replace(run) for run in runs)
        with Ledger(path) as ledger:
            missing = timed("which of 100,000 runs are missing", 1.0, lambda: ledger.missing(again))
            assert missing == runs[:1]
            timed(
                "open, and read 10,000 records",
                10.0,
                lambda: tuple(r.run for r in ledger.records(run.identity for run in runs[:10_000])),
            )


if __name__ == "__main__":
    main()
