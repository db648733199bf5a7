"""Calls into packages that build models: without memory where that works, and with one error where it does not."""

import inspect
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from exnihilo.errors import ExnihiloError, InvalidValueError

T = TypeVar("T")


def built(what: str, sizes: Mapping[str, Any], make: Callable[[], T], *, on_meta: bool = False) -> T:
    """What a package makes, without its warnings.

    Args:
        what: The model as it is named on the command line.
        sizes: What was asked to be other than the default, for the error.
        make: Makes it.
        on_meta: First try without memory; some models compute values while they are built, which needs memory.

    Raises:
        InvalidValueError: It fails.
    """
    with _quiet():
        if on_meta:
            try:
                with torch.device("meta"):
                    return make()
            except ExnihiloError:
                raise
            except Exception:  # whatever a package raises: with memory it may do, or say better why not
                logging.getLogger(__name__).debug("%s cannot be built on the meta device", what, exc_info=True)
        try:
            return make()
        except ExnihiloError:
            raise
        except Exception as error:
            raise _failed(what, sizes, error) from error


def _failed(what: str, sizes: Mapping[str, Any], error: Exception) -> InvalidValueError:
    place = inspect.trace()[-1]
    asked = ", ".join(f"{name}={value}" for name, value in sizes.items())
    return InvalidValueError(
        f"{what} cannot be built: {type(error).__name__}: {error}",
        context=[f"in {place.function}, {place.filename.rpartition('/')[2]}", f"sizes: {asked or 'the defaults'}"],
        fix="sizes that fit each other, such as a width that the number of heads divides" if sizes else "another model",
    )


@contextmanager
def _quiet() -> Generator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
