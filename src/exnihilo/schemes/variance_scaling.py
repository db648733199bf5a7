"""Variance scaled by the fans: LeCun, Xavier (Glorot) and He (Kaiming), and what they are special cases of."""

import math
from dataclasses import dataclass
from typing import Literal, get_args

from torch import Tensor

from exnihilo.errors import UnknownNameError
from exnihilo.fills import Key, Law
from exnihilo.layouts import Layout
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.scheme import Elementwise, require_positive
from exnihilo.schemes.truncated_normal import TruncatedNormal
from exnihilo.schemes.uniform import Uniform

Mode = Literal["fan_in", "fan_out", "fan_avg"]
Distribution = Literal["normal", "truncated_normal", "uniform"]

_RELU_GAIN = math.sqrt(2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceScaling:
    """Independent entries of mean 0 and variance ``scale / fan``.

    Promise:
        Standard deviation ``sqrt(scale / fan)``, for all three distributions. For white input the mean-square gain of
        the map is ``scale * fan_in / fan`` forward and ``scale * fan_out / fan`` backward.

    Fails when:
        The tensor is a vector, which has no fans; or an activation with another gain follows (see ``gains.gain``).

    Args:
        scale: Variance times fan: the squared gain, positive. Default 1.0, for linear maps.
        mode: Which fan: ``"fan_in"`` preserves the mean square forward, ``"fan_out"`` backward, ``"fan_avg"`` (their
            arithmetic mean) is between. Default ``"fan_in"``.
        distribution: ``"normal"``, ``"truncated_normal"`` (at two sigma, std restored) or ``"uniform"``. Default
            ``"normal"``.

    Raises:
        InvalidValueError: ``scale`` is not positive and finite.
        UnknownNameError: ``mode`` or ``distribution`` is none of these.

    Example:
        >>> VarianceScaling(scale=2.0).expected_std(Layout.linear(64, 32))
        0.25
    """

    scale: float = 1.0
    mode: Mode = "fan_in"
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        require_positive("VarianceScaling", "scale", self.scale, 1.0)
        if self.mode not in get_args(Mode):
            raise UnknownNameError.of("mode", self.mode, get_args(Mode))
        if self.distribution not in get_args(Distribution):
            raise UnknownNameError.of("distribution", self.distribution, get_args(Distribution))

    def law(self, layout: Layout) -> Law:
        """The law of one entry."""
        return self._base(self.expected_std(layout)).law(layout)

    def sample(self, layout: Layout, key: Key) -> Tensor:
        """Fresh values: float32, of shape ``layout.shape``."""
        return self._base(self.expected_std(layout)).sample(layout, key)

    def expected_std(self, layout: Layout) -> float:
        """The promise: ``sqrt(scale / fan)``."""
        return math.sqrt(self.scale / self._fan(layout))

    def _fan(self, layout: Layout) -> float:
        match self.mode:
            case "fan_in":
                return layout.fan_in
            case "fan_out":
                return layout.fan_out
            case "fan_avg":
                return (layout.fan_in + layout.fan_out) / 2.0

    def _base(self, std: float) -> Elementwise:
        match self.distribution:
            case "normal":
                return Normal(std=std)
            case "truncated_normal":
                return TruncatedNormal(std=std, lower=-2.0, upper=2.0)
            case "uniform":
                return Uniform(bound=math.sqrt(3.0) * std)


def lecun_normal() -> VarianceScaling:
    """``VarianceScaling`` with scale 1 and fan_in, normal: the mean square is preserved forward by a linear map.

    References:
        LeCun, Bottou, Orr, Müller (1998), Efficient BackProp, section 4.6.

    Differs:
        JAX's and Keras's ``lecun_normal`` is truncated: ``VarianceScaling(distribution="truncated_normal")``.
    """
    return VarianceScaling()


def lecun_uniform() -> VarianceScaling:
    """``VarianceScaling`` with scale 1 and fan_in, uniform: bound ``sqrt(3 / fan_in)``.

    References:
        LeCun, Bottou, Orr, Müller (1998), Efficient BackProp, section 4.6.
    """
    return VarianceScaling(distribution="uniform")


def xavier_normal(gain: float = 1.0) -> VarianceScaling:
    """``VarianceScaling`` with scale ``gain**2`` and fan_avg, normal: variance ``2 gain**2 / (fan_in + fan_out)``.

    References:
        Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, section 4.2.1.
    """
    require_positive("xavier_normal", "gain", gain, 1.0)
    return VarianceScaling(scale=gain**2, mode="fan_avg")


def xavier_uniform(gain: float = 1.0) -> VarianceScaling:
    """``VarianceScaling`` with scale ``gain**2`` and fan_avg, uniform: bound ``gain * sqrt(6 / (fan_in + fan_out))``.

    References:
        Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, section 4.2.1.
    """
    require_positive("xavier_uniform", "gain", gain, 1.0)
    return VarianceScaling(scale=gain**2, mode="fan_avg", distribution="uniform")


def he_normal(gain: float = _RELU_GAIN, mode: Mode = "fan_in") -> VarianceScaling:
    """``VarianceScaling`` with scale ``gain**2``, normal: with the default gain of ReLU, std ``sqrt(2 / fan_in)``.

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2.
    """
    require_positive("he_normal", "gain", gain, _RELU_GAIN)
    return VarianceScaling(scale=gain**2, mode=mode)


def he_uniform(gain: float = _RELU_GAIN, mode: Mode = "fan_in") -> VarianceScaling:
    """``VarianceScaling`` with scale ``gain**2``, uniform: with the default gain of ReLU, bound ``sqrt(6 / fan_in)``.

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2.
    """
    require_positive("he_uniform", "gain", gain, _RELU_GAIN)
    return VarianceScaling(scale=gain**2, mode=mode, distribution="uniform")
