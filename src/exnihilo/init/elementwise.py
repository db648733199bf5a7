"""Laws of single entries, whatever the shape.

A number is taken as ``float(+number)``: what torch takes for one, and no text.
"""

import torch
from torch import Tensor
from torch.overrides import handle_torch_function, has_torch_function_unary

from exnihilo.fills import Key
from exnihilo.init.laws import normal_law, scheme_law, truncated_law, uniform_law
from exnihilo.init.writing import draw_
from exnihilo.schemes import Rademacher, TruncatedNormal


def uniform_(
    tensor: Tensor,
    a: float = 0.0,
    b: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    key: Key | None = None,
) -> Tensor:
    """Independent entries, uniform in ``[a, b)``.

    Args:
        tensor: float32, float64, bfloat16 or float16, of any shape and strides.
        a: Lower bound. Default 0.0.
        b: Upper bound. Default 1.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator: global random states stay as they are.

    Returns:
        ``tensor``.

    Raises:
        DrawError: The bounds are not in order, or not in the dtype's range.
        DtypeError: The dtype is none of those.
        InvalidValueError: Key and generator were both given.

    Example:
        >>> w = uniform_(torch.empty(3, 5), -0.1, 0.1, key=Key(0, "w"))
        >>> bool((w.abs() <= 0.1).all())
        True
    """
    if has_torch_function_unary(tensor):
        return handle_torch_function(uniform_, (tensor,), tensor=tensor, a=a, b=b, generator=generator, key=key)
    return draw_(tensor, uniform_law(float(+a), float(+b), tensor.dtype), generator, key)


def normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    generator: torch.Generator | None = None,
    *,
    key: Key | None = None,
) -> Tensor:
    """Independent normal entries.

    Args:
        tensor: float32, float64, bfloat16 or float16, of any shape and strides; or complex, with half of the variance
            in each part.
        mean: Mean of the entries. Default 0.0.
        std: Standard deviation, not negative. Default 1.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        DrawError: ``std`` is negative, or a number is not finite in float32.
        DtypeError: The dtype is none of those.
        InvalidValueError: Key and generator were both given.

    Example:
        >>> a, b = (normal_(torch.empty(3, 5), std=std, key=Key(0, "w")) for std in (0.5, 1.0))
        >>> bool((2 * a == b).all())
        True
    """
    if has_torch_function_unary(tensor):
        return handle_torch_function(
            normal_, (tensor,), tensor=tensor, mean=mean, std=std, generator=generator, key=key
        )
    return draw_(tensor, normal_law(float(+mean), float(+std), tensor.dtype), generator, key)


def trunc_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    a: float = -2.0,
    b: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    key: Key | None = None,
) -> Tensor:
    """Independent normal entries, cut off outside ``[a, b]``: both are values, not multiples of ``std``.

    Args:
        tensor: float32, float64, bfloat16 or float16, of any shape and strides.
        mean: Mean before the cut. Default 0.0.
        std: Standard deviation before the cut, positive. Default 1.0.
        a: Lower bound. Default -2.0.
        b: Upper bound. Default 2.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        DrawError: ``std`` is not positive, the bounds are not in order, or they enclose nothing but the tail beyond 37
            ``std``, which float64 cannot hold.
        DtypeError: The dtype is none of those.
        InvalidValueError: Key and generator were both given.

    Example:
        >>> w = trunc_normal_(torch.empty(1000), std=1.0, a=5.0, b=6.0, key=Key(0, "w"))
        >>> bool((w >= 5).all()), f"{w.mean().item():.1f}"
        (True, '5.2')

    Differs:
        ``torch.nn.init`` warns where the mean is more than two ``std`` outside of the bounds; here the law is exact
        there too, and there is no warning.
    """
    return draw_(tensor, truncated_law(float(+mean), float(+std), float(+a), float(+b), tensor.dtype), generator, key)


def truncated_normal_(
    tensor: Tensor,
    mean: float = 0.0,
    std: float = 1.0,
    lower: float = -2.0,
    upper: float = 2.0,
    generator: torch.Generator | None = None,
    *,
    key: Key | None = None,
) -> Tensor:
    """``schemes.TruncatedNormal``: cut at multiples of sigma, and with ``std`` after the cut.

    Args:
        tensor: float32, float64, bfloat16 or float16, of any shape and strides.
        mean: Mean before the cut. Default 0.0.
        std: Standard deviation of the delivered entries, not negative. Default 1.0.
        lower: Lower cut in units of the sigma before the cut. Default -2.0.
        upper: Upper cut in the same units. Default 2.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        DtypeError: The dtype is none of those.
        InvalidValueError: As ``schemes.TruncatedNormal``; or key and generator were both given.

    Example:
        >>> w = truncated_normal_(torch.empty(512, 512), std=0.02, key=Key(0, "w"))
        >>> f"{w.std().item():.4f} {w.abs().max().item():.4f}"
        '0.0200 0.0455'
    """
    scheme = TruncatedNormal(std=std, lower=lower, upper=upper, mean=mean)
    return draw_(tensor, scheme_law(scheme, tensor.dtype), generator, key)


def rademacher_(
    tensor: Tensor, std: float = 1.0, generator: torch.Generator | None = None, *, key: Key | None = None
) -> Tensor:
    """``schemes.Rademacher``: independent entries, ``std`` or ``-std`` with equal chance.

    Args:
        tensor: float32, float64, bfloat16 or float16, of any shape and strides.
        std: The size of every entry, not negative. Default 1.0.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        DtypeError: The dtype is none of those.
        InvalidValueError: ``std`` is negative or not finite; or key and generator were both given.

    Example:
        >>> sorted(set(rademacher_(torch.empty(64), 0.5, key=Key(0, "w")).tolist()))
        [-0.5, 0.5]
    """
    return draw_(tensor, scheme_law(Rademacher(std=std), tensor.dtype), generator, key)


def constant_(tensor: Tensor, val: float) -> Tensor:
    """Every entry ``val``, in any dtype that holds it.

    Example:
        >>> constant_(torch.empty(2), 0.5)
        tensor([0.5000, 0.5000])
    """
    if has_torch_function_unary(tensor):
        return handle_torch_function(constant_, (tensor,), tensor=tensor, val=val)
    _unrecorded(tensor).fill_(val)
    return tensor


def ones_(tensor: Tensor) -> Tensor:
    """Every entry 1, in any dtype."""
    _unrecorded(tensor).fill_(1.0)
    return tensor


def zeros_(tensor: Tensor) -> Tensor:
    """Every entry 0, in any dtype."""
    _unrecorded(tensor).zero_()
    return tensor


def _unrecorded(tensor: Tensor) -> Tensor:
    """The same memory for a write that autograd shall not record; cheaper than ``torch.no_grad``."""
    return tensor.detach() if tensor.requires_grad else tensor
