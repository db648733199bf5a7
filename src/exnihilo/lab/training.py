"""Which way a run is trained: networks in stacks, many at once, and models one by one."""

from collections.abc import Sequence

from exnihilo.lab import alone, engine
from exnihilo.lab.records import Model, Run, RunRecord
from exnihilo.lab.tasks import Task


def train(task: Task, runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    """Train the runs and return their records in the same order.

    Args:
        task: The task that every run names.
        runs: Any mix; those of networks with equal ``engine.stack_key`` train together.

    Raises:
        ExnihiloError: A run of another task, a start that its network has no home for, or a batch larger than the
            training rows.
    """
    stacked = [index for index, run in enumerate(runs) if not isinstance(run.network, Model)]
    records = dict(zip(stacked, engine.train(task, [runs[index] for index in stacked]), strict=True))
    for index, run in enumerate(runs):
        if index not in records:
            records[index] = alone.train(task, run)
    return tuple(records[index] for index in range(len(runs)))


def largest_chunk(run: Run) -> int:
    """How many such runs are handed to a worker at once, at most."""
    return 1 if isinstance(run.network, Model) else engine.MAX_STACK
