"""Laws whose size follows from the fans: those of the tensor's shape, or of the module that owns it."""

import math
import warnings
from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.init import calculate_gain
from torch.overrides import handle_torch_function, has_torch_function_unary

from exnihilo.errors import DrawError, InvalidValueError
from exnihilo.fills import Key
from exnihilo.init.laws import layout_law, position_law
from exnihilo.init.owners import layout_in
from exnihilo.init.writing import draw_
from exnihilo.schemes import (
    VarianceScaling,
    Zeros,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.scheme import Elementwise
from exnihilo.schemes.variance_scaling import Distribution, Mode

FanMode = Literal["fan_in", "fan_out"]
_FAN_MODES = list(get_args(FanMode))


def xavier_uniform_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.xavier_uniform``: bound ``gain * sqrt(6 / (fan_in + fan_out))``.

    Args:
        tensor: float32, float64, bfloat16 or float16.
        gain: Multiplier, not negative. Default 1.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        module: The module that owns the tensor, or any above it: the fans are those of its operation. Default: of a
            linear map or a convolution in one group, by the shape alone, as torch.nn.init has them.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has no fans: fewer than two dims, or a vector of its module.
        DrawError: ``gain`` is negative or not finite.
        DtypeError: The dtype is none of those.
        InvalidValueError: The module does not own the tensor; or key and generator were both given.

    Example:
        >>> attention = nn.MultiheadAttention(64, 4)
        >>> w = xavier_uniform_(attention.in_proj_weight, module=attention, key=Key(0, "qkv"))
        >>> f"{w.abs().max().item():.2f} {math.sqrt(6 / (64 + 64)):.2f}"
        '0.22 0.22'
    """
    return _scaled_(tensor, (_of_gain, (xavier_uniform, float(+gain))), generator, module, key)


def xavier_normal_(
    tensor: Tensor,
    gain: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.xavier_normal``: variance ``2 gain**2 / (fan_in + fan_out)``. All else is as ``xavier_uniform_``."""
    return _scaled_(tensor, (_of_gain, (xavier_normal, float(+gain))), generator, module, key)


def kaiming_uniform_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.he_uniform`` with torch's gain: bound ``gain * sqrt(3 / fan)``.

    Args:
        tensor: float32, float64, bfloat16 or float16.
        a: Negative slope of the leaky ReLU that follows. Default 0: a ReLU.
        mode: ``"fan_in"`` or ``"fan_out"``, in any case. Default ``"fan_in"``.
        nonlinearity: A name that ``calculate_gain`` knows. Default ``"leaky_relu"``.
        generator: Where the draw's key comes from. Default: torch's default generator.
        module: The module that owns the tensor, or any above it: the fans are those of its operation. Default: of a
            linear map or a convolution in one group, by the shape alone, as torch.nn.init has them.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has no fans: fewer than two dims, or a vector of its module.
        DtypeError: The dtype is none of those.
        InvalidValueError: ``mode`` is none of these; the module does not own the tensor; or key and generator were
            both given.
        ValueError: ``calculate_gain`` does not know the nonlinearity, or ``a`` is no number.

    Example:
        >>> conv = nn.Conv2d(8, 16, 3, groups=2)
        >>> w = kaiming_uniform_(conv.weight, module=conv, key=Key(0, "conv"))
        >>> f"{w.abs().max().item():.2f} {math.sqrt(6 / 36):.2f}"
        '0.41 0.41'
    """
    if has_torch_function_unary(tensor):
        return handle_torch_function(
            kaiming_uniform_,
            (tensor,),
            tensor=tensor,
            a=a,
            mode=mode,
            nonlinearity=nonlinearity,
            generator=generator,
            module=module,
            key=key,
        )
    return _kaiming_(tensor, he_uniform, a, mode, nonlinearity, generator, module, key)


def kaiming_normal_(
    tensor: Tensor,
    a: float = 0,
    mode: FanMode = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.he_normal`` with torch's gain: std ``gain / sqrt(fan)``. All else is as ``kaiming_uniform_``."""
    return _kaiming_(tensor, he_normal, a, mode, nonlinearity, generator, module, key)


def lecun_uniform_(
    tensor: Tensor,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.lecun_uniform``: bound ``sqrt(3 / fan_in)``. All else is as ``xavier_uniform_``."""
    return _scaled_(tensor, (lecun_uniform, ()), generator, module, key)


def lecun_normal_(
    tensor: Tensor,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.lecun_normal``: variance ``1 / fan_in``, not truncated. All else is as ``xavier_uniform_``."""
    return _scaled_(tensor, (lecun_normal, ()), generator, module, key)


def variance_scaling_(
    tensor: Tensor,
    scale: float = 1.0,
    mode: Mode = "fan_in",
    distribution: Distribution = "normal",
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.VarianceScaling``: variance ``scale / fan``. All else is as ``xavier_uniform_``.

    Args:
        tensor: float32, float64, bfloat16 or float16.
        scale: Variance times fan, positive. Default 1.0, for linear maps.
        mode: ``"fan_in"``, ``"fan_out"`` or ``"fan_avg"``. Default ``"fan_in"``.
        distribution: ``"normal"``, ``"truncated_normal"`` or ``"uniform"``. Default ``"normal"``.
        generator: Where the draw's key comes from. Default: torch's default generator.
        module: The module that owns the tensor, for its fans. Default: fans by the shape alone.
        key: What the entries depend on, in place of a generator.

    Example:
        >>> w = variance_scaling_(torch.empty(512, 512), 2.0, "fan_avg", "truncated_normal", key=Key(0, "w"))
        >>> bool((w.std() / math.sqrt(2 / 512) - 1).abs() < 0.01)
        True
    """
    return _scaled_(tensor, (_variance_scaling, (float(+scale), mode, distribution)), generator, module, key)


def _kaiming_(
    tensor: Tensor,
    scheme: Callable[[float, Mode], VarianceScaling],
    a: float,
    mode: FanMode,
    nonlinearity: str,
    generator: torch.Generator | None,
    module: nn.Module | None,
    key: Key | None,
) -> Tensor:
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return tensor
    if (folded := mode.lower()) not in _FAN_MODES:
        raise InvalidValueError(
            f"Mode {folded} not supported, please use one of {_FAN_MODES}.",
            fix="kaiming_normal_(w, mode='fan_in'), or variance_scaling_(w, mode='fan_avg')",
        )
    gain = calculate_gain(nonlinearity, a)  # pyright: ignore[reportArgumentType]  # refuses names that it does not know
    return _scaled_(tensor, (_of_gain, (scheme, float(+gain), folded)), generator, module, key)


def _scaled_(
    tensor: Tensor,
    scheme: tuple[Callable[..., Elementwise], tuple[object, ...]],
    generator: torch.Generator | None,
    module: nn.Module | None,
    key: Key | None,
) -> Tensor:
    if module is None:
        law = position_law(*scheme, tensor.shape, tensor.dtype)
    elif tensor.numel() == 0:
        return tensor
    else:
        law = layout_law(*scheme, layout_in(module, tensor), tensor.dtype)
    return draw_(tensor, law, generator, key)


def _of_gain(scheme: Callable[..., Elementwise], gain: float, *options: object) -> Elementwise:
    """A scheme that begins with its gain, which may be zero here."""
    if not (gain >= 0.0 and gain * gain < math.inf):
        raise DrawError(f"gain is {gain:g}; it must be finite and not negative.", fix="xavier_uniform_(w, gain=1.0)")
    return scheme(gain, *options) if gain * gain > 0.0 else Zeros()


def _variance_scaling(scale: float, mode: Mode, distribution: Distribution) -> VarianceScaling:
    return VarianceScaling(scale=scale, mode=mode, distribution=distribution)
