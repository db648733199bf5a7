"""For test suites: one assertion, that a model can learn.

Nothing here imports torch before the assertion is made.
"""

import os
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import nn

    from exnihilo.checks.records import Diagnosis
    from exnihilo.probes.question import Criterion, Loss

_ALLOWED = "allowed by the test"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asserted:
    """One assertion that was made.

    Args:
        test: The test that made it, as pytest names it; empty outside of pytest.
        file: Where the assertion stands.
        line: The line in that file, from 1.
        diagnosis: What was found.
    """

    test: str
    file: str
    line: int
    diagnosis: "Diagnosis"


@dataclass(slots=True, kw_only=True)
class Session:
    """What a test session asks of every assertion in it, and what they found.

    Args:
        strict: A warning fails too.
        asserted: The assertions so far, in order.
    """

    strict: bool = False
    asserted: list[Asserted] = field(default_factory=list[Asserted])


# Set by the pytest plugin for as long as a session lasts that asked for a record of its checks.
session: Session | None = None


def assert_trainable(
    model: "nn.Module",
    batch: Any,
    loss: "Loss | None" = None,
    criterion: "Criterion | None" = None,
    optimizer: "torch.optim.Optimizer | None" = None,
    factory: "Callable[[], nn.Module] | None" = None,
    *,
    allow: Iterable[str] = (),
    suppress: Mapping[str, str] | None = None,
    strict: bool = False,
) -> "Diagnosis":
    """Fail the test that calls this where ``check`` finds that the model cannot learn.

    The model is left as it was, random states included, so a test may go on to train it.

    Args:
        model: As ``exnihilo.check`` takes it, and so are the five that follow.
        batch: What one training step is given.
        loss: ``loss(model, batch)``.
        criterion: ``criterion(output, target)`` for a batch ``(input, target)``.
        optimizer: Of the model's parameters.
        factory: Makes the model anew.
        allow: Findings that are meant to be so: ``"code"``, or ``"code:pattern"`` of parameter names.
        suppress: The same with a reason for each, which SARIF and the page show.
        strict: A warning fails too. Default False; ``--exnihilo-strict`` sets it for a whole session of pytest.

    Returns:
        The diagnosis, for further assertions.

    Raises:
        UntrainableError: It fails. The message is the whole screen. Also an ``AssertionError``.
        CheckError: The model cannot be checked.
        UnknownNameError: ``allow`` or ``suppress`` names no rule.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(4, 2)
        >>> batch = (torch.ones(8, 4), torch.arange(8) % 2)
        >>> assert_trainable(model, batch, criterion=torch.nn.CrossEntropyLoss()).ok
        True
    """
    __tracebackhide__ = True  # pytest shows the test and the screen, and not this
    from exnihilo.checks.check import check
    from exnihilo.checks.judged import require_passed

    reasons = {**dict.fromkeys(allow, _ALLOWED), **(suppress or {})}
    found = check(model, batch, loss, criterion, optimizer, factory, suppress=reasons)
    if session is not None:
        strict = strict or session.strict
        session.asserted.append(_asserted(found))
    require_passed(found, strict=strict)
    return found


def _asserted(found: "Diagnosis") -> Asserted:
    caller = sys._getframe(2)  # pyright: ignore[reportPrivateUsage]  # the frame that called assert_trainable
    test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" ")[0]  # as in "tests/test_net.py::test_it (call)"
    return Asserted(test=test, file=caller.f_code.co_filename, line=caller.f_lineno, diagnosis=found)
