"""Lightning: check the first batch before the first step.

Example:
    trainer = Trainer(callbacks=[CheckFirstBatch()])
"""

import inspect
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from exnihilo.checks.check import check
from exnihilo.checks.records import Diagnosis
from exnihilo.errors import CheckError, MissingExtraError
from exnihilo.integrations.outcome import OnFail, require_known, settle

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
    module's own ``training_step``, which must return it.

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

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Check, once."""
        if self.diagnosis is not None or trainer.global_step:
            return
        if not pl_module.automatic_optimization:
            raise CheckError(
                f"{type(pl_module).__name__} takes its optimizer steps itself, so its loss cannot be asked for.",
                fix="exnihilo.check(model, batch, loss=lambda model, batch: ...) before the run",
            )
        optimizer = trainer.optimizers[0] if len(trainer.optimizers) == 1 else None
        held = vars(pl_module).pop("_trainer", None)  # a copy of the module must not copy the whole run
        vars(pl_module)["_trainer"] = None
        try:
            self.diagnosis = check(pl_module, batch, _loss, optimizer=_judged(optimizer), suppress=self.suppress)
        finally:
            vars(pl_module)["_trainer"] = held
        settle(self.diagnosis, on_fail=self.on_fail, strict=self.strict)


def _loss(model: nn.Module, batch: Any) -> Tensor:
    """What ``training_step`` returns: the loss, or a mapping that holds it."""
    step = cast("Any", model).training_step
    takes_index = "batch_idx" in inspect.signature(step).parameters
    output = step(batch, 0) if takes_index else step(batch)
    return output["loss"] if isinstance(output, Mapping) else output


def _judged(optimizer: torch.optim.Optimizer | None) -> torch.optim.Optimizer | None:
    """An optimizer whose rate is not that of a warm-up's first step."""
    if optimizer is None or not all(float(group.get("lr", 0.0)) > 0 for group in optimizer.param_groups):
        return None
    return optimizer
