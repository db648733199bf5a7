"""The color scale of a heatmap, and the ink that reads on each of its cells."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from exnihilo.claims.records import Axis
from exnihilo.report.numbers import shown

DARK_INK, LIGHT_INK = "#10131a", "#f7f8fa"


def heat_scale(axis: Axis, numbers: Sequence[float]) -> dict[str, Any]:
    """Properties of the Vega-Lite color scale: viridis, or blue to orange around zero where signs differ.

    Example:
        >>> heat_scale(Axis(field="loss", title="loss", scale="log"), [0.01, 1.0])
        {'scheme': 'viridis', 'type': 'log'}
        >>> heat_scale(Axis(field="gain", title="gain"), [-0.2, 0.1])
        {'scheme': 'blueorange', 'type': 'linear', 'domainMid': 0}
    """
    if _is_diverging(numbers):
        return {"scheme": "blueorange", "type": "linear", "domainMid": 0}
    if axis.scale == "linear" or not any(numbers):
        return {"scheme": "viridis", "type": "linear"}
    if axis.scale == "log" and min(numbers) > 0:
        return {"scheme": "viridis", "type": "log"}
    return {"scheme": "viridis", "type": "symlog", "constant": _constant(numbers)}


def with_cell_labels(rows: Sequence[Mapping[str, Any]], axis: Axis) -> tuple[dict[str, Any], ...]:
    """The rows with ``label``, the number as read, and ``ink``, the color that reads on the cell."""
    numbers = [row["c"] for row in rows if row["c"] is not None]
    return tuple({**row, "label": _label(row["c"]), "ink": _ink(row["c"], numbers, axis)} for row in rows)


def _label(number: float | None) -> str:
    """Three significant digits: a cell is small."""
    return shown(None if number is None else float(f"{number:.3g}"))


def _is_diverging(numbers: Sequence[float]) -> bool:
    return bool(numbers) and min(numbers) < 0 < max(numbers)


def _constant(numbers: Sequence[float]) -> float:
    return min(abs(number) for number in numbers if number) / 10


def _ink(number: float | None, numbers: Sequence[float], axis: Axis) -> str:
    if number is None:
        return "none"
    if _is_diverging(numbers):
        # Pale in the middle, dark at both ends.
        span = max(numbers) if number > 0 else -min(numbers)
        return "dark" if abs(number) < 0.62 * span else "light"
    kind = heat_scale(axis, numbers)["type"]
    constant = _constant(numbers) if kind == "symlog" else 1.0

    def placed(value: float) -> float:
        if kind == "log":
            return math.log(value)
        return math.copysign(math.log1p(abs(value) / constant), value) if kind == "symlog" else value

    low, high = placed(min(numbers)), placed(max(numbers))
    return "dark" if high > low and (placed(number) - low) / (high - low) > 0.56 else "light"
