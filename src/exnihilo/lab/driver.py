"""Trains what the studies ask for: asks for the pending runs, trains those that the ledger lacks, commits, asks again.

The driver alone writes to the ledger, one transaction a chunk, so that whatever is killed loses at most the chunks in
flight, and a run that was committed is never trained again.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass

from exnihilo.errors import WorkerError
from exnihilo.lab import engine, training
from exnihilo.lab.records import Network, Run, RunRecord
from exnihilo.lab.schedule import pending
from exnihilo.lab.store import Ledger
from exnihilo.lab.study import Study
from exnihilo.lab.tasks import Task
from exnihilo.lab.workers import process_pool, train_chunk

Train = Callable[[Task, Sequence[Run]], tuple[RunRecord, ...]]

# Chunks are cut no smaller than this for the sake of an even load: a stack of fewer runs gains little by stacking.
MIN_CHUNK = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far an execution has come.

    Args:
        num_trained: Runs trained and committed by this call.
        num_found: Runs that the ledger held already.
        num_waiting: Runs known to be needed still; more may follow, as a study's next runs depend on its last ones.
        seconds: Wall time since the call.
    """

    num_trained: int
    num_found: int
    num_waiting: int
    seconds: float


def execute(
    studies: Sequence[Study],
    ledger: Ledger,
    *,
    workers: int = 1,
    train: Train = training.train,
    executor: Executor | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    on_done: Callable[[Study, Mapping[Run, RunRecord]], None] | None = None,
) -> Mapping[Run, RunRecord]:
    """Train all that the studies ask for, until nothing is pending.

    Args:
        studies: Declared in the ledger before their first run; runs that they share are trained once.
        ledger: Where finished runs are found and kept.
        workers: Processes that train, each on one thread; 1 trains in this process.
        train: The engine; picklable by name where there are workers.
        executor: Trains instead of processes of our own, which ``workers`` then only counts.
        on_progress: Called after each commit.
        on_done: Called as soon as nothing is pending for a study, with all records so far.

    Returns:
        The records of all runs of the studies.

    Raises:
        WorkerError: A worker process died; what was finished is committed.
        KeyboardInterrupt: Passed on after the finished chunks are committed and the workers are gone.
    """
    started = time.monotonic()
    tasks = {task.name: task for study in studies for task in study.task_records}
    ledger.declare(study.declaration() for study in studies)
    shelf = _Shelf(ledger)
    num_trained = 0
    unfinished = list(studies)

    def commit(records: tuple[RunRecord, ...], num_waiting: int) -> None:
        nonlocal num_trained
        shelf.add(records)
        num_trained += len(records)
        report(num_waiting)

    def report(num_waiting: int) -> None:
        if on_progress is not None:
            seconds = time.monotonic() - started
            on_progress(
                Progress(num_trained=num_trained, num_found=shelf.num_found, num_waiting=num_waiting, seconds=seconds)
            )

    def next_chunks() -> list[tuple[Task, tuple[Run, ...]]]:
        """The next runs of all studies that are not in the ledger, in chunks; none when all are done."""
        while unfinished:
            wanted: dict[Run, None] = {}
            for study in tuple(unfinished):
                runs = pending(study, shelf.records)
                wanted |= dict.fromkeys(runs)
                if not runs:
                    unfinished.remove(study)
                    if on_done is not None:
                        on_done(study, shelf.records)
            missing = shelf.take(wanted)
            if missing:
                report(len(missing))
                return [(tasks[chunk[0].task], chunk) for chunk in chunks_of(missing, workers)]
        return []

    chunks = next_chunks()
    if not chunks:
        return shelf.records
    with process_pool(workers, executor) as pool:
        while chunks:
            if pool is None:
                _train_here(train, chunks, commit)
            else:
                _train_there(pool, train, chunks, commit, limit=2 * workers)
            chunks = next_chunks()
    return shelf.records


def finished(studies: Iterable[Study], ledger: Ledger) -> Mapping[Run, RunRecord]:
    """The finished runs of the studies: the ledger is asked for them alone, however many of others it holds.

    Which runs a study needs depends on those before: it is asked again until it names none that was not looked up.
    """
    records: dict[Run, RunRecord] = {}
    for study in studies:
        looked_up: set[Run] = set()
        while asked := [run for run in pending(study, records) if run not in looked_up]:
            looked_up.update(asked)
            records.update((record.run, record) for record in ledger.records(run.identity for run in asked))
    return records


def chunks_of(runs: Iterable[Run], workers: int) -> tuple[tuple[Run, ...], ...]:
    """The runs in chunks that train together, the longest first.

    Runs of one stack are cut evenly, into chunks no larger than ``training.largest_chunk``, and small enough that every
    worker has two; yet no smaller than ``MIN_CHUNK`` for that.

    Example:
        >>> from exnihilo.lab.records import Network, Optimizer, Start
        >>> common = dict(task="digits", network=Network(), start=Start(name="zeros"), optimizer=Optimizer())
        >>> runs = [Run(**common, lr=0.1, seed=seed, steps=10, batch_size=32) for seed in range(100)]
        >>> [len(chunk) for chunk in chunks_of(runs, workers=1)]
        [50, 50]
        >>> [len(chunk) for chunk in chunks_of(runs[:12], workers=2)]
        [6, 6]
    """
    stacks: dict[Hashable, list[Run]] = {}
    for run in runs:
        stacks.setdefault((run.task, engine.stack_key(run)), []).append(run)
    total = sum(map(len, stacks.values()))
    even = max(MIN_CHUNK, math.ceil(total / (2 * workers))) if workers > 1 else total
    chunks = [chunk for stack in stacks.values() for chunk in _cut(stack, min(even, training.largest_chunk(stack[0])))]
    return tuple(sorted(chunks, key=_longest_first))


def _longest_first(chunk: tuple[Run, ...]) -> tuple[bool, int]:
    """A model of a thousand layers alone takes longer than any stack: models come first, the deepest in front."""
    run = chunk[0]
    return isinstance(run.network, Network), -len(chunk) * run.steps * run.network.depth


def _cut(runs: list[Run], size: int) -> Iterator[tuple[Run, ...]]:
    num_chunks = math.ceil(len(runs) / size)
    for index in range(num_chunks):
        yield tuple(runs[len(runs) * index // num_chunks : len(runs) * (index + 1) // num_chunks])


class _Shelf:
    """The records at hand, and the ledger behind them; a run is hashed once."""

    def __init__(self, ledger: Ledger) -> None:
        self.records: dict[Run, RunRecord] = {}
        self.num_found = 0
        self._ledger = ledger
        self._stored = ledger.identities()

    def take(self, runs: Iterable[Run]) -> list[Run]:
        """Take those that the ledger holds to hand; return the others."""
        identities = {run: run.identity for run in runs}
        here = [identity for identity in identities.values() if identity in self._stored]
        found = self._ledger.records(here)
        self.records.update((record.run, record) for record in found)
        self.num_found += len(found)
        return [run for run, identity in identities.items() if identity not in self._stored]

    def add(self, records: tuple[RunRecord, ...]) -> None:
        self._ledger.commit(records)
        self.records.update((record.run, record) for record in records)


_Chunk = tuple[Task, tuple[Run, ...]]
_Commit = Callable[[tuple[RunRecord, ...], int], None]


def _train_here(train: Train, chunks: list[_Chunk], commit: _Commit) -> None:
    num_waiting = sum(len(runs) for _, runs in chunks)
    for task, runs in chunks:
        num_waiting -= len(runs)
        commit(train_chunk(train, task, runs), num_waiting)


def _train_there(pool: Executor, train: Train, chunks: list[_Chunk], commit: _Commit, *, limit: int) -> None:
    """Keep a few chunks submitted: what an interrupt throws away stays small, and so does what waits in memory."""
    queue = deque(chunks)
    running: set[Future[tuple[RunRecord, ...]]] = set()
    num_waiting = sum(len(runs) for _, runs in chunks)
    try:
        while queue or running:
            while queue and len(running) < limit:
                running.add(pool.submit(train_chunk, train, *queue[0]))
                queue.popleft()
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                records = future.result()
                num_waiting -= len(records)
                commit(records, num_waiting)
                running.discard(future)
    except BaseException as error:
        finished = [f for f in running if f.done() and not f.cancelled() and f.exception() is None]
        for future in finished:
            commit(future.result(), num_waiting)
        if isinstance(error, BrokenExecutor):
            raise WorkerError(
                "A worker process died while it trained; the system may have been short of memory.",
                context=["Finished runs are in the ledger; runs in flight will be trained again."],
                fix="run the same command again, with fewer workers: --workers 1",
            ) from error
        raise
