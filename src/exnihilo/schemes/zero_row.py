"""A scheme with one row of zeros."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.constant import Constant, Ones
from exnihilo.schemes.formula import Formula
from exnihilo.schemes.identity import Dirac, Identity
from exnihilo.schemes.noisy import Noisy
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme
from exnihilo.schemes.shared import Shared
from exnihilo.schemes.truncated_normal import TruncatedNormal
from exnihilo.schemes.uniform import Uniform
from exnihilo.schemes.values import Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroRow:
    """What ``base`` draws, with zeros at one index of the first dim: the row of an embedding's padding.

    Promise:
        For ``n`` rows and a base of mean ``m`` in each of them, the entries' standard deviation is
        ``sqrt((1 - 1 / n) * (base_std**2 + m**2 / n))``.

    Fails when:
        That row shall be learned: zeros are right where it never receives a gradient, as ``padding_idx`` has it.

    Args:
        base: The scheme of the other rows. Default ``Normal()``.
        row: Index of the row of zeros. Default 0.

    Raises:
        InvalidValueError: The rows of ``base`` have no common mean that is known.
        LayoutError: On ``sample``: the tensor has no such row.

    Example:
        >>> ZeroRow(row=1).sample(Layout.embedding(3, 4), Key(0, "w")).any(dim=1).tolist()
        [True, False, True]
    """

    base: Scheme = field(default_factory=Normal)
    row: int = 0

    def __post_init__(self) -> None:
        if _mean(self.base) is None:
            raise InvalidValueError(
                f"ZeroRow.base is {self.base!r}, whose rows have no common mean that is known.",
                context=["the spread beside a row of zeros follows from it"],
                fix="ZeroRow(base=Normal(std=0.02))",
            )

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        self.require_row(layout)
        values = self.base.sample(layout, key)
        values[self.row] = 0.0
        return values

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``sqrt((1 - 1 / n) * (base_std**2 + m**2 / n))``."""
        self.require_row(layout)
        n, mean = layout.shape[0], _mean(self.base) or 0.0
        return math.sqrt(1.0 - 1.0 / n) * math.hypot(self.base.expected_std(layout), mean / math.sqrt(n))

    def require_row(self, layout: Layout) -> None:
        """Raise LayoutError where the tensor has no such row."""
        """Raise LayoutError where the tensor has no such row."""
        if not layout.shape or not 0 <= self.row < layout.shape[0]:
            raise LayoutError(
                f"ZeroRow has row {self.row}, and a {layout.kind} layout of shape {layout.shape} has no such row.",
                fix="ZeroRow(row=0)",
            )


def _mean(base: Scheme) -> float | None:
    """What the entries of each row have as their mean; None where rows differ, or where it is not known."""
    match base:
        case Normal(mean=mean):
            return mean
        case Constant(value=value) | Values(values=(value,)):
            return value
        case Ones():
            return 1.0
        case Noisy(base=inner):
            return _mean(inner)
        case Uniform(mean=mean):
            return mean
        case TruncatedNormal(lower=lower, upper=upper, mean=mean):
            return mean if lower == -upper else None
        case Shared(base=inner):
            return _mean(inner)
        case Values() | Identity() | Dirac() | ZeroRow() | Formula():
            return None
        case _:
            return 0.0
