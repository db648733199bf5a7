"""Every entry the same: zeros, ones, a constant."""

from dataclasses import dataclass

from torch import Tensor

from exnihilo.fills import Box, Key, Law, values
from exnihilo.layouts import Layout
from exnihilo.schemes.scheme import require_finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """Every entry equals ``value``.

    Promise:
        A spread of 0.

    Fails when:
        A hidden map starts so: all of its units compute the same function and receive the same gradient, and stay
        equal.

    Args:
        value: Any finite number. Default 0.01, small beside the entries that other schemes deliver.

    Raises:
        InvalidValueError: ``value`` is not finite.

    Example:
        >>> Constant(value=0.5).sample(Layout.vector(3), Key(0, "bias"))
        tensor([0.5000, 0.5000, 0.5000])
    """

    value: float = 0.01

    def __post_init__(self) -> None:
        require_finite("Constant", "value", self.value, 0.01)

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.constant(self.value)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: 0."""
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Zeros:
    """Every entry is 0.

    Promise:
        A spread of 0.

    Fails when:
        Two factors of one product are zero, with no other path around them: neither ever receives a gradient.

    Example:
        >>> Zeros().sample(Layout.vector(3), Key(0, "bias"))
        tensor([0., 0., 0.])
    """

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.constant(0.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: 0."""
        return 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ones:
    """Every entry is 1: the neutral scale of a norm.

    Promise:
        A spread of 0.

    Fails when:
        A hidden map starts so, as for ``Constant``.

    Example:
        >>> Ones().sample(Layout.vector(3), Key(0, "norm.weight"))
        tensor([1., 1., 1.])
    """

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return Law.constant(1.0)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``; the key is not used."""
        return values(self.law(layout), key, Box.whole(layout.shape))

    def expected_std(self, layout: Layout) -> float:
        """The promise: 0."""
        return 0.0
