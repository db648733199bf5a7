"""Records as plain data and back: what JSON can hold, checked field by field against the record's annotations."""

import functools
import math
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

T = TypeVar("T")


class MalformedError(ValueError):
    """Plain data that is no such record; the message names the place and what must stand there."""


def to_plain(value: object) -> Any:
    """Dicts, lists, text, numbers, booleans and None that say the same as a record.

    Example:
        >>> from exnihilo.layouts import Layout
        >>> to_plain(Layout.linear(2, 3))["shape"]
        [2, 3]
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, tuple):
        return [to_plain(entry) for entry in cast("tuple[object, ...]", value)]
    return value.value if isinstance(value, Enum) else value


def from_plain(kind: type[T], data: object, place: str = "the file") -> T:
    """The record of a class that plain data says.

    Args:
        kind: A dataclass whose fields are text, numbers, booleans, enums, literals, tuples of these, dataclasses, or
            None.
        data: As ``to_plain`` returns it.
        place: What the data is called in an error.

    Raises:
        MalformedError: A field is missing, unknown or of another type; or the record's own check refuses its values.

    Example:
        >>> from exnihilo.layouts import Layout
        >>> from_plain(Layout, to_plain(Layout.linear(2, 3))) == Layout.linear(2, 3)
        True
    """
    return cast("T", _read(kind, data, place))


def _read(kind: Any, data: object, place: str) -> object:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        (inner,) = [argument for argument in arguments if argument is not NoneType]
        return None if data is None else _read(inner, data, place)
    if origin is Literal:
        return _one_of(arguments, data, place)
    if origin is tuple:
        return _tuple(arguments, data, place)
    if is_dataclass(kind):
        return _record(cast("type[Any]", kind), data, place)
    if issubclass(kind, Enum):
        return kind(_one_of(tuple(member.value for member in kind), data, place))
    return _scalar(kind, data, place)


def _record(kind: type[Any], data: object, place: str) -> object:
    given = _mapping(kind, data, place)
    known = {field.name: field for field in fields(kind)}
    unknown = sorted(given.keys() - known.keys())
    optional = {name for name, field in known.items() if field.default is not MISSING}
    missing = [name for name in known if name not in given and name not in optional]
    if unknown or missing:
        what = f"lacks '{missing[0]}'" if missing else f"has an unknown field '{unknown[0]}'"
        raise MalformedError(f"{place} {what}; a {kind.__name__} has {', '.join(known)}")
    hints = _hints(kind)
    values = {name: _read(hints[name], value, f"{place}.{name}") for name, value in given.items()}
    try:
        return kind(**values)
    except ValueError as error:  # the record's own check
        raise MalformedError(f"{place} is no {kind.__name__}: {str(error).splitlines()[0]}") from error


_hints = functools.cache(get_type_hints)  # a plan has as many rows as its model has parameters


def _mapping(kind: type[Any], data: object, place: str) -> Mapping[str, object]:
    if not isinstance(data, dict):
        raise MalformedError(f"{place} is {_shown(data)}; it must be an object with the fields of a {kind.__name__}")
    return cast("Mapping[str, object]", data)


def _tuple(arguments: tuple[Any, ...], data: object, place: str) -> tuple[object, ...]:
    if not isinstance(data, list):
        raise MalformedError(f"{place} is {_shown(data)}; it must be a list")
    entries = cast("list[object]", data)
    kinds = [arguments[0]] * len(entries) if arguments[-1] is Ellipsis else list(arguments)
    if len(kinds) != len(entries):
        raise MalformedError(f"{place} has {len(entries)} entries; it must have {len(kinds)}")
    return tuple(
        _read(kind, entry, f"{place}[{i}]") for i, (kind, entry) in enumerate(zip(kinds, entries, strict=True))
    )


def _one_of(known: tuple[object, ...], data: object, place: str) -> object:
    if data not in known:
        raise MalformedError(f"{place} is {_shown(data)}; it must be one of {', '.join(map(str, known))}")
    return data


_WORDS: Mapping[object, str] = {str: "text", int: "a whole number", float: "a finite number", bool: "true or false"}


def _scalar(kind: type[object], data: object, place: str) -> object:
    if kind is float and isinstance(data, int | float) and not isinstance(data, bool) and math.isfinite(data):
        return float(data)
    if type(data) is not kind or kind is float:
        raise MalformedError(f"{place} is {_shown(data)}; it must be {_WORDS[kind]}")
    return data


def _shown(data: object) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."
