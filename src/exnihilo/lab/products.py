"""Matrix products of many runs at once, with the bits of each run's own product.

A BLAS may use another kernel for a batch of products than for one, and a kernel's rounding may depend on where its
operands begin in memory. So operands start at 64-byte borders (as PyTorch's allocator places them), and the batched
product is used only for shapes where, on this machine, it was seen to give the bits of the single products; for the
others the runs are multiplied one by one. What the single product gives is what ``torch.nn.Linear`` gives. All operands
and outputs must be aligned (``exnihilo.lab.memory``).

Shape legend: R runs, B samples, I inputs of a map, O outputs.
"""

from functools import cache

import torch
from torch import Tensor

from exnihilo.lab.memory import aligned_empty

_TRIALS = 2


def affine(x_RBI: Tensor, weight_ROI: Tensor, bias_RO: Tensor, out_RBO: Tensor) -> Tensor:
    """``x @ weight.T + bias`` for each run, with the bits of ``torch.nn.functional.linear``."""
    if _affine_agrees(*x_RBI.shape, weight_ROI.shape[1]):
        return torch.baddbmm(bias_RO.unsqueeze(1), x_RBI, weight_ROI.transpose(1, 2), out=out_RBO)
    return _affine_one_by_one(x_RBI, weight_ROI, bias_RO, out_RBO)


def weight_gradient(grad_RBO: Tensor, x_RBI: Tensor, out_ROI: Tensor) -> Tensor:
    """``grad.T @ x`` for each run, with the bits of autograd's own weight gradient."""
    if _weight_gradient_agrees(*x_RBI.shape, grad_RBO.shape[2]):
        return torch.bmm(grad_RBO.transpose(1, 2), x_RBI, out=out_ROI)
    return _weight_gradient_one_by_one(grad_RBO, x_RBI, out_ROI)


def input_gradient(grad_RBO: Tensor, weight_ROI: Tensor, out_RBI: Tensor) -> Tensor:
    """``grad @ weight`` for each run, with the bits of autograd's own input gradient."""
    if _input_gradient_agrees(*out_RBI.shape, grad_RBO.shape[2]):
        return torch.bmm(grad_RBO, weight_ROI, out=out_RBI)
    return _input_gradient_one_by_one(grad_RBO, weight_ROI, out_RBI)


def _affine_one_by_one(x_RBI: Tensor, weight_ROI: Tensor, bias_RO: Tensor, out_RBO: Tensor) -> Tensor:
    for x, weight, bias, out in zip(x_RBI, weight_ROI, bias_RO, out_RBO, strict=True):
        torch.addmm(bias, x, weight.t(), out=out)
    return out_RBO


def _weight_gradient_one_by_one(grad_RBO: Tensor, x_RBI: Tensor, out_ROI: Tensor) -> Tensor:
    for grad, x, out in zip(grad_RBO, x_RBI, out_ROI, strict=True):
        torch.mm(grad.t(), x, out=out)
    return out_ROI


def _input_gradient_one_by_one(grad_RBO: Tensor, weight_ROI: Tensor, out_RBI: Tensor) -> Tensor:
    for grad, weight, out in zip(grad_RBO, weight_ROI, out_RBI, strict=True):
        torch.mm(grad, weight, out=out)
    return out_RBI


def _operands(trial: int, *shapes: tuple[int, ...]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(trial)
    return [aligned_empty(*shape).normal_(generator=generator) for shape in shapes]


@cache
def _affine_agrees(runs: int, batch: int, inputs: int, outputs: int) -> bool:
    for trial in range(_TRIALS):
        x, weight, bias = _operands(trial, (runs, batch, inputs), (runs, outputs, inputs), (runs, outputs))
        together = torch.baddbmm(bias.unsqueeze(1), x, weight.transpose(1, 2), out=aligned_empty(runs, batch, outputs))
        if not torch.equal(together, _affine_one_by_one(x, weight, bias, aligned_empty(runs, batch, outputs))):
            return False
    return True


@cache
def _weight_gradient_agrees(runs: int, batch: int, inputs: int, outputs: int) -> bool:
    for trial in range(_TRIALS):
        grad, x = _operands(trial, (runs, batch, outputs), (runs, batch, inputs))
        together = torch.bmm(grad.transpose(1, 2), x, out=aligned_empty(runs, outputs, inputs))
        if not torch.equal(together, _weight_gradient_one_by_one(grad, x, aligned_empty(runs, outputs, inputs))):
            return False
    return True


@cache
def _input_gradient_agrees(runs: int, batch: int, inputs: int, outputs: int) -> bool:
    for trial in range(_TRIALS):
        grad, weight = _operands(trial, (runs, batch, outputs), (runs, outputs, inputs))
        together = torch.bmm(grad, weight, out=aligned_empty(runs, batch, inputs))
        if not torch.equal(together, _input_gradient_one_by_one(grad, weight, aligned_empty(runs, batch, inputs))):
            return False
    return True
