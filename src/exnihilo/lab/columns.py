"""Columns of a user's data: finite numbers, or an error that names the column and its first row that is none."""

from typing import Any

import numpy as np
import numpy.typing as npt

from exnihilo.errors import DataError

# How a user gets rid of holes: in a table that was a file, and in a pair of arrays.
MEND_FILE = "remove these rows or fill them, with pandas: table.dropna(subset=['{name}'])"
MEND_ARRAYS = "keep the whole rows: keep = numpy.isfinite(x).all(axis=1); x, y = x[keep], y[keep]"
MEND_ARRAY_TARGET = "keep the rows with a target: keep = numpy.isfinite(y); x, y = x[keep], y[keep]"

_ROWS = "rows are counted from 1, below the header if there is one"


def finite_column(
    name: str, values: npt.NDArray[Any], label: str, *, noun: str = "Feature column", mend: str = MEND_FILE
) -> npt.NDArray[np.float32]:
    """The column in float32.

    Args:
        name: The column's name.
        values: Numbers, or objects of which each is one; text that reads as a number is one.
        label: What messages call the data, such as ``'heart.csv'`` with its quotes.
        noun: What messages call the column.
        mend: The fix for holes; ``{name}`` stands for the column.

    Raises:
        DataError: Text, a hole, NaN, infinity, or a number that float32 cannot hold.

    Example:
        >>> finite_column("age", np.array(["41", " 12.5"], dtype=object), "'heart.csv'")
        array([41. , 12.5], dtype=float32)
    """
    numbers = values if values.dtype.kind in "biuf" else np.array([_number(value) for value in values])
    if numbers.dtype.kind == "O":
        row = next(i for i, number in enumerate(numbers) if number is None)
        what = "no value" if values[row] is None else shown(values[row])
        raise DataError(
            f"{noun} '{name}' of {label} has {what} in row {row + 1}; it must be a number.",
            context=[_ROWS],
            fix=f"remove the column, or make numbers of it, with pandas: pandas.get_dummies(table, columns=['{name}'])",
        )
    with np.errstate(over="ignore"):
        narrow = numbers.astype(np.float32)
    broken = np.flatnonzero(~np.isfinite(narrow))
    if len(broken):
        row = int(broken[0])
        value = float(numbers[row])
        what = "NaN or nothing" if np.isnan(value) else "infinity" if np.isinf(value) else f"{value:g}, over float32,"
        raise DataError(
            f"{noun} '{name}' of {label} has {what} in row {row + 1}.",
            context=[f"rows with such a value: {len(broken)} of {len(numbers)}; {_ROWS}"],
            fix=mend.format(name=name),
        )
    return narrow


def require_complete_target(name: str, values: npt.NDArray[Any], label: str, *, mend: str = MEND_FILE) -> None:
    """Refuses a target with holes; what a value means is not asked yet.

    Raises:
        DataError: NaN, infinity, None or empty text.
    """
    if values.dtype.kind == "f":
        missing = np.flatnonzero(~np.isfinite(values))
    elif values.dtype.kind == "O":
        missing = np.flatnonzero([value is None or value == "" for value in values])
    else:
        return
    if len(missing):
        raise DataError(
            f"The target '{name}' of {label} has no finite value in row {int(missing[0]) + 1}.",
            context=[f"rows without one: {len(missing)} of {len(values)}; {_ROWS}"],
            fix=mend.format(name=name),
        )


def shown(value: object, *, limit: int = 40) -> str:
    """A value as a message shows it: as Python writes it, cut where it is long."""
    text = repr(value.item() if isinstance(value, np.generic) else value)
    return text if len(text) <= limit else f"{text[:limit]}..."


def _number(value: object) -> float | None:
    try:
        return float(value)  # pyright: ignore[reportArgumentType]  # what cannot be a number raises
    except (TypeError, ValueError):
        return None
