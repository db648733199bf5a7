"""Lightning: check the first batch before the first step.

Example:
    trainer = Trainer(callbacks=[CheckFirstBatch()])
"""

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn

from exnihilo.checks.check import check
from exnihilo.checks.records import Diagnosis
from exnihilo.errors import CheckError, MissingExtraError
from exnihilo.integrations.outcome import OnFail, require_known, settle, unchecked

try:
    import lightning.pytorch as pl
except ImportError as error:
    raise MissingExtraError(
        f"The Lightning callback needs lightning, which cannot be imported: {error}",
        fix="pip install 'exnihilo[lightning]'",
    ) from error


class CheckFirstBatch(pl.Callback):
    """Checks a module on its first training batch, and stops the run with the findings where it cannot learn.

    Copies of the module take the steps; the run goes on bit for bit as it would have without. The loss is that of the
    module's own ``training_step``, which must return it. Where it cannot be checked, as with optimization by hand, the
    run goes on with a warning.

    Args:
        on_fail: ``"raise"`` stops the run, ``"warn"`` tells of it. Default ``"raise"``.
        strict: A warning counts too. Default False.
        suppress: Reasons by code, as ``check`` takes them.

    Raises:
        InvalidValueError: ``on_fail`` is neither.
    """

    def __init__(
        self, *, on_fail: OnFail = "raise", strict: bool = False, suppress: Mapping[str, str] | None = None
    ) -> None:
        require_known(on_fail)
        self.on_fail: OnFail = on_fail
        self.strict, self.suppress = strict, suppress
        self.diagnosis: Diagnosis | None = None
        self._state: Literal["new", "skipped", "done"] = "new"

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check, once; where the step skips a batch, the next one."""
        if self._state == "done" or (trainer.global_step and self._state == "new"):
            return
        self._state = "done"
        try:
            self.diagnosis = self._checked(trainer, pl_module, batch, batch_idx)
        except CheckError as error:
            if isinstance(error.__cause__, _SkippedError):
                self._state = "skipped"  # a step without a loss is counted as one
            else:
                unchecked(error)
            return
        settle(self.diagnosis, on_fail=self.on_fail, strict=self.strict)

    def _checked(self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int) -> Diagnosis:
        if not pl_module.automatic_optimization:
            raise CheckError(
                f"{type(pl_module).__name__} takes its optimizer steps itself, so its loss cannot be asked for.",
                fix="exnihilo.check(model, batch, loss=lambda model, batch: ...) before the run",
            )
        optimizer = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        attributes = vars(pl_module)
        before = dict(attributes)
        attributes |= {"_trainer": None, "log": _silent, "log_dict": _silent}  # copies hold no run, and log nothing
        loss = partial(_loss, _Shared(trainer), batch_idx)
        try:
            return check(pl_module, batch, loss, optimizer=_judged(optimizer), suppress=self.suppress)
        finally:
            attributes.clear()
            attributes.update(before)


class _SkippedError(Exception):
    """A step returned no loss: its batch is left out."""


class _Shared:
    """What stands for the trainer in copies of a module: it reads as the trainer does, and takes what is written."""

    def __init__(self, trainer: pl.Trainer) -> None:
        vars(self)["_read"] = trainer

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_read"], name)


def _silent(*_args: Any, **_kwargs: Any) -> None:
    """In place of a module's own logging."""


def _loss(trainer: _Shared, batch_idx: int, model: nn.Module, batch: Any) -> Tensor:
    """What ``training_step`` returns: the loss, or a mapping that holds it."""
    vars(model)["_trainer"] = trainer
    step = cast("Any", model).training_step
    takes_index = len(inspect.signature(step).parameters) > 1
    output = step(batch, batch_idx) if takes_index else step(batch)
    if output is None:
        raise _SkippedError
    return output["loss"] if isinstance(output, Mapping) else output


def _judged(optimizer: torch.optim.Optimizer | None) -> torch.optim.Optimizer | None:
    """An optimizer whose rate is not that of a warm-up's first step."""
    if optimizer is None or not all(float(group.get("lr", 0.0)) > 0 for group in optimizer.param_groups):
        return None
    return optimizer
