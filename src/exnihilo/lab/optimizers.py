"""Update rules for many runs at once, in the order of operations of ``torch.optim``.

Each run has its own learning rate and weight decay. Every operation is elementwise, so that a run gets the bits that
``torch.optim`` would give it alone: scalars are computed in double precision, as there, and rounded to float32 where
``torch.optim`` hands them to the kernel.

Shape legend: R runs, P padded values of one parameter.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from exnihilo.lab.records import OptimizerName

# torch.optim's own defaults, and the customary momentum.
MOMENTUM = 0.9
BETAS = (0.9, 0.999)
EPS = 1e-8


class Update:
    """The optimizer's state for a stack of runs; calling it is one step.

    Args:
        name: The rule, the same for all runs of the stack.
        lrs: R learning rates.
        weight_decays: R weight decays.
        values: The parameters ``[R, P]``, updated in place.
        gradients: Their gradients ``[R, P]``; may be overwritten.
    """

    def __init__(
        self,
        name: OptimizerName,
        lrs: Sequence[float],
        weight_decays: Sequence[float],
        values: Sequence[Tensor],
        gradients: Sequence[Tensor],
    ) -> None:
        self._name = name
        self._step = 0
        self._lrs = torch.tensor(lrs, dtype=torch.float64).unsqueeze(1)
        self._decays = torch.tensor(weight_decays, dtype=torch.float64).unsqueeze(1)
        self._has_decay = any(weight_decays)
        self._steps_R1 = (-self._lrs).float()
        self._values, self._gradients = values, gradients
        self._first = [torch.zeros_like(value) for value in values] if name != "sgd" else []
        self._second = [torch.zeros_like(value) for value in values] if name in ("adam", "adamw") else []
        largest = max(value.numel() for value in values)
        self._scratch = [torch.empty(largest) for _ in range(2)]  # pages are touched only by the rules that use them

    def __call__(self) -> None:
        """One step for every run."""
        self._step += 1
        if self._has_decay:
            self._decay()
        if self._name in ("adam", "adamw"):
            self._adam()
        elif self._name == "momentum":
            self._momentum()
        else:
            for value, gradient in zip(self._values, self._gradients, strict=True):
                value.addcmul_(gradient, self._steps_R1)

    def _decay(self) -> None:
        if self._name == "adamw":
            for value in self._values:
                value.mul_((1 - self._lrs * self._decays).float())
            return
        for value, gradient in zip(self._values, self._gradients, strict=True):
            gradient.addcmul_(value, self._decays.float())

    def _momentum(self) -> None:
        for value, gradient, buffer in zip(self._values, self._gradients, self._first, strict=True):
            if self._step == 1:
                buffer.copy_(gradient)
            else:
                buffer.mul_(MOMENTUM).add_(gradient)
            value.addcmul_(buffer, self._steps_R1)

    def _adam(self) -> None:
        # Kingma and Ba (2015), algorithm 1, in the order of operations of torch.optim.Adam.
        beta1, beta2 = BETAS
        rates = (-(self._lrs / (1 - beta1**self._step))).float()
        root = (1 - beta2**self._step) ** 0.5
        for value, gradient, first, second in zip(
            self._values, self._gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1 - beta1)
            second.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
            step, spread = (buffer[: value.numel()].view_as(value) for buffer in self._scratch)
            torch.mul(first, rates, out=step)
            torch.sqrt(second, out=spread).div_(root).add_(EPS)
            value.addcdiv_(step, spread)
