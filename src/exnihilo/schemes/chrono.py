"""Biases of gates that open at many time scales."""

import math
from dataclasses import dataclass

from torch import Tensor

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key, uniform
from exnihilo.layouts import Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Chrono:
    """Forget gates that remember for a time drawn up to a horizon; input gates as much shut as those are open.

    Rule:
        Of the packed bias ``[input, forget, cell, output]`` of an LSTM the forget part is ``ln u`` with ``u`` uniform
        in ``[1, horizon - 1]``, the input part is its negative, and the others are zero.

    Promise:
        The root mean square distance from the mean of that law, over all four parts.

    Fails when:
        The vector is no packed bias of four gates: ``sample`` refuses what four does not divide.

    Args:
        horizon: The longest dependence to be learned, in steps, more than 2. Default 100.0.

    Raises:
        InvalidValueError: ``horizon`` is 2 or less, or not finite.
        LayoutError: On ``sample``: the size is no multiple of four.

    Example:
        >>> drawn = Chrono(horizon=20.0).sample(Layout.vector(8), Key(0, "bias"))
        >>> bool((drawn[2:4] >= 0).all()), bool((drawn[:2] == -drawn[2:4]).all()), drawn[4:].any().item()
        (True, True, False)

    References:
        Tallec, Ollivier (2018), Can Recurrent Neural Networks Warp Time?, section 2.
    """

    horizon: float = 100.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.horizon) and self.horizon > 2.0):
            raise InvalidValueError(
                f"Chrono.horizon is {self.horizon}; it must be more than 2 steps.", fix="Chrono(horizon=100.0)"
            )

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        self._require_four(layout)
        size = layout.numel // 4
        times = 1.0 + (self.horizon - 2.0) * uniform(key, size)
        forget = times.log()
        values = forget.new_zeros(layout.numel)
        values[:size], values[size : 2 * size] = -forget, forget
        return values.reshape(layout.shape)

    def expected_std(self, layout: Layout) -> float:
        """The promise: mean square of ``ln u``, on half of the entries; the mean of all is zero."""
        self._require_four(layout)
        top = self.horizon - 1.0
        log = math.log(top)
        square = (top * (log**2 - 2 * log + 2) - 2.0) / (top - 1.0)
        return math.sqrt(square / 2.0)

    def _require_four(self, layout: Layout) -> None:
        if len(layout.shape) != 1 or layout.numel % 4:
            raise LayoutError(
                f"Chrono is for the packed bias of four gates; shape {layout.shape} is none.", fix="keep the parameter"
            )
