"""Matrices without randomness."""

from collections.abc import Callable
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from exnihilo.errors import LayoutError
from exnihilo.fills import Key
from exnihilo.fills.fill import OWN_MEMORY
from exnihilo.init.laws import REMEMBERED, layout_by_position
from exnihilo.init.owners import layout_in
from exnihilo.init.writing import is_left_alone, write_
from exnihilo.layouts import Layout
from exnihilo.schemes import Dirac, Hadamard, Identity, RepeatedIdentity, Scheme
from exnihilo.schemes.hadamard import Scale

_UNUSED = Key(0, "")  # no pattern reads its key


def eye_(tensor: Tensor) -> Tensor:
    """The identity, or as much of it as the shape holds, in any dtype.

    Raises:
        LayoutError: The tensor has not two dims.

    Example:
        >>> eye_(torch.empty(2, 3))
        tensor([[1., 0., 0.],
                [0., 1., 0.]])
    """
    if tensor.dim() != 2:
        raise LayoutError(
            "Only tensors with 2 dimensions are supported.",
            context=[f"eye_ was given shape {tuple(tensor.shape)}"],
            fix="identity_(w), which reads a kernel at its center",
        )
    if type(tensor) not in OWN_MEMORY:
        return _pattern_(tensor, Identity(), layout_by_position)
    torch.eye(*tensor.shape, out=tensor.detach(), device=tensor.device)  # of its own: a default one may differ
    return tensor


def dirac_(tensor: Tensor, groups: int = 1) -> Tensor:
    """``schemes.Dirac``: each group of a convolution hands its channels on, at the center of the kernel.

    Args:
        tensor: Of three to five dims, in any dtype.
        groups: Groups of the convolution, which divide the first dim. Default 1.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has other dims, or ``groups`` does not divide the first.

    Example:
        >>> dirac_(torch.empty(2, 1, 3), groups=2)
        tensor([[[0., 1., 0.]],
        <BLANKLINE>
                [[0., 1., 0.]]])
    """
    if tensor.dim() not in (3, 4, 5):
        raise LayoutError(
            "Only tensors with 3, 4, or 5 dimensions are supported.",
            context=[f"dirac_ was given shape {tuple(tensor.shape)}"],
            fix="identity_(w), for maps without a kernel",
        )
    if groups < 1 or tensor.shape[0] % groups:
        raise LayoutError(
            f"dim 0 must be divisible by groups: shape {tuple(tensor.shape)}, groups={groups}.", fix="dirac_(w)"
        )

    return _pattern_(tensor, Dirac(), partial(_in_groups, groups))


def identity_(tensor: Tensor, gain: float = 1.0, *, module: nn.Module | None = None) -> Tensor:
    """``schemes.Identity``: output unit i reads input unit i times ``gain``; a kernel reads at its center.

    Args:
        tensor: Of two dims or more, in any dtype.
        gain: The entries that are not zero, finite. Default 1.0.
        module: The module that owns the tensor, or any above it, for its groups and its order of dims. Default: a
            linear map, or a convolution in one group.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has fewer than two dims, or is a vector of its module.
        InvalidValueError: ``gain`` is not finite; or the module does not own the tensor.

    Example:
        >>> identity_(torch.empty(2, 2), gain=0.5)
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    return _pattern_(tensor, Identity(gain=gain), layout_by_position, module)


def repeated_identity_(tensor: Tensor, gain: float = 1.0, *, module: nn.Module | None = None) -> Tensor:
    """``schemes.RepeatedIdentity``: the identity again and again along the longer side. All else is as ``identity_``.

    Example:
        >>> repeated_identity_(torch.empty(3, 2))
        tensor([[1., 0.],
                [0., 1.],
                [1., 0.]])
    """
    return _pattern_(tensor, RepeatedIdentity(gain=gain), layout_by_position, module)


def hadamard_(tensor: Tensor, scale: Scale = "paper", *, module: nn.Module | None = None) -> Tensor:
    """``schemes.Hadamard``: the first rows and columns of a Hadamard matrix. All else is as ``identity_``.

    Args:
        tensor: Of two dims or more.
        scale: ``"paper"`` or ``"notebook"``, which is orthogonal where the map is square. Default ``"paper"``.
        module: The module that owns the tensor, or any above it. Default: a linear map, or a convolution in one group.

    Raises:
        UnknownNameError: There is no such ``scale``.

    Example:
        >>> hadamard_(torch.empty(2, 2), "notebook")
        tensor([[ 0.7071,  0.7071],
                [ 0.7071, -0.7071]])
    """
    return _pattern_(tensor, Hadamard(scale=scale), layout_by_position, module)


@lru_cache(REMEMBERED)
def _in_groups(groups: int, shape: tuple[int, ...]) -> Layout:
    return Layout.conv(shape[0], shape[1] * groups, shape[2:], groups)


def _pattern_(
    tensor: Tensor, scheme: Scheme, layout: Callable[[tuple[int, ...]], Layout], module: nn.Module | None = None
) -> Tensor:
    if is_left_alone(tensor):
        return tensor
    own = layout(tuple(tensor.shape)) if module is None else layout_in(module, tensor)
    return write_(tensor, scheme.sample(own, _UNUSED))
