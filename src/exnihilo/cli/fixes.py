"""Errors of the verbs, whose fixes are Python, with the fixes as they are typed on the command line."""

import ast
import re
import shlex
from collections.abc import Generator, Iterable
from contextlib import contextmanager

from exnihilo.errors import ExnihiloError

_RECIPE = re.compile(r'recipe="(?P<name>[^"]+)"')
_KEEP = re.compile(r"keep=(?P<patterns>\[[^\]]*\])")
_OVERRIDES = re.compile(r"overrides=(?P<schemes>\{[^}]*\})")


@contextmanager
def fixes_as_options() -> Generator[None]:
    """Raise what the block raises with its fix spelled for ``exnihilo plan``."""
    try:
        yield
    except ExnihiloError as error:
        fix = as_options(error.fix)
        if fix == error.fix:
            raise
        raise type(error)(error.fact, context=error.context, fix=fix) from error


def as_options(fix: str) -> str:
    """A fix with the arguments of ``exnihilo.plan`` as options.

    Example:
        >>> as_options('keep=["role:UNKNOWN"], or overrides={"a.weight": "normal(std=0.02)"}')
        "--keep role:UNKNOWN, or --set 'a.weight=normal(std=0.02)'"
        >>> as_options('recipe="he", which needs no branches')
        '--recipe he, which needs no branches'
    """
    fix = _RECIPE.sub(lambda found: f"--recipe {shlex.quote(found['name'])}", fix)
    fix = _KEEP.sub(lambda found: _options("--keep", ast.literal_eval(found["patterns"])), fix)
    return _OVERRIDES.sub(lambda found: _options("--set", _assignments(found["schemes"])), fix)


def _assignments(schemes: str) -> list[str]:
    return [f"{pattern}={scheme}" for pattern, scheme in ast.literal_eval(schemes).items()]


def _options(option: str, values: Iterable[str]) -> str:
    return " ".join(f"{option} {shlex.quote(value)}" for value in values)
