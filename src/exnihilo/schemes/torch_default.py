"""What PyTorch's modules do when they are built."""

import math
from dataclasses import dataclass

from torch import Tensor

from exnihilo.fills import Key, Law
from exnihilo.layouts import Layout
from exnihilo.schemes.constant import Ones
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Elementwise, require_positive
from exnihilo.schemes.uniform import Uniform


@dataclass(frozen=True, slots=True, kw_only=True)
class TorchDefault:
    """The law that ``reset_parameters`` of PyTorch's modules draws from, with keyed values.

    Rule:
        Linear maps and convolutions ``U(±1/sqrt(fan_in))``, with the fan_in that PyTorch takes by position; embeddings
        ``N(0, 1)``; recurrent weights ``U(±1/sqrt(hidden))``; packed projections Xavier-uniform over the whole tensor.
        A bias is ``U(±1/sqrt(fan_in))`` with the fan_in of the map that it belongs to, which must be given; a vector
        without one is taken for the scale of a norm, which is ones (its shift is ``Zeros()``).

    Promise:
        The standard deviation that the module itself delivers: ``bound / sqrt(3)``, 1 or 0.

    Fails when:
        A network is deep: the variance of a linear map is a third of LeCun's and a sixth of He's.

    Args:
        fan_in: For a bias: the fan_in of its map (of a recurrent module: ``hidden_size``), positive. Default None.

    Raises:
        InvalidValueError: ``fan_in`` is not positive and finite.

    Example:
        >>> f"{TorchDefault().expected_std(Layout.linear(64, 300)):.4f}"
        '0.0333'
        >>> f"{TorchDefault(fan_in=300).expected_std(Layout.vector(64)):.4f}"
        '0.0333'
    """

    fan_in: float | None = None

    def __post_init__(self) -> None:
        if self.fan_in is not None:
            require_positive("TorchDefault", "fan_in", self.fan_in, 64)

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return self._base(layout).law(layout)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self._base(layout).sample(layout, key)

    def expected_std(self, layout: Layout) -> float:
        """The promise: the standard deviation of the module's own draw."""
        return self._base(layout).expected_std(layout)

    def _base(self, layout: Layout) -> Elementwise:
        match layout.kind:
            case "vector":
                return Ones() if self.fan_in is None else Uniform(bound=1.0 / math.sqrt(self.fan_in))
            case "embedding":
                return Normal(std=1.0)
            case "recurrent":
                return Uniform(bound=1.0 / math.sqrt(layout.out_units))
            case "packed":
                return Uniform(bound=math.sqrt(6.0 / (layout.num_matrices * layout.out_units + layout.in_units)))
            case "linear" | "conv" | "conv_transpose" | "bilinear":
                return Uniform(bound=1.0 / math.sqrt(layout.torch_fan_in))
