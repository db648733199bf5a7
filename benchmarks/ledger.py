"""How long a study of 100,000 tuning runs takes to plan, and a ledger that holds them to answer.

    python benchmarks/ledger.py [--rounds 3] [--json]

Planning asks for the runs that choose the rates, all at once, and cuts them into chunks; what is judged, at the chosen
rates and their neighbors, follows from these runs and is no part of it. The resume query asks a ledger that holds all
but one of them which one is missing, hashing every run on the way. The forecast of a study of a few dozen runs looks
them up among the others. Goals: planning and reading under 10 s, the rest under 1 s.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exnihilo.lab.driver import chunks_of, finished
from exnihilo.lab.forecast import forecast
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


# One place of it, of which the ledger holds the tuning runs of three seeds, but for one run.
SMALL = replace(STUDY, name="small", tasks=STUDY.tasks[:1], networks=STUDY.networks[:1], tuning_seeds=3)
NUM_READ = 10_000

Prepare = Callable[[], tuple[Run, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Wall and CPU seconds of each round of one kind of work, and the goal for the wall seconds."""

    work: str
    wall: tuple[float, ...]
    cpu: tuple[float, ...]
    goal: float


def nothing() -> tuple[Run, ...]:
    return ()


def timed(
    name: str, goal: float, rounds: int, work: Callable[[tuple[Run, ...]], object], prepare: Prepare = nothing
) -> Measured:
    """Rounds of the work, each on what was prepared for it, which is not timed."""
    walls: list[float] = []
    cpus: list[float] = []
    for _ in range(rounds):
        prepared = prepare()
        wall, cpu = time.perf_counter(), time.process_time()
        work(prepared)
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Measured(work=name, wall=tuple(walls), cpu=tuple(cpus), goal=goal)


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


def measured(rounds: int, folder: Path) -> Iterator[Measured]:
    def planned(_: object) -> None:
        chunks_of(pending(STUDY, ()), workers=2)

    runs = pending(STUDY, ())
    assert len(runs) == 100_000, len(runs)
    yield timed("plan 100,000 tuning runs", 10.0, rounds, planned)
    path = folder / "ledger.sqlite"
    with Ledger(path) as ledger:
        for first in range(1, len(runs), 1000):
            ledger.commit(map(record_of, runs[first : first + 1000]))

    def fresh() -> tuple[Run, ...]:
        return tuple(replace(run) for run in runs)  # a run keeps its hash

    def opened(_: object) -> None:
        Ledger(path).close()

    yield timed(f"open a ledger of {path.stat().st_size / 1e6:.0f} MB", 1.0, rounds, opened)
    with Ledger(path) as ledger:

        def resumed(again: tuple[Run, ...]) -> None:
            assert ledger.missing(again) == runs[:1]

        def foreseen(_: object) -> None:
            found = forecast(SMALL, finished([SMALL], ledger))
            assert found.num_finished == found.num_tuning - 1, found

        def read(some: tuple[Run, ...]) -> None:
            assert len(ledger.records(run.identity for run in some[1 : NUM_READ + 1])) == NUM_READ

        yield timed("which of 100,000 runs are missing", 1.0, rounds, resumed, fresh)
        yield timed("forecast a study of few runs among them", 1.0, rounds, foreseen)
        yield timed(f"read {NUM_READ:,} records", 10.0, rounds, read, fresh)


def line(of: Measured) -> str:
    wall, cpu = statistics.median(of.wall), statistics.median(of.cpu)
    verdict = "met" if wall < of.goal else "MISSED"
    return f"{of.work:<42} {wall:6.2f} s wall, {cpu:6.2f} s CPU   goal {of.goal:g} s   {verdict}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true", help="print all at the end, as JSON")
    options = parser.parse_args()
    found: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder:
        for of in measured(options.rounds, Path(folder)):
            found.append(of)
            if not options.json:
                print(line(of), flush=True)
    if options.json:
        print(json.dumps([asdict(of) for of in found], indent=2))


if __name__ == "__main__":
    main()
