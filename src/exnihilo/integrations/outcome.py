"""What becomes of a training run whose first batch was checked."""

import warnings
from typing import Literal

from exnihilo.checks.judged import require_passed
from exnihilo.checks.records import Diagnosis
from exnihilo.errors import ExnihiloError, InvalidValueError, UntrainableError

OnFail = Literal["raise", "warn"]


def require_known(on_fail: str) -> None:
    """Raise InvalidValueError unless it is known what to do."""
    if on_fail not in {"raise", "warn"}:
        raise InvalidValueError(f"on_fail is '{on_fail}'; it must be 'raise' or 'warn'.", fix='on_fail="raise"')


def unchecked(error: ExnihiloError) -> None:
    """Warn that a run goes on unchecked: that it cannot be checked is no sign that it cannot learn."""
    warnings.warn(f"The run goes on unchecked. {error}", stacklevel=3)


def settle(diagnosis: Diagnosis, *, on_fail: OnFail, strict: bool) -> None:
    """Stop the run where the model fails, or warn of it.

    Raises:
        UntrainableError: It fails, and that is to stop the run. The message is the whole screen.
    """
    try:
        require_passed(diagnosis, strict=strict)
    except UntrainableError as error:
        if on_fail == "raise":
            raise
        warnings.warn(str(error), stacklevel=3)
