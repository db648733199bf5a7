"""Laws of whole matrices: orthogonal and sparse ones."""

import math

import torch
from torch import Tensor, nn

from exnihilo.errors import DrawError, LayoutError
from exnihilo.fills import Key
from exnihilo.init.laws import layout_by_position, require_dtype, require_std
from exnihilo.init.owners import layout_in
from exnihilo.init.writing import make_
from exnihilo.layouts import Layout
from exnihilo.schemes import DeltaOrthogonal, Orthogonal, Scheme, Sparse, Zeros


def orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.Orthogonal``: semi-orthogonal, Haar-uniform, times ``gain``; trailing dims are flattened.

    Args:
        tensor: Of two dims or more; float32, float64, bfloat16 or float16.
        gain: Multiplier, of any sign. Default 1.
        generator: Where the draw's key comes from. Default: torch's default generator.
        module: The module that owns the tensor, or any above it: each of its matrices, such as the groups of a
            convolution or the maps of a packed projection, is orthogonal by itself. Default: one matrix.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has fewer than two dims, or is a vector of its module.
        DrawError: ``gain`` is not finite.
        DtypeError: The dtype is none of those.
        InvalidValueError: The module does not own the tensor; or key and generator were both given.

    Example:
        >>> w = orthogonal_(torch.empty(5, 3), key=Key(0, "w"))
        >>> bool(torch.allclose(w.T @ w, torch.eye(3), atol=1e-5))
        True
    """
    return _orthogonal_(tensor, Orthogonal(), gain, generator, module, key)


def delta_orthogonal_(
    tensor: Tensor,
    gain: float = 1,
    generator: torch.Generator | None = None,
    *,
    module: nn.Module | None = None,
    key: Key | None = None,
) -> Tensor:
    """``schemes.DeltaOrthogonal``: orthogonal at the center of the kernel, zeros elsewhere.

    Arguments and errors are those of ``orthogonal_``.

    Raises:
        LayoutError: The tensor has no kernel, or a group has more input than output channels.

    Example:
        >>> w = delta_orthogonal_(torch.empty(8, 4, 3), key=Key(0, "w"))
        >>> bool(torch.allclose(w[..., 1].T @ w[..., 1], torch.eye(4), atol=1e-5)), w[..., 0].any().item()
        (True, False)
    """
    return _orthogonal_(tensor, DeltaOrthogonal(), gain, generator, module, key)


def sparse_(
    tensor: Tensor,
    sparsity: float,
    std: float = 0.01,
    generator: torch.Generator | None = None,
    *,
    key: Key | None = None,
) -> Tensor:
    """Normal entries, of which each column has ``ceil(sparsity * rows)`` zeros at random places.

    Args:
        tensor: Of two dims; float32, float64, bfloat16 or float16.
        sparsity: Share of zeros in each column, in [0, 1].
        std: Standard deviation of the other entries, not negative. Default 0.01.
        generator: Where the draw's key comes from. Default: torch's default generator.
        key: What the entries depend on, in place of a generator.

    Returns:
        ``tensor``.

    Raises:
        LayoutError: The tensor has not two dims.
        DrawError: ``sparsity`` is not in [0, 1], or ``std`` negative or not finite.
        DtypeError: The dtype is none of those.
        InvalidValueError: Key and generator were both given.

    Example:
        >>> w = sparse_(torch.empty(8, 3), 0.7, key=Key(0, "w"))
        >>> (w == 0).sum(dim=0).tolist()
        [6, 6, 6]

    References:
        Martens (2010), Deep learning via Hessian-free optimization.

    Differs:
        ``schemes.Sparse`` thins out the inputs of each output unit.
    """
    if tensor.dim() != 2:
        raise LayoutError(
            "Only tensors with 2 dimensions are supported.",
            context=[f"sparse_ was given shape {tuple(tensor.shape)}"],
            fix="sparse_(w.flatten(1), sparsity=0.9)",
        )
    require_dtype(tensor.dtype, None)
    if not 0.0 <= sparsity <= 1.0:
        raise DrawError(f"sparse_: sparsity is {sparsity:g}; it must be in [0, 1].", fix="sparse_(w, sparsity=0.9)")
    require_std(std)
    shape = tuple(tensor.shape)

    def sample(key: Key) -> Tensor:
        # The scheme thins out what feeds one unit: here a column.
        columns = Layout(kind="linear", shape=shape, out_dims=(1,), in_dims=(0,))
        return _thinned(math.ceil(sparsity * shape[0]), shape[0], float(std)).sample(columns, key)

    return make_(tensor, sample, generator, key)


def _thinned(num_zeros: int, num_rows: int, std: float) -> Scheme:
    return Sparse(sparsity=num_zeros / num_rows, std=std) if num_zeros < num_rows else Zeros()


def _orthogonal_(
    tensor: Tensor,
    scheme: Scheme,
    gain: float,
    generator: torch.Generator | None,
    module: nn.Module | None,
    key: Key | None,
) -> Tensor:
    if tensor.dim() < 2:
        raise LayoutError(
            "Only tensors with 2 or more dimensions are supported.",
            context=[f"shape {tuple(tensor.shape)} is no matrix"],
            fix="normal_(w, std=1.0)",
        )
    require_dtype(tensor.dtype, None)
    if not math.isfinite(gain):
        raise DrawError(f"orthogonal_: gain is {gain:g}; it must be finite.", fix="orthogonal_(w, gain=1.0)")

    def sample(key: Key) -> Tensor:
        layout = layout_by_position(tuple(tensor.shape)) if module is None else layout_in(module, tensor)
        drawn = scheme.sample(layout, key)
        drawn = _in_float64(drawn, layout) if tensor.dtype is torch.float64 else drawn
        return drawn if gain == 1 else drawn.mul_(gain)

    return make_(tensor, sample, generator, key)


def _in_float64(drawn: Tensor, layout: Layout) -> Tensor:
    """The nearest matrices that are semi-orthogonal to the last digits of float64.

    By Newton's iteration for the polar factor: each step squares the distance from it, which is that of float32 before.
    """
    matrices = layout.matrices(drawn.double()).flatten(2)
    for _ in range(2):
        matrices = 1.5 * matrices - 0.5 * matrices @ (matrices.mT @ matrices)
    return layout.assemble(matrices.unflatten(2, (layout.in_units, layout.receptive_field)))
