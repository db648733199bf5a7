"""A scheme with every entry multiplied by one factor."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from exnihilo.errors import InvalidValueError
from exnihilo.schemes.constant import Constant, Ones, Zeros
from exnihilo.schemes.identity import Dirac, Identity, RepeatedIdentity
from exnihilo.schemes.mirrored import Mirrored
from exnihilo.schemes.noisy import Noisy
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.orthogonal import DeltaOrthogonal, Orthogonal
from exnihilo.schemes.rademacher import Rademacher
from exnihilo.schemes.scheme import Scheme, require_positive
from exnihilo.schemes.sliced import Sliced
from exnihilo.schemes.sparse import Sparse
from exnihilo.schemes.truncated_normal import TruncatedNormal
from exnihilo.schemes.uniform import Uniform
from exnihilo.schemes.variance_scaling import VarianceScaling
from exnihilo.schemes.zero_row import ZeroRow

# The options of each class in which its entries are linear.
_LINEAR: Mapping[type, tuple[str, ...]] = {
    Zeros: (),
    Constant: ("value",),
    Normal: ("std", "mean"),
    Uniform: ("bound", "mean"),
    TruncatedNormal: ("std", "mean"),
    Orthogonal: ("gain",),
    DeltaOrthogonal: ("gain",),
    Identity: ("gain",),
    RepeatedIdentity: ("gain",),
    Dirac: ("gain",),
    Rademacher: ("std",),
    Sparse: ("std",),
    Noisy: ("std",),
    Sliced: (),
    Mirrored: (),
    ZeroRow: (),
}


def scaled(scheme: Scheme, factor: float) -> Scheme:
    """The scheme that draws ``factor`` times what ``scheme`` draws, and so promises ``factor`` times its std.

    Raises:
        InvalidValueError: ``factor`` is not positive and finite, or the scheme has no option to carry it.

    Example:
        >>> scaled(Normal(std=0.5), 0.5)
        Normal(std=0.25, mean=0.0)
    """
    require_positive("scaled", "factor", factor, 0.5)
    if isinstance(scheme, VarianceScaling):
        return replace(scheme, scale=(math.sqrt(scheme.scale) * factor) ** 2)
    if isinstance(scheme, Ones):
        return Constant(value=factor)
    if type(scheme) not in _LINEAR:
        raise InvalidValueError(
            f"{type(scheme).__name__} cannot be scaled: no option of it multiplies its entries.",
            fix="use a scheme that has a std, bound, gain or scale, such as Normal(std=0.02)",
        )
    options: dict[str, Any] = {name: factor * getattr(scheme, name) for name in _LINEAR[type(scheme)]}
    if isinstance(scheme, Noisy | Sliced | Mirrored | ZeroRow):
        options["base"] = scaled(scheme.base, factor)
    return replace(scheme, **options)  # pyright: ignore[reportArgumentType]  # every class of _LINEAR is a dataclass
