"""Hugging Face's Trainer: check the first batch before the first step.

Example:
    trainer = Trainer(model, args, train_dataset=data, callbacks=[CheckFirstBatchCallback()])
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from exnihilo.checks.check import check
from exnihilo.checks.records import Diagnosis
from exnihilo.errors import CheckError, MissingExtraError
from exnihilo.integrations.outcome import OnFail, require_known, settle, unchecked

try:
    from transformers.trainer_callback import TrainerCallback
except ImportError as error:
    raise MissingExtraError(
        f"The callback of the Trainer needs transformers, which cannot be imported: {error}",
        fix="pip install 'exnihilo[hf]'",
    ) from error


class CheckFirstBatchCallback(TrainerCallback):
    """Checks a model on the first batch that the trainer gives it, and stops with the findings where it cannot learn.

    It waits for that batch in front of the model, so that no batch is drawn for it and none is lost; copies of the
    model take the steps, and the run goes on bit for bit as it would have without. Where it cannot be checked, it goes
    on with a warning.

    Args:
        loss: ``loss(model, batch)`` of the keyword arguments that the model is called with. Default None: the model's
            own ``.loss``, as it returns it where the batch holds labels.
        on_fail: ``"raise"`` stops the run, ``"warn"`` tells of it. Default ``"raise"``.
        strict: A warning counts too. Default False.
        suppress: Reasons by code, as ``check`` takes them.

    Raises:
        InvalidValueError: ``on_fail`` is neither.
    """

    def __init__(
        self,
        loss: Callable[[nn.Module, Any], Tensor] | None = None,
        *,
        on_fail: OnFail = "raise",
        strict: bool = False,
        suppress: Mapping[str, str] | None = None,
    ) -> None:
        require_known(on_fail)
        self.on_fail: OnFail = on_fail
        self.loss, self.strict, self.suppress = loss, strict, suppress
        self.diagnosis: Diagnosis | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **given: Any) -> None:
        """Wait for the first batch."""
        if self.diagnosis is None:
            model: nn.Module = given["model"]
            handle = model.register_forward_pre_hook(self._meet, with_kwargs=True)
            self._remove = handle.remove

    def _meet(self, model: nn.Module, args: Any, kwargs: Any) -> None:
        self._remove()
        if not model.training:  # an evaluation comes first
            handle = model.register_forward_pre_hook(self._meet, with_kwargs=True)
            self._remove = handle.remove
            return
        if args:
            unchecked(
                CheckError(
                    f"{type(model).__name__} is called with positional arguments; a batch here is keyword arguments.",
                    fix="exnihilo.check(model, batch, loss=lambda model, batch: ...) before the run",
                )
            )
            return
        wrapped = vars(model).pop("forward", None)  # mixed precision wraps it around the model itself, not a copy
        try:
            self.diagnosis = check(model, dict(kwargs), self.loss, suppress=self.suppress)
        except CheckError as error:
            unchecked(error)
            return
        finally:
            if wrapped is not None:
                vars(model)["forward"] = wrapped
        settle(self.diagnosis, on_fail=self.on_fail, strict=self.strict)
