"""How much each residual branch gives out, where the shortcuts weigh as recipe ``admin`` will let them."""

import math
from typing import Any

from torch import Tensor, nn

from exnihilo.errors import RecipeError
from exnihilo.probes.sums import at_sums
from exnihilo.structure.records import Branch


def profile_branches(model: nn.Module, batch: Any) -> tuple[float, ...]:
    """The variance of what each residual branch gives out, over all entries, in the order of execution.

    One pass of a copy, in which each shortcut weighs as soon as the branches in front of it are measured: the square of
    its weight is 1 plus their variances. Recipe ``admin`` takes this as its ``profile``. The model is left as it was.

    Args:
        model: A module with values and norms behind its sums, in the mode (training or not) to be measured in.
        batch: What the model is called with, as in ``read``: as many samples as the variances are to be exact.

    Raises:
        RecipeError: A norm stands elsewhere than behind a sum: it would not take the shortcut's weight out again.
        ReadError: The model does not run on the batch, or has no values.

    Example:
        >>> import torch
        >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        >>> len(profile_branches(layer, torch.randn(2, 3, 8)))
        2
    """
    in_front: dict[int | None, float] = {None: 1.0}  # the stream itself, behind a norm

    def measured(branch: Branch, out: Tensor, shortcut: Tensor) -> float:
        _require_norm_behind(branch)
        variance = float((out.double() - shortcut.double()).var(correction=0))
        out.add_(shortcut, alpha=math.sqrt(in_front[branch.after]) - 1.0)
        in_front[branch.index] = in_front[branch.after] + variance
        return variance

    _, variances = at_sums(model, batch, measured)
    return tuple(variances)


def _require_norm_behind(branch: Branch) -> None:
    if branch.norm != "post":
        raise RecipeError(
            f"A profile is of norms behind the sums, and branch '{branch.name}' has none there.",
            context=["a norm takes the weight of the shortcut out again; without one the stream would grow"],
            fix='recipe="zero-residual" or recipe="depth-scaled", which need no profile',
        )
