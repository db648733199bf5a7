"""Values that are written out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """The given entries along the first dim, the same in all others; a single one fills the tensor.

    Promise:
        The root mean square distance of the values from their mean.

    Fails when:
        The tensor's first dim has another size, and ``sample`` refuses.

    Args:
        values: Finite numbers, at least one. Default ``(0.0,)``.

    Raises:
        InvalidValueError: There is no value, or one is not finite.
        LayoutError: On ``sample``: the first dim has another size.

    Example:
        >>> Values(values=(0.5, -0.5)).sample(Layout.vector(2), Key(0, "head.bias"))
        tensor([ 0.5000, -0.5000])
    """

    values: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        if not self.values:
            raise InvalidValueError("Values.values is empty; at least one is needed.", fix="Values(values=(0.0,))")
        for value in self.values:
            require_finite("Values", "values", value, 0.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        self._require_size(layout)
        column = torch.tensor(self.values, dtype=torch.float32, device="cpu")
        return column.reshape(-1, *[1] * (len(layout.shape) - 1)).expand(layout.shape).clone()

    def expected_std(self, layout: Layout) -> float:
        """The promise: the standard deviation of ``values``."""
        self._require_size(layout)
        values = torch.tensor(self.values, dtype=torch.float64, device="cpu")
        return values.std(correction=0).item()

    def _require_size(self, layout: Layout) -> None:
        if len(self.values) not in (1, layout.shape[0]):
            raise LayoutError(
                f"Values has {len(self.values)} entries, and shape {layout.shape} needs {layout.shape[0]}.",
                fix="give one value, or one for each index of the first dim",
            )
