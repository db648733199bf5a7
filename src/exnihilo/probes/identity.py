"""Whether each residual branch adds nothing at the start, seen by running the model."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from exnihilo.probes.records import BranchIdentity, Certificate
from exnihilo.probes.sums import at_sums


def certify(model: nn.Module, example: Any) -> Certificate:
    """For each residual branch whether the model's sum is exactly the shortcut, and the largest deviation.

    A copy of the model runs twice: once without memory where that works, to find the sums, and once with its values,
    to compare each sum with its shortcut, bit for bit. The model is left as it was.

    Args:
        model: A module with values, in the mode (training or not) that it is to be certified in.
        example: What the model is called with, as in ``read``.

    Raises:
        ReadError: The model does not run on the example, or has no values.

    Example:
        >>> class Block(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.up, self.down = nn.Linear(4, 8), nn.Linear(8, 4)
        ...     def forward(self, x):
        ...         return x + self.down(torch.relu(self.up(x)))
        >>> block = Block()
        >>> certify(block, torch.ones(1, 4)).exact
        False
        >>> _ = [nn.init.zeros_(p) for p in block.down.parameters()]
        >>> print(certify(block, torch.ones(1, 4)))
        Block: 1 of 1 residual branches are exactly their shortcut
    """
    structure, differences = at_sums(model, example, lambda _, out, shortcut: _difference(out, shortcut))
    branches = tuple(
        BranchIdentity(
            index=branch.index, name=branch.name, shortcut=branch.shortcut, exact=exact, deviation=most, relative=share
        )
        for branch, (exact, most, share) in zip(structure.branches, differences, strict=True)
    )
    return Certificate(model=structure.model, branches=branches)


def _difference(out: Tensor, shortcut: Tensor) -> tuple[bool, float, float]:
    exact = torch.equal(out, shortcut)
    if exact:
        return True, 0.0, 0.0
    most = float((out.double() - shortcut.double()).abs().max())
    scale = float(shortcut.double().square().mean().sqrt())
    return False, most, most / scale if scale > 0 else math.nan
