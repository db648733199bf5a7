"""A scheme with one row of zeros."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from exnihilo.errors import LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroRow:
    """What ``base`` draws, with zeros at one index of the first dim: the row of an embedding's padding.

    Promise:
        For a base of mean zero and ``n`` rows, the entries' standard deviation is ``base_std * sqrt(1 - 1 / n)``.

    Fails when:
        That row shall be learned: zeros are right where it never receives a gradient, as ``padding_idx`` has it.

    Args:
        base: The scheme of the other rows. Default ``Normal()``.
        row: Index of the row of zeros. Default 0.

    Raises:
        LayoutError: On ``sample``: the tensor has no such row.

    Example:
        >>> ZeroRow(row=1).sample(Layout.embedding(3, 4), Key(0, "w")).any(dim=1).tolist()
        [True, False, True]
    """

    base: Scheme = field(default_factory=Normal)
    row: int = 0

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        self._require_row(layout)
        values = self.base.sample(layout, key)
        values[self.row] = 0.0
        return values

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``base_std * sqrt(1 - 1 / n)``."""
        self._require_row(layout)
        return self.base.expected_std(layout) * math.sqrt(1.0 - 1.0 / layout.shape[0])

    def _require_row(self, layout: Layout) -> None:
        if not layout.shape or not 0 <= self.row < layout.shape[0]:
            raise LayoutError(
                f"ZeroRow has row {self.row}, and a {layout.kind} layout of shape {layout.shape} has no such row.",
                fix="ZeroRow(row=0)",
            )
