"""The data of a stack of runs: each run's own split, its own order of rows, and the parts that are evaluated.

Shape legend: R runs, S distinct splits, T steps, B samples, N rows, I inputs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key, permutations
from exnihilo.lab.layers import VECTOR
from exnihilo.lab.memory import Buffers
from exnihilo.lab.records import EVALUATED_ROWS, Run
from exnihilo.lab.tasks import SplitData, Task, load, split


@lru_cache(maxsize=256)
def data_order(task: str, seed: int, rows: int, batch_size: int, count: int) -> Tensor:
    """The rows of ``count`` batches ``[count, B]`` of a task: whole epochs, each shuffled anew, without ragged ends.

    Never write into it: the runs of many stacks share their seeds, and so their orders.
    """
    per_epoch = rows // batch_size
    orders = permutations(Key(seed, f"{task}/order"), rows, -(-count // per_epoch))
    return orders[:, : per_epoch * batch_size].reshape(-1, batch_size)[:count]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One evaluated part of every run's split.

    Args:
        inputs: ``[R, N, I]``, N padded to a multiple of ``VECTOR`` by repeating the first row.
        targets: ``[R, N]`` or ``[R, N, 1]``.
        rows: How many rows count.
    """

    inputs: Tensor
    targets: Tensor
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """What a stack of runs trains and is evaluated on.

    Args:
        order: ``[R, T, B]`` rows of ``inputs``.
        inputs: Training rows of all splits, ``[S * N, I]``.
        targets: Their targets.
        parts: ``train``, ``validation`` and ``test``, cut to ``EVALUATED_ROWS``.
    """

    order: Tensor
    inputs: Tensor
    targets: Tensor
    parts: dict[str, Part]
    _buffers: Buffers = field(default_factory=Buffers, init=False)

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Inputs ``[R, B, I]``, written over at the next call, and targets ``[R * B, ...]`` of one step."""
        index_RB = self.order[:, step]
        flat = index_RB.flatten()
        inputs = self._buffers.take("inputs", 1, flat.numel(), self.inputs.shape[1])[0]
        torch.index_select(self.inputs, 0, flat, out=inputs)
        return inputs.view(*index_RB.shape, -1), self.targets.index_select(0, flat)


def batches_of(task: Task, runs: Sequence[Run]) -> Batches:
    """The batches of runs that share a task, a batch size and a number of steps.

    Raises:
        InvalidValueError: A batch larger than the training rows.
    """
    batch_size, count = runs[0].batch_size, runs[0].steps + 1
    seeds = [run.seed if run.split is None else run.split for run in runs]
    distinct = sorted(set(seeds))
    splits = [_split(task, seed) for seed in distinct]
    which = torch.tensor([distinct.index(seed) for seed in seeds])
    rows = splits[0].train.inputs.shape[0]
    if batch_size > rows:
        raise InvalidValueError(
            f"Run.batch_size is {batch_size}, and task '{task.name}' has {rows} training rows.",
            fix=f"batch_size={rows}",
        )
    orders = {seed: data_order(task.name, seed, rows, batch_size, count) for seed in {run.seed for run in runs}}
    order_RTB = torch.stack([orders[run.seed] for run in runs])
    return Batches(
        order=order_RTB + (which * rows).view(-1, 1, 1),
        inputs=torch.cat([s.train.inputs for s in splits]),
        targets=torch.cat([s.train.targets for s in splits]),
        parts={name: _part(splits, which, name) for name in ("train", "validation", "test")},
    )


@lru_cache(maxsize=64)
def _split(task: Task, seed: int) -> SplitData:
    """The studies of a claim share their seeds, so that the same splits come back with every stack."""
    return split(task, load(task), seed)


def _part(splits: Sequence[SplitData], which: Tensor, name: str) -> Part:
    inputs = torch.stack([getattr(s, name).inputs[:EVALUATED_ROWS] for s in splits])
    targets = torch.stack([getattr(s, name).targets[:EVALUATED_ROWS] for s in splits])
    rows = inputs.shape[1]
    padded = [*range(rows), *[0] * (-rows % VECTOR)]
    return Part(inputs=inputs[:, padded][which], targets=targets[:, padded][which], rows=rows)
