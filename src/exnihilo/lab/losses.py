"""Loss, its gradient and score of many runs at once.

Shape legend: R runs, B samples, O outputs.
"""

from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

from exnihilo.lab.tasks import Task


def loss_gradient(task: Task, outputs_RBO: Tensor, targets: Tensor) -> Tensor:
    """Gradient of each run's mean loss by its outputs, with the bits of ``cross_entropy`` or ``mse_loss`` alone.

    Args:
        targets: ``R * B`` classes, or ``R * B`` rows of one number.
    """
    runs, batch, outputs = outputs_RBO.shape
    if task.kind == "regression":
        return (outputs_RBO - targets.view_as(outputs_RBO)) * (2.0 / (batch * outputs))
    flat = outputs_RBO.reshape(runs * batch, outputs)
    if _columns_agree(runs * batch, outputs):
        gradient = _cross_entropy_gradient(flat.t().contiguous(), targets, batch, dim=0).t().contiguous()
    else:
        gradient = _cross_entropy_gradient(flat, targets, batch, dim=1)
    return gradient.view(runs, batch, outputs)


def _cross_entropy_gradient(scores: Tensor, targets: Tensor, batch: int, *, dim: int) -> Tensor:
    """By the kernels that autograd calls behind ``cross_entropy``; classes along ``dim`` of two."""
    log_probabilities = torch.log_softmax(scores, dim)
    by_log_probability = torch.zeros_like(scores).scatter_(dim, targets.unsqueeze(dim), -1.0 / batch)
    return torch.ops.aten._log_softmax_backward_data(by_log_probability, log_probabilities, dim, scores.dtype)


@cache
def _columns_agree(rows: int, classes: int) -> bool:
    """Whether classes along columns, where the kernels are ten times as fast, were seen to give the bits of rows."""
    for trial, scale in enumerate((0.1, 1.0, 10.0, 100.0)):
        generator = torch.Generator().manual_seed(trial)
        scores = torch.randn(rows, classes, generator=generator) * scale
        targets = torch.randint(classes, (rows,), generator=generator)
        by_rows = _cross_entropy_gradient(scores, targets, 1, dim=1)
        if not torch.equal(by_rows, _cross_entropy_gradient(scores.t().contiguous(), targets, 1, dim=0).t()):
            return False
    return True


def loss_and_score(task: Task, outputs_RBO: Tensor, targets: Tensor) -> tuple[list[float], list[float]]:
    """Mean loss and score of each run: cross-entropy in nats and accuracy, or mean squared error and R².

    Args:
        targets: ``[R, B]`` classes, or ``[R, B, 1]`` numbers.
    """
    runs, batch = outputs_RBO.shape[:2]
    if task.kind == "regression":
        squares = (outputs_RBO - targets).double().square().flatten(1).numpy()
        centered = targets.double() - targets.double().mean(1, keepdim=True)
        spread = centered.square().flatten(1).numpy().mean(axis=1)
        losses = squares.mean(axis=1)
        return losses.tolist(), (1.0 - losses / spread).tolist()
    losses = F.cross_entropy(outputs_RBO.reshape(runs * batch, -1), targets.flatten(), reduction="none")
    right = outputs_RBO.argmax(2) == targets
    # A run whose outputs are NaN predicts nothing; argmax would quietly count NaN as a class.
    score = torch.where(torch.isfinite(outputs_RBO).all(2).all(1), right.double().mean(1), torch.nan)
    return losses.view(runs, batch).double().numpy().mean(axis=1).tolist(), score.tolist()
