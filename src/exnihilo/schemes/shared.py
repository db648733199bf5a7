"""The draw of another parameter."""

from dataclasses import dataclass, field

from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What ``base`` draws under the name of another parameter: a copy of it, where that one's scheme is ``base``.

    Promise:
        That of ``base``.

    Fails when:
        Both are hidden maps side by side: what is equal and gets equal gradients stays equal.

    Args:
        base: The scheme of the other parameter, or one of the same law. Default ``Normal()``.
        name: Canonical full name of the other parameter. Default empty: the name that is asked for.

    Raises:
        InvalidValueError: ``base`` is itself a copy.

    Example:
        >>> scheme, layout = Shared(base=Normal(std=1.0), name="layers.0.weight"), Layout.linear(2, 3)
        >>> copied = scheme.sample(layout, Key(0, "layers.1.weight"))
        >>> bool((copied == Normal(std=1.0).sample(layout, Key(0, "layers.0.weight"))).all())
        True
    """

    base: Scheme = field(default_factory=Normal)
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.base, Shared):
            raise InvalidValueError(f"Shared.base is {self.base!r}, itself a copy.", fix="name the first of them")

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self.base.sample(layout, Key(key.seed, self.name) if self.name else key)

    def expected_std(self, layout: Layout) -> float:
        """The promise: that of ``base``."""
        return self.base.expected_std(layout)
