"""Schemes as text and back: ``he_normal``, ``Normal(std=0.02)``, ``Noisy(base=zeros, std=0.01)``.

The grammar is a name and named options, whose values are literals, words or again schemes; nothing is evaluated.
"""

import ast
import functools
import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from numbers import Real
from types import NoneType
from typing import Any, Literal, TypeVar, cast, get_args, get_origin, get_type_hints

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.schemes.named import ALIASES, SCHEMES
from exnihilo.schemes.scheme import Scheme
from exnihilo.schemes.variance_scaling import VarianceScaling

T = TypeVar("T")

_CALL = re.compile(r"\s*(?P<name>[A-Za-z][\w+-]*)\s*(?:\((?P<options>.*)\))?\s*", re.DOTALL)

_CLASSES: Mapping[str, Callable[..., Scheme]] = {
    type(build()).__name__: cast("Callable[..., Scheme]", type(build())) for build in SCHEMES.values()
}
_BUILDERS: Mapping[str, Callable[..., Scheme]] = {
    **_CLASSES,
    **SCHEMES,
    **{alias: SCHEMES[name] for alias, name in ALIASES.items()},
}
_LAWS = {name: build() for name, build in SCHEMES.items() if not inspect.isclass(build)}


def from_text(text: str) -> Scheme:
    """The scheme that a text spells: a name of ``SCHEMES``, an alias or a class, and any options by name.

    Raises:
        UnknownNameError: There is no such scheme, or it has no such option; the nearest known name is suggested.
        InvalidValueError: The text does not have that form, or an option's value is refused.

    Example:
        >>> from_text("normal(std=0.5)")
        Normal(std=0.5, mean=0.0)
        >>> from_text("Noisy(base=zeros, std=0.01)")
        Noisy(base=Zeros(), std=0.01)
    """
    return _from_text(text)


@functools.lru_cache(maxsize=1024)  # the rows of a plan spell few schemes, many times
def _from_text(text: str) -> Scheme:
    return built(text, "scheme", _BUILDERS, shown=[*SCHEMES, *ALIASES], example="normal(std=0.02)")


def to_text(scheme: Scheme) -> str:
    """The text of a scheme; ``from_text`` returns an equal scheme.

    Laws that need no number have their name; of the rest the first option is always shown, others where they differ
    from their defaults.

    Raises:
        InvalidValueError: The scheme is not one of this package.

    Example:
        >>> from exnihilo.schemes import he_normal, Normal, Zeros
        >>> to_text(he_normal()), to_text(he_normal(gain=1.5)), to_text(Normal(std=0.5)), to_text(Zeros())
        ('he_normal', 'he_normal(gain=1.5)', 'Normal(std=0.5)', 'zeros')
    """
    for name, law in _LAWS.items():
        if law == scheme:
            return name
    if isinstance(scheme, VarianceScaling) and scheme.distribution != "truncated_normal":
        gain = math.sqrt(scheme.scale)
        if gain**2 == scheme.scale:  # always so where the scale was made from a gain
            family = "xavier" if scheme.mode == "fan_avg" else "he"
            mode = ", mode='fan_out'" if scheme.mode == "fan_out" else ""
            return f"{family}_{scheme.distribution}(gain={gain!r}{mode})"
    if _CLASSES.get(type(scheme).__name__) is not type(scheme):
        raise InvalidValueError(
            f"{scheme!r} is no scheme that has a text.",
            context=[f"schemes with a text: {', '.join(SCHEMES)}"],
            fix="keep the parameter in the plan, such as keep=['head.weight'], and write your own values afterwards",
        )
    options = options_text(scheme, first=True)
    return f"{type(scheme).__name__}{options}" if options else type(scheme).__name__.lower()


def options_text(value: object, *, first: bool = False) -> str:
    """The options of a frozen dataclass that differ from their defaults, in parentheses; empty where none does.

    Args:
        value: A scheme or a recipe.
        first: Show the first option even where it is its default.
    """
    shown: list[str] = []
    for place, field in enumerate(fields(cast("Any", value))):
        option = getattr(value, field.name)
        default = field.default_factory() if field.default_factory is not MISSING else field.default
        if option != default or (first and place == 0):
            shown.append(f"{field.name}={_literal(option)}")
    return f"({', '.join(shown)})" if shown else ""


def built(
    text: str, noun: str, builders: Mapping[str, Callable[..., T]], *, shown: list[str] | None = None, example: str
) -> T:
    """What a text of this grammar spells, by its name's builder.

    Args:
        text: A name, or a name and options in parentheses.
        noun: What is spelled, for errors: ``"scheme"`` or ``"recipe"``.
        builders: Classes or functions by name; their annotations say what each option takes.
        shown: The names to show in an error; all of them by default.
        example: A text that is right, for errors.

    Raises:
        UnknownNameError: A name or an option does not exist.
        InvalidValueError: The text has another form, or a value is of the wrong type or refused by the builder.
    """
    name, nodes = _parsed(text, noun, example)
    if name not in builders:
        raise UnknownNameError.of(noun, name, shown or list(builders))
    known = inspect.signature(builders[name]).parameters
    hints = get_type_hints(builders[name])
    for option in nodes:
        if option not in known:
            raise UnknownNameError.of(f"option of {name}", option, known, plural=f"options of {name}")
    return builders[name](**{option: _value(node, hints[option], name, option) for option, node in nodes.items()})


def _parsed(text: str, noun: str, example: str) -> tuple[str, dict[str, ast.expr]]:
    refused = InvalidValueError(
        f"{text!r} spells no {noun}.",
        context=["it must be a name, or a name and its options by name in parentheses"],
        fix=f'"{example}"',
    )
    match = _CALL.fullmatch(text)
    if match is None:
        raise refused
    try:
        call = ast.parse(f"f({match['options'] or ''})", mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise refused from None
    if not isinstance(call, ast.Call) or call.args or not all(keyword.arg for keyword in call.keywords):
        raise refused
    return match["name"], {cast("str", keyword.arg): keyword.value for keyword in call.keywords}


def _value(node: ast.expr, hint: Any, name: str, option: str) -> object:
    allowed = (hint,) if get_origin(hint) in (None, tuple, Literal) else get_args(hint)
    if Scheme in allowed and not (isinstance(node, ast.Constant) and node.value is None):
        return from_text(ast.unparse(node))
    value = _plain(node)
    for kind in allowed:
        if isinstance(value, int | float) and not isinstance(value, bool) and kind is float:
            return float(value)
        if kind is bool and value in ("true", "false"):
            return value == "true"
        if get_origin(kind) is tuple and isinstance(value, tuple):
            return tuple(map(float, cast("tuple[float, ...]", value)))
        if (get_origin(kind) is Literal and isinstance(value, str)) or kind is type(value):
            return value
    words, examples = zip(*(_kind(kind) for kind in allowed), strict=True)
    raise InvalidValueError(
        f"{name}.{option} is {ast.unparse(node)}; it must be {' or '.join(words)}.", fix=f"{option}={examples[0]}"
    )


def _kind(hint: Any) -> tuple[str, str]:
    """What an option takes, in words and as an example."""
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}", get_args(hint)[0]
    if get_origin(hint) is tuple:
        return "numbers in parentheses", "(0.9, 0.1)"
    return {
        float: ("a number", "0.5"),
        int: ("a whole number", "2"),
        bool: ("true or false", "true"),
        str: ("a text", "'head.*'"),
        NoneType: ("None", "None"),
    }[hint]


def _plain(node: ast.expr) -> object:
    """A literal, with bare words as text and ``inf`` as a number; of anything else an ellipsis: no option takes it."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _plain(node.operand)
        return -inner if isinstance(inner, int | float) else Ellipsis
    if isinstance(node, ast.Name):
        return math.inf if node.id == "inf" else node.id
    if isinstance(node, ast.Tuple | ast.List):
        entries = tuple(map(_plain, node.elts))
        return entries if all(isinstance(entry, int | float) for entry in entries) else Ellipsis
    return node.value if isinstance(node, ast.Constant) else Ellipsis


def _literal(option: object) -> str:
    if isinstance(option, Scheme):
        return to_text(option)
    if isinstance(option, tuple):
        entries = [_literal(entry) for entry in cast("tuple[object, ...]", option)]
        return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"
    if isinstance(option, int | bool | str | None):
        return repr(option)
    return repr(float(cast("Real", option)))  # a number of NumPy's says its type in its repr
