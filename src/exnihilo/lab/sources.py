"""Where a task's rows come from, as plain values, and how to read them again in any process."""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, assert_never

import numpy as np

from exnihilo.errors import DataError, MissingExtraError
from exnihilo.lab.characters import ALPHABET, characters
from exnihilo.lab.generated import GENERATED
from exnihilo.lab.tables import Examples, Kind, interpret, read_file

# scikit-learn's own data sets, by the names that a run carries: (loader, kind, image shape).
SHIPPED: dict[str, tuple[str, Kind, tuple[int, int, int] | None]] = {
    "digits": ("load_digits", "classification", (1, 8, 8)),
    "breast_cancer": ("load_breast_cancer", "classification", None),
    "wine": ("load_wine", "classification", None),
    "diabetes": ("load_diabetes", "regression", None),
}

# The standard library's source text.
TEXT = "characters"


@dataclass(frozen=True, slots=True, kw_only=True)
class Builtin:
    """Rows that ship with scikit-learn or with Python, or are generated.

    Args:
        name: A key of ``SHIPPED`` or ``GENERATED``, or ``TEXT``.
    """

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Rows in a user's file, read again in each process.

    Args:
        path: Absolute, so that a worker finds it from any folder.
        target: The target's column or array, None for the default one.
        kind: What the target was read as.
        content: Hash of the rows; a file whose rows have another one is refused.
    """

    path: str
    target: str | None
    kind: Kind
    content: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrays:
    """Rows that came as arrays, kept as bytes: a task stays a plain value that can be sent to a worker.

    Args:
        inputs: float32, row after row.
        targets: int64 classes, or float32 numbers.
        kind: What the targets are.
        num_rows: Rows.
        class_names, image_shape: As in `exnihilo.lab.tables.Examples`.
    """

    inputs: bytes = field(repr=False)
    targets: bytes = field(repr=False)
    kind: Kind
    num_rows: int
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int] | None

    @classmethod
    def of(cls, examples: Examples) -> "Arrays":
        """The source that gives these examples again."""
        return cls(
            inputs=examples.inputs.tobytes(),
            targets=examples.targets.tobytes(),
            kind=examples.kind,
            num_rows=len(examples.inputs),
            class_names=examples.class_names,
            image_shape=examples.image_shape,
        )


Source = Builtin | File | Arrays


def read(source: Source) -> Examples:
    """The rows of a source.

    Raises:
        DataError: The user's file was changed since the source was made, or cannot be read any more.
        MissingExtraError: The rows ship with scikit-learn, which is not installed.

    Example:
        >>> read(Builtin(name="wine")).class_names
        ('class_0', 'class_1', 'class_2')
    """
    match source:
        case Builtin(name=name):
            return _builtin(name)
        case File():
            return _unchanged(source)
        case Arrays():
            inputs = np.frombuffer(source.inputs, dtype=np.float32).reshape(source.num_rows, -1)
            is_classes = source.kind == "classification"
            targets = np.frombuffer(source.targets, dtype=np.int64 if is_classes else np.float32)
            return Examples(
                kind=source.kind,
                inputs=inputs,
                targets=targets if is_classes else targets[:, None],
                class_names=source.class_names,
                image_shape=source.image_shape,
            )
        case _:
            assert_never(source)


def content_hash(examples: Examples) -> str:
    """Hash of what a run can see: equal rows have equal hashes, wherever their file lies.

    Example:
        >>> content_hash(read(Builtin(name="wine"))) == content_hash(read(Builtin(name="digits")))
        False
    """
    digest = hashlib.blake2b(digest_size=16)
    digest.update(repr((examples.kind, examples.inputs.shape, examples.class_names, examples.image_shape)).encode())
    digest.update(np.ascontiguousarray(examples.inputs).tobytes())
    digest.update(np.ascontiguousarray(examples.targets).tobytes())
    return digest.hexdigest()


def _unchanged(source: File) -> Examples:
    examples = interpret(read_file(Path(source.path), source.target), source.kind)
    found = content_hash(examples)
    if found != source.content:
        raise DataError(
            f"The data file '{source.path}' was changed since its task was made.",
            context=[f"hash of its rows: {source.content[:8]} then, {found[:8]} now"],
            fix="start the study again: the new rows make a new task, and the finished runs are kept",
        )
    return examples


@functools.cache
def _builtin(name: str) -> Examples:
    if name == TEXT:
        symbols, following = characters()
        return Examples(kind="sequence", inputs=symbols, targets=following, class_names=ALPHABET)
    if name in GENERATED:
        inputs, targets = GENERATED[name]()
        is_classes = targets.dtype == np.int64
        names = tuple(str(number) for number in range(int(targets.max()) + 1)) if is_classes else ()
        return Examples(
            kind="classification" if is_classes else "regression", inputs=inputs, targets=targets, class_names=names
        )
    loader, kind, image_shape = SHIPPED[name]
    bunch = _scikit_learn_loader(loader)()
    inputs = np.ascontiguousarray(bunch.data, dtype=np.float32)
    if kind == "regression":
        return Examples(kind=kind, inputs=inputs, targets=np.asarray(bunch.target, dtype=np.float32)[:, None])
    return Examples(
        kind=kind,
        inputs=inputs,
        targets=np.asarray(bunch.target, dtype=np.int64),
        class_names=tuple(str(class_name) for class_name in bunch.target_names),
        image_shape=image_shape,
    )


def _scikit_learn_loader(loader: str) -> Callable[[], Any]:
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtraError(
            "The lab's data sets need scikit-learn, which is not installed.", fix="pip install 'exnihilo[lab]'"
        ) from error
    return getattr(datasets, loader)
