"""A run's record as three columns of the ledger, and back, to the last bit.

The curves are one blob: a header (kind of the real numbers, and the sizes E, M, L, H of ``RunRecord``), the whole
numbers as little-endian int32, then the real numbers as little-endian float32 where every one of them is exactly a
float32, else float64.
"""

import functools
import json
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np

from exnihilo.errors import InvalidValueError
from exnihilo.lab.records import Model, Network, Optimizer, Run, RunRecord, Start

# The curves in the blob's order, with their sizes.
_WHOLE = {"evaluation_steps": "E", "measurement_steps": "M", "effective_width": "MH", "effective_width_relative": "MH"}
_REAL = {
    "train_loss": "E",
    "validation_loss": "E",
    "train_score": "E",
    "validation_score": "E",
    "gradient_norm": "ML",
    "dead_units": "MH",
    "saturated_units": "MH",
    "zero_weights": "M",
    "zero_activations": "M",
}
_SCALARS = ("layers", "test_loss", "test_score", "diverged", "moved")

_HEADER = struct.Struct("<c4H")
_INTEGER = np.dtype("<i4")
_FLOATS = {b"f": np.dtype("<f4"), b"d": np.dtype("<f8")}
_PARTS = {"network": Network, "start": Start, "optimizer": Optimizer}


class CorruptRowError(ValueError):
    """Columns that no record was packed into."""


def pack(record: RunRecord) -> tuple[str, str, bytes]:
    """Configuration, scalars and curves of a record.

    Raises:
        InvalidValueError: A curve has not the size that ``RunRecord`` documents.
    """
    scalars = {name: getattr(record, name) for name in _SCALARS}
    return record.run.canonical(), json.dumps(scalars, sort_keys=True, separators=(",", ":")), _pack_curves(record)


def unpack(configuration: str, scalars: str, curves: bytes) -> RunRecord:
    """The record that was packed.

    Raises:
        CorruptRowError: The columns hold something else.
    """
    try:
        values = json.loads(scalars)
        values["layers"] = tuple(values["layers"])
        return RunRecord(run=unpack_run(configuration), **values, **_unpack_curves(curves))
    except (ValueError, KeyError, TypeError, struct.error) as error:
        raise CorruptRowError(f"{type(error).__name__}: {error}") from error


def unpack_run(configuration: str) -> Run:
    """The run whose ``canonical()`` text this is."""
    fields = json.loads(configuration)
    del fields["numerics"]  # the ledger as a whole answers for it
    for name in _PARTS:
        fields[name] = _part(name, tuple(fields[name].items()))
    return Run(**fields)


@functools.lru_cache(maxsize=4096)  # a hundred thousand runs share a few dozen parts
def _part(name: str, fields: tuple[tuple[str, Any], ...]) -> Any:
    values = dict(fields)
    return Model(**values) if "family" in values else _PARTS[name](**values)


def _pack_curves(record: RunRecord) -> bytes:
    sizes = {
        "E": len(record.evaluation_steps),
        "M": len(record.measurement_steps),
        "L": len(record.layers),
        "H": len(record.effective_width[0]) if record.effective_width else 0,
    }
    whole, real = _flat(record, _WHOLE, sizes), _flat(record, _REAL, sizes)
    with np.errstate(over="ignore"):  # what is too large for float32 turns infinite, and is found to differ
        is_small = np.array_equal(real.astype(np.float32).astype(np.float64), real, equal_nan=True)
    kind = b"f" if is_small else b"d"
    return _HEADER.pack(kind, *sizes.values()) + whole.astype(_INTEGER).tobytes() + real.astype(_FLOATS[kind]).tobytes()


def _flat(record: RunRecord, fields: Mapping[str, str], sizes: Mapping[str, int]) -> np.ndarray[Any, np.dtype[Any]]:
    curves: list[np.ndarray[Any, np.dtype[Any]]] = []
    for name, dims in fields.items():
        curve = np.array(getattr(record, name), dtype=np.float64)
        expected = tuple(sizes[dim] for dim in dims)
        if curve.shape != expected:
            raise InvalidValueError(
                f"RunRecord.{name} has shape {curve.shape}; the record's other curves ask for {expected}.",
                context=[f"run: {record.run.canonical()}"],
                fix=f"record {name} with shape {' x '.join(dims)}",
            )
        curves.append(curve.ravel())
    return np.concatenate(curves)


def _unpack_curves(blob: bytes) -> dict[str, Any]:
    kind, *header = _HEADER.unpack_from(blob)
    sizes = dict(zip("EMLH", header, strict=True))
    num_whole = sum(_length(dims, sizes) for dims in _WHOLE.values())
    border = _HEADER.size + num_whole * _INTEGER.itemsize
    whole = np.frombuffer(blob[_HEADER.size : border], _INTEGER).tolist()
    real = np.frombuffer(blob[border:], _FLOATS[kind]).tolist()
    return _shaped(whole, _WHOLE, sizes) | _shaped(real, _REAL, sizes)


def _shaped(values: list[Any], fields: Mapping[str, str], sizes: Mapping[str, int]) -> dict[str, Any]:
    curves: dict[str, Any] = {}
    first = 0
    for name, dims in fields.items():
        past = first + _length(dims, sizes)
        if len(dims) == 1:
            curves[name] = tuple(values[first:past])
        else:
            rows, columns = (sizes[dim] for dim in dims)
            curves[name] = tuple(tuple(values[first + r * columns : first + (r + 1) * columns]) for r in range(rows))
        first = past
    if first != len(values):
        raise ValueError(f"{len(values)} numbers where {first} belong")
    return curves


def _length(dims: str, sizes: Mapping[str, int]) -> int:
    length = 1
    for dim in dims:
        length *= sizes[dim]
    return length
