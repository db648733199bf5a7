"""A user's own data: files and arrays become inputs and targets, or one clear error.

Two steps. Reading (`read_file`, `read_arrays`) finds the columns and refuses holes and text; `interpret` decides what
the target means: classes or numbers.
"""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from exnihilo.errors import DataError, MissingExtraError
from exnihilo.lab.columns import MEND_ARRAY_TARGET, MEND_ARRAYS, finite_column, require_complete_target, shown

Kind = Literal["classification", "regression", "sequence"]
# What a user's data can be.
KINDS: tuple[Kind, ...] = ("classification", "regression")

# The fewest rows of a class that give each part of a 60/20/20 split one row (3, 1, 1).
MIN_ROWS_PER_CLASS = 5
# Integers with at most this many distinct values, of enough rows each on average, are read as classes (digits has 10, a
# quality grade rarely over 20); more are counts or measurements.
MAX_INFERRED_CLASSES = 20

# The column, or the array of an .npz file, that is the target where none is named.
DEFAULT_TARGET = {".csv": "target", ".parquet": "target", ".npz": "y"}
INPUTS_ARRAY = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Inputs and a target, complete and numeric, as they were found.

    Args:
        label: What messages call the data, such as ``'heart.csv'`` with its quotes.
        inputs: float32 [rows, num_inputs].
        target: Booleans, integers, floats or strings [rows].
        target_name: The column's or array's name.
        image_shape: (channels, height, width) where the inputs came as images.
    """

    label: str
    inputs: npt.NDArray[np.float32]
    target: npt.NDArray[Any]
    target_name: str
    image_shape: tuple[int, int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Inputs and targets that the lab can train on.

    Args:
        kind: What the targets are.
        inputs: float32 [rows, num_inputs]; the numbers of symbols where the kind is a sequence.
        targets: int64 [rows] of classes, int64 [rows, num_inputs] of next symbols, or float32 [rows, 1].
        class_names: The class names, or symbols, in order of their numbers; empty for a regression.
        image_shape: (channels, height, width) where the inputs are images.
    """

    kind: Kind
    inputs: npt.NDArray[np.float32]
    targets: npt.NDArray[Any]
    class_names: tuple[str, ...] = ()
    image_shape: tuple[int, int, int] | None = None


def read_file(path: Path, target: str | None) -> Table:
    """Reads a CSV, Parquet or ``.npz`` file; the ending of its name says which.

    Args:
        path: The file. A CSV has a header line and commas; an ``.npz`` holds ``x`` [rows, inputs] or
            [rows, channels, height, width], and the target.
        target: The target's column or array; None takes ``target`` (``y`` in an ``.npz``).

    Raises:
        DataError: The file is missing, unreadable or empty, or a column cannot be used; the message names it.
    """
    label = f"'{path.name}'"
    ending = path.suffix.lower()
    if ending not in DEFAULT_TARGET:
        raise DataError(
            f"The ending '{path.suffix}' of {label} is not known.",
            context=[f"known endings: {', '.join(DEFAULT_TARGET)}"],
            fix="save the data as CSV with a header line, as Parquet, or with numpy.savez('data.npz', x=x, y=y)",
        )
    if not path.is_file():
        raise DataError(
            f"The data file '{path}' does not exist." if not path.exists() else f"'{path}' is not a file.",
            context=[*_near_files(path)],
            fix="check the path; a relative one starts at the folder where the command runs",
        )
    if path.stat().st_size == 0:
        raise DataError(f"The data file {label} is empty.", fix="save it again, with a header line and rows")
    target = DEFAULT_TARGET[ending] if target is None else target
    if ending == ".npz":
        arrays = _read_npz(path, label)
        for needed in (INPUTS_ARRAY, target):
            _require_name(needed, list(arrays), label, noun="array")
        return read_arrays(arrays[INPUTS_ARRAY], arrays[target], label, target_name=target)
    return _columns_to_table(_read_columns(path, label), target, label)


def read_arrays(x: object, y: object, label: str, *, target_name: str = "y") -> Table:
    """Takes inputs [rows, inputs] or images [rows, channels, height, width], and a target [rows] or [rows, 1].

    Raises:
        DataError: A shape, a kind of value, NaN or infinity that cannot be used; the message names the place.
    """
    inputs, target = np.asarray(x), np.asarray(y)
    if inputs.dtype.kind not in "biuf":
        raise DataError(
            f"The array '{INPUTS_ARRAY}' of {label} has no numbers: its dtype is {inputs.dtype}.",
            fix="pass x.astype('float32')",
        )
    if inputs.ndim not in (2, 4):
        raise DataError(
            f"The array '{INPUTS_ARRAY}' of {label} has shape {inputs.shape}; it must have 2 or 4 dims.",
            context=["asked: [rows, inputs], or images [rows, channels, height, width]"],
            fix="x.reshape(len(x), -1) flattens; x[:, None] adds the channel of gray images",
        )
    if target.ndim == 2 and target.shape[1] == 1:
        target = target[:, 0]
    if target.ndim != 1 or len(target) != len(inputs):
        raise DataError(
            f"The shapes of {label} disagree: '{INPUTS_ARRAY}' {inputs.shape}, '{target_name}' {np.asarray(y).shape}.",
            context=["asked: one target for each row, [rows] or [rows, 1]"],
            fix="pass the class or the number of each row, not one-hot rows: y = one_hot.argmax(axis=1)",
        )
    if len(inputs) == 0 or inputs[0].size == 0:
        raise DataError(f"The array '{INPUTS_ARRAY}' of {label} is empty: shape {inputs.shape}.", fix="pass rows")
    if target.dtype.kind == "O" and all(isinstance(value, str) for value in target):
        target = target.astype(str)
    if target.dtype.kind not in "biufU":
        raise DataError(
            f"The target '{target_name}' of {label} has neither numbers nor text: its dtype is {target.dtype}.",
            fix="pass y.astype(str) for classes, or y.astype('float32') for a regression",
        )
    flat = inputs.reshape(len(inputs), -1)
    columns = [
        finite_column(f"{INPUTS_ARRAY}[:, {i}]", flat[:, i], label, mend=MEND_ARRAYS) for i in range(flat.shape[1])
    ]
    require_complete_target(target_name, target, label, mend=MEND_ARRAY_TARGET)
    shape = tuple(int(size) for size in inputs.shape[1:])
    return Table(
        label=label,
        inputs=np.stack(columns, axis=1),
        target=target,
        target_name=target_name,
        image_shape=(shape[0], shape[1], shape[2]) if len(shape) == 3 else None,
    )


def interpret(table: Table, kind: Kind | None) -> Examples:
    """Decides what the target means.

    Text and booleans are classes; integers are classes where at most ``MAX_INFERRED_CLASSES`` distinct values occur,
    each in ``MIN_ROWS_PER_CLASS`` rows on average; everything else is a regression. ``kind`` overrides it.

    Raises:
        DataError: A constant target, or text where numbers are asked.
    """
    values, codes = np.unique(table.target, return_inverse=True)
    if len(values) < 2:
        raise DataError(
            f"The target '{table.target_name}' of {table.label} is constant: every row has {shown(values[0])}.",
            fix="name another column as the target, or add rows with other values",
        )
    found = kind or _inferred_kind(values, len(table.target))
    if found == "classification":
        names = tuple(str(value) for value in values.tolist())
        targets: npt.NDArray[Any] = codes.reshape(-1).astype(np.int64)
        return Examples(
            kind=found, inputs=table.inputs, targets=targets, class_names=names, image_shape=table.image_shape
        )
    if table.target.dtype.kind == "U":
        raise DataError(
            f"The target '{table.target_name}' of {table.label} is text; a regression needs numbers.",
            context=[f"found: {shown(table.target[0])} in row 1"],
            fix="kind='classification', or name another column as the target",
        )
    targets = finite_column(table.target_name, table.target, table.label, noun="Target column")
    return Examples(kind=found, inputs=table.inputs, targets=targets[:, None], image_shape=table.image_shape)


def _inferred_kind(values: npt.NDArray[Any], num_rows: int) -> Kind:
    few = len(values) <= min(MAX_INFERRED_CLASSES, num_rows // MIN_ROWS_PER_CLASS)
    return "classification" if values.dtype.kind in "bU" or (values.dtype.kind in "iu" and few) else "regression"


def _read_npz(path: Path, label: str) -> Mapping[str, npt.NDArray[Any]]:
    try:
        # Opened here, since np.load leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except Exception as error:
        # A damaged archive shows itself as any of a dozen exceptions of zipfile, zlib and numpy.
        raise DataError(
            f"The file {label} cannot be read as .npz.",
            context=[f"reason: {str(error).partition(chr(10))[0]}"],
            fix="save plain arrays of numbers: numpy.savez('data.npz', x=x, y=y)",
        ) from error


def _read_columns(path: Path, label: str) -> Mapping[str, npt.NDArray[Any]]:
    is_csv = path.suffix.lower() == ".csv"
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError(
            f"Reading {label} needs pyarrow, which is not installed.", fix="pip install 'exnihilo[lab]'"
        ) from error
    try:
        read = pyarrow.csv.read_csv if is_csv else pyarrow.parquet.read_table
        table = read(path)
        names: list[str] = list(table.column_names)
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"The file {label} cannot be read as {'CSV' if is_csv else 'Parquet'}.",
            context=[f"reason: {str(error).partition(chr(10))[0]}"],
            fix="check that each line has as many commas as the header, and that the text is UTF-8"
            if is_csv
            else "write it again, with pandas: table.to_parquet('data.parquet')",
        ) from error
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"The file {label} has two columns named '{twice}'.", fix="rename one of them in the header")
    return {name: _column_values(table.column(name)) for name in names}


def _column_values(column: Any) -> npt.NDArray[Any]:
    """One Arrow column as a NumPy array: numbers as they are, missing ones as NaN, everything else as objects."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if types.is_decimal(column.type):
        column = column.cast(pyarrow.float64())
    is_number = types.is_integer(column.type) or types.is_floating(column.type) or types.is_boolean(column.type)
    if is_number and (column.null_count == 0 or not types.is_boolean(column.type)):
        return column.to_numpy()
    values = np.empty(len(column), dtype=object)
    values[:] = column.to_pylist()
    return values


def _columns_to_table(columns: Mapping[str, npt.NDArray[Any]], target: str, label: str) -> Table:
    _require_name(target, list(columns), label, noun="column")
    features = {name: values for name, values in columns.items() if name != target}
    if not features:
        raise DataError(
            f"The file {label} has no feature columns, only the target '{target}'.",
            fix="add a column for each input",
        )
    if len(columns[target]) == 0:
        raise DataError(f"The file {label} has a header but no rows.", fix="save it again, with its rows")
    inputs = [finite_column(name, values, label) for name, values in features.items()]
    values = columns[target]
    require_complete_target(target, values, label)
    if values.dtype.kind == "O":
        values = np.array([str(value) for value in values])
    return Table(label=label, inputs=np.stack(inputs, axis=1), target=values, target_name=target)


def _require_name(name: str, known: list[str], label: str, *, noun: str) -> None:
    if name in known:
        return
    is_one_text = len(known) == 1 and any(mark in known[0] for mark in ";\t|")
    near = [] if is_one_text else difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if is_one_text:
        fix = "separate the columns by commas: the header holds ';', '|' or tabs instead"
    elif near:
        fix = f"target='{near[0]}'" if name != INPUTS_ARRAY else f"rename '{near[0]}' to '{INPUTS_ARRAY}'"
    elif noun == "column":
        fix = f"name the target column: target='{known[-1]}'"
    else:
        fix = "numpy.savez('data.npz', x=x, y=y)"
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise DataError(f"The file {label} has no {noun} '{name}'.{hint}", context=[_listed(known, noun)], fix=fix)


def _near_files(path: Path) -> list[str]:
    if not path.parent.is_dir():
        return [f"the folder '{path.parent}' does not exist either"]
    names = [
        entry.name for entry in path.parent.iterdir() if entry.suffix.lower() in DEFAULT_TARGET and entry.is_file()
    ]
    near = difflib.get_close_matches(path.name, names, n=1)
    return [f"nearest file there: '{near[0]}'"] if near else []


def _listed(names: list[str], noun: str, *, limit: int = 12) -> str:
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return f"found {noun}s: {', '.join(names[:limit])}{more}"
