"""Tasks: what a network is asked to learn, and the rows that a run sees.

A `Task` is a name and plain values that say how to load the rows again, in any process. `load` gives the rows,
`split` the standardized training, validation and test rows of one seed.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from exnihilo.errors import DataError, InvalidValueError, UnknownNameError
from exnihilo.fills import Key, permutation
from exnihilo.lab.generated import GENERATED
from exnihilo.lab.sources import SHIPPED, TEXT, Arrays, Builtin, File, Source, content_hash, read
from exnihilo.lab.tables import KINDS, MIN_ROWS_PER_CLASS, Examples, Kind, Table, interpret, read_arrays, read_file

# The shares of a split, of each class where there are classes, in tenths: training takes what the other two leave.
VALIDATION_TENTHS = 2
TEST_TENTHS = 2
# The fewest rows of a regression: each part gets two (6, 2, 2), the fewest that can differ.
MIN_ROWS = 10

_SHARES = "a split is 60 % training, 20 % validation, 20 % test"

TASK_NAMES: tuple[str, ...] = (*SHIPPED, *GENERATED, TEXT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a network is asked to learn, as plain values.

    Args:
        name: The name that a run carries; a user's data has a hash of its content in it.
        kind: ``"classification"`` (cross-entropy, accuracy), ``"regression"`` (mean squared error, R²) or
            ``"sequence"`` (cross-entropy and accuracy of each next symbol).
        num_inputs: Inputs of a row; those of an image, flattened; symbols of a sequence.
        num_outputs: Classes, symbols of the alphabet, or 1 for a regression.
        num_rows: Rows, before the split.
        image_shape: (channels, height, width) where the inputs are images.
        class_names: The class names in order of their numbers; empty for a regression.
        source: How to load the rows again.
    """

    name: str
    kind: Kind
    num_inputs: int
    num_outputs: int
    num_rows: int
    image_shape: tuple[int, int, int] | None = None
    class_names: tuple[str, ...] = ()
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """All rows of a task, not yet split or standardized. Shared within a process: never write into it.

    Args:
        inputs: float32 [rows, num_inputs]; numbers of symbols where the task is a sequence.
        targets: int64 [rows] of classes, int64 [rows, num_inputs] of next symbols, or float32 [rows, 1].
    """

    inputs: Tensor
    targets: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one part of a split.

    Args:
        inputs: float32 [rows, num_inputs], standardized by the training rows; of a sequence, its symbols' numbers.
        targets: int64 [rows] of classes, int64 [rows, num_inputs] of next symbols, or float32 [rows, 1], standardized
            by the training rows.
        rows: int64 [rows]; where each row stands in the data set.
    """

    inputs: Tensor
    targets: Tensor
    rows: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitData:
    """One split of a task: 60 % of the rows to train on, 20 % to validate, 20 % to test."""

    train: Part
    validation: Part
    test: Part


def task_named(name: str) -> Task:
    """One of the tasks that need no file.

    scikit-learn's ``digits``, ``breast_cancer``, ``wine`` and ``diabetes``; the generated ``teacher_student``,
    ``spirals`` and ``deep_linear`` of `exnihilo.lab.generated`; ``characters`` of the standard library's source, whose
    name gets eight digits of the text's hash, since it depends on the version of Python.

    Raises:
        UnknownNameError: No task has this name.

    Example:
        >>> task = task_named("digits")
        >>> task.num_inputs, task.num_outputs, task.num_rows, task.image_shape
        (64, 10, 1797, (1, 8, 8))
    """
    if name not in TASK_NAMES:
        raise UnknownNameError.of("task", name, TASK_NAMES)
    return _builtin_task(name)


def from_file(path: str | Path, *, target: str | None = None, kind: Kind | None = None) -> Task:
    """A task from a user's CSV, Parquet or ``.npz`` file.

    A CSV needs a header line; all columns but the target are inputs and must be numbers. An ``.npz`` holds ``x``
    [rows, inputs] or [rows, channels, height, width], and ``y``.

    Args:
        path: The file. It is read again by each worker, so it must not change while a study runs.
        target: The target's column or array; None takes ``target`` (``y`` in an ``.npz``).
        kind: ``"classification"`` or ``"regression"``; None infers it: text, booleans, and integers with at most 20
            distinct values, of five rows each on average, are classes; everything else is a regression.

    Returns:
        A task whose name is the file's stem and eight digits of the hash of its rows.

    Raises:
        DataError: The file or a value in it cannot be used; the message names the place.
        InvalidValueError: ``kind`` is neither of the two.
    """
    _require_kind(kind)
    path = Path(path).expanduser().absolute()
    table = read_file(path, target)
    examples = interpret(table, kind)
    require_enough_rows(examples, table)
    content = content_hash(examples)
    source = File(path=str(path), target=target, kind=examples.kind, content=content)
    return _task(f"{path.stem}-{content[:8]}", examples, source)


def from_arrays(x: object, y: object, *, name: str = "arrays", kind: Kind | None = None) -> Task:
    """A task from a pair of arrays, or of anything that NumPy reads as one.

    Args:
        x: Inputs [rows, inputs], or images [rows, channels, height, width].
        y: Classes or numbers, [rows] or [rows, 1].
        name: Begins the task's name.
        kind: As in `from_file`.

    Raises:
        DataError: A shape or a value that cannot be used; the message names the place.
        InvalidValueError: ``kind`` is neither of the two.

    Example:
        >>> x = [[0.0, 1.0], [1.0, 0.0], [0.5, 2.0], [3.0, 1.0], [2.0, 2.0]] * 2
        >>> task = from_arrays(x, ["no"] * 5 + ["yes"] * 5, name="answers")
        >>> task.kind, task.class_names, task.num_rows
        ('classification', ('no', 'yes'), 10)
    """
    _require_kind(kind)
    table = read_arrays(x, y, f"'{name}'")
    examples = interpret(table, kind)
    require_enough_rows(examples, table)
    return _task(f"{name}-{content_hash(examples)[:8]}", examples, Arrays.of(examples))


@functools.lru_cache(maxsize=32)
def load(task: Task) -> Dataset:
    """All rows of a task; kept for the life of the process.

    Raises:
        DataError: The user's file was changed, or is gone, since the task was made.

    Example:
        >>> load(task_named("diabetes")).targets.shape
        torch.Size([442, 1])
    """
    examples = read(task.source)
    return Dataset(inputs=torch.from_numpy(examples.inputs.copy()), targets=torch.from_numpy(examples.targets.copy()))


def split(task: Task, dataset: Dataset, seed: int) -> SplitData:
    """Splits the rows 60/20/20 in an order that depends on the task's name and ``seed`` alone.

    Classes are split one by one, so that each part has every class in its share, and the sizes of the parts do not
    depend on the seed. Inputs, and the targets of a regression, are standardized by the mean and the standard
    deviation (divisor n) of the training rows; a column that is constant there is only centered.

    Raises:
        DataError: Fewer rows, or rows of a class, than the parts need; or a part whose targets are all equal.

    Example:
        >>> task = task_named("wine")
        >>> parts = split(task, load(task), seed=0)
        >>> len(parts.train.rows), len(parts.validation.rows), len(parts.test.rows)
        (106, 36, 36)
    """
    order = permutation(Key(seed, f"{task.name}/split"), task.num_rows).numpy()
    inputs, targets = dataset.inputs.numpy(), dataset.targets.numpy()
    part_of = np.empty(task.num_rows, dtype=np.int64)
    classes = targets if task.kind == "classification" else np.zeros(task.num_rows, dtype=np.int64)
    for number in range(task.num_outputs):
        members = order[classes[order] == number]
        part_of[members] = _part_numbers(len(members))
    rows = [order[part_of[order] == part] for part in range(3)]
    if task.kind != "sequence":
        inputs = _standardized(inputs, rows[0])
    if task.kind == "regression":
        _require_varied_targets(task, targets, rows, seed)
        targets = _standardized(targets, rows[0])
    train, validation, test = (
        Part(
            inputs=torch.from_numpy(inputs[chosen]),
            targets=torch.from_numpy(targets[chosen]),
            rows=torch.from_numpy(chosen.copy()),
        )
        for chosen in rows
    )
    return SplitData(train=train, validation=validation, test=test)


def require_enough_rows(examples: Examples, table: Table) -> None:
    """Refuses data that cannot be split.

    Raises:
        DataError: A class with fewer than ``MIN_ROWS_PER_CLASS`` rows, or a regression with fewer than ``MIN_ROWS``.
    """
    if examples.kind == "regression":
        if len(examples.inputs) < MIN_ROWS:
            raise DataError(
                f"The data {table.label} has {len(examples.inputs)} rows; a split needs at least {MIN_ROWS}.",
                context=[_SHARES],
                fix="add rows",
            )
        return
    counts = np.bincount(examples.targets, minlength=len(examples.class_names))
    scarce = np.flatnonzero(counts < MIN_ROWS_PER_CLASS)
    if len(scarce):
        name, count = examples.class_names[scarce[0]], int(counts[scarce[0]])
        what = f"Class '{name}' of the target '{table.target_name}' of {table.label} has {count} row"
        raise DataError(
            f"{what}{'s' if count > 1 else ''}; a split needs at least {MIN_ROWS_PER_CLASS} of each class.",
            context=[f"{len(scarce)} of {len(counts)} classes have too few; {_SHARES}"],
            fix="add rows, join rare classes, or pass kind='regression' if the target is a number",
        )


def _part_numbers(num_rows: int) -> npt.NDArray[np.int64]:
    """For rows in shuffled order: 0 where a row trains, 1 where it validates, 2 where it tests."""
    num_validation = (VALIDATION_TENTHS * num_rows + 5) // 10
    num_test = (TEST_TENTHS * num_rows + 5) // 10
    return np.repeat([0, 1, 2], [num_rows - num_validation - num_test, num_validation, num_test])


def _standardized(values: npt.NDArray[np.float32], train_rows: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    train = values[train_rows].astype(np.float64)
    std = train.std(axis=0)
    # Exactly 0 for a constant column: equal float32 numbers add up in float64 without rounding.
    std[std == 0.0] = 1.0
    return ((values.astype(np.float64) - train.mean(axis=0)) / std).astype(np.float32)


def _require_varied_targets(
    task: Task, targets: npt.NDArray[np.float32], rows: list[npt.NDArray[np.int64]], seed: int
) -> None:
    for part, chosen in zip(("training", "validation", "test"), rows, strict=True):
        if targets[chosen].min() == targets[chosen].max():
            raise DataError(
                f"The {len(chosen)} {part} targets of '{task.name}' are all equal in split {seed}: R² is undefined.",
                context=["a regression's target must vary within each part of a split"],
                fix="add rows whose target varies, or pass kind='classification' if it has few distinct values",
            )


@functools.cache
def _builtin_task(name: str) -> Task:
    source = Builtin(name=name)
    examples = read(source)
    full_name = f"{name}-{content_hash(examples)[:8]}" if name == TEXT else name
    return _task(full_name, examples, source)


def _task(name: str, examples: Examples, source: Source) -> Task:
    return Task(
        name=name,
        kind=examples.kind,
        num_inputs=examples.inputs.shape[1],
        num_outputs=len(examples.class_names) or 1,
        num_rows=len(examples.inputs),
        image_shape=examples.image_shape,
        class_names=examples.class_names,
        source=source,
    )


def _require_kind(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise InvalidValueError(
            f"kind is '{kind}'; it must be one of: {', '.join(KINDS)}.", fix="kind='classification'"
        )
