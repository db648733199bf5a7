"""Layouts: which dims of a tensor are out, in and kernel, and how many logical matrices share it.

This is the only file that knows PyTorch's dim order. Everything that depends on it, such as a fan or the view of a
tensor as matrices, is asked of a ``Layout``.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from exnihilo.errors import LayoutError, UnknownNameError

if TYPE_CHECKING:  # layouts are plain values: records that hold them need no torch
    from torch import Tensor, nn

Kind = Literal["linear", "conv", "conv_transpose", "embedding", "packed", "recurrent", "bilinear", "vector"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The roles of a tensor's dims.

    A tensor holds ``groups * stacked`` logical matrices, side by side along ``packed_dim``: the groups of a grouped
    convolution, the query, key and value maps of a packed projection, the gates of a recurrent weight, the experts of
    a mixture. Fans are those of one of them.

    Args:
        kind: The operation that reads the tensor.
        shape: The tensor's shape; every dim at least 1.
        out_dims: Dims that index units of the output.
        in_dims: Dims that index units of the input.
        kernel_dims: Dims that index positions of a kernel.
        groups: Independent groups of channels.
        stacked: Maps that share the tensor, such as 3 for query, key and value.
        packed_dim: The dim along which the matrices lie side by side. Default 0.

    Raises:
        LayoutError: The dims do not cover the shape exactly once, a dim is empty, or ``packed_dim`` does not exist
            or cannot be divided.

    Example:
        >>> Layout.linear(64, 32).shape
        (64, 32)
        >>> Layout.conv(64, 32, (3, 3), groups=4).fan_in
        72
        >>> Layout.conv_transpose(64, 32, (3, 3)).fan_in
        576
    """

    kind: Kind
    shape: tuple[int, ...]
    out_dims: tuple[int, ...]
    in_dims: tuple[int, ...] = ()
    kernel_dims: tuple[int, ...] = ()
    groups: int = 1
    stacked: int = 1
    packed_dim: int = 0

    def __post_init__(self) -> None:
        covered = sorted((*self.out_dims, *self.in_dims, *self.kernel_dims))
        if covered != list(range(len(self.shape))):
            raise LayoutError(
                f"Dims {covered} do not cover the {len(self.shape)} dims of shape {self.shape} exactly once.",
                context=[f"out_dims={self.out_dims}, in_dims={self.in_dims}, kernel_dims={self.kernel_dims}"],
                fix="Layout.linear(out=64, in_=32)",
            )
        if min(self.shape, default=1) < 1:
            raise LayoutError(
                f"Shape {self.shape} of a {self.kind} layout has an empty dim; there is nothing to initialize.",
                fix="give every dim at least one unit, such as Layout.linear(out=64, in_=32)",
            )
        if not 0 <= self.packed_dim < max(len(self.shape), 1):
            raise LayoutError(
                f"Dim {self.packed_dim} does not exist: shape {self.shape} has {len(self.shape)} dims.",
                context=[f"kind={self.kind}, packed_dim={self.packed_dim}"],
                fix="count packed_dim from 0",
            )
        if self.groups < 1 or self.stacked < 1 or (self.shape and self.shape[self.packed_dim] % self.num_matrices):
            raise LayoutError(
                f"Dim {self.packed_dim} of shape {self.shape} cannot hold {self.num_matrices} equal matrices.",
                context=[f"kind={self.kind}, groups={self.groups}, stacked={self.stacked}"],
                fix="choose groups and stacked whose product divides that dim",
            )

    @classmethod
    def linear(cls, out: int, in_: int) -> "Layout":
        """``nn.Linear(in_, out).weight``."""
        return cls(kind="linear", shape=(out, in_), out_dims=(0,), in_dims=(1,))

    @classmethod
    def conv(cls, out: int, in_: int, kernel: tuple[int, ...], groups: int = 1) -> "Layout":
        """``nn.Conv1d`` to ``nn.Conv3d`` with ``in_`` input channels in ``groups`` groups."""
        _require_channels(out, in_, groups)
        shape = (out, in_ // groups, *kernel)
        return cls(kind="conv", shape=shape, out_dims=(0,), in_dims=(1,), kernel_dims=_kernel(shape), groups=groups)

    @classmethod
    def conv_transpose(cls, in_: int, out: int, kernel: tuple[int, ...], groups: int = 1) -> "Layout":
        """``nn.ConvTranspose1d`` to ``nn.ConvTranspose3d``, whose weight stores the input channels first."""
        _require_channels(out, in_, groups)
        shape = (in_, out // groups, *kernel)
        return cls(
            kind="conv_transpose", shape=shape, out_dims=(1,), in_dims=(0,), kernel_dims=_kernel(shape), groups=groups
        )

    @classmethod
    def embedding(cls, num: int, dim: int) -> "Layout":
        """``nn.Embedding(num, dim).weight``: one of ``num`` rows is read for each token."""
        return cls(kind="embedding", shape=(num, dim), out_dims=(1,), in_dims=(0,))

    @classmethod
    def packed(cls, out_each: int, in_: int, stacked: int = 3) -> "Layout":
        """``stacked`` linear maps of one input in one tensor, such as packed query, key and value."""
        return cls(kind="packed", shape=(stacked * out_each, in_), out_dims=(0,), in_dims=(1,), stacked=stacked)

    @classmethod
    def recurrent(cls, hidden: int, in_: int, gates: int) -> "Layout":
        """``weight_ih`` or ``weight_hh`` of ``nn.RNN`` (1 gate), ``nn.GRU`` (3) or ``nn.LSTM`` (4)."""
        return cls(kind="recurrent", shape=(gates * hidden, in_), out_dims=(0,), in_dims=(1,), stacked=gates)

    @classmethod
    def bilinear(cls, out: int, in1: int, in2: int) -> "Layout":
        """``nn.Bilinear(in1, in2, out).weight``; an input unit is one product of two inputs."""
        return cls(kind="bilinear", shape=(out, in1, in2), out_dims=(0,), in_dims=(1, 2))

    @classmethod
    def vector(cls, *shape: int) -> "Layout":
        """A bias, the scale or shift of a norm: a tensor that maps nothing and so has no fans."""
        return cls(kind="vector", shape=shape, out_dims=tuple(range(len(shape))))

    @classmethod
    def of(cls, module: "nn.Module", name: str) -> "Layout":
        """The layout of a parameter of a real module.

        Args:
            module: The module that owns the parameter, or any module above it.
            name: The parameter's full name seen from ``module``, such as ``"weight"`` or ``"blocks.0.mlp.weight"``.

        Raises:
            UnknownNameError: ``module`` has no parameter of that name.
            LayoutError: The owner's operation is not known here, or the parameter has no shape yet.

        Example:
            >>> from torch import nn
            >>> Layout.of(nn.Conv2d(8, 16, 3, groups=2), "weight").fan_in
            36
            >>> Layout.of(nn.Sequential(nn.Linear(5, 7)), "0.bias").shape
            (7,)
        """
        from torch.nn.parameter import is_lazy

        owner, parameter = _find(module, name)
        if is_lazy(parameter):
            raise LayoutError(
                f"Parameter '{name}' of {type(owner).__name__} has no shape yet.",
                context=["a lazy module learns its shape from the first input"],
                fix="run the model once on a batch, then ask for the layout",
            )
        return _layout_of(owner, name.rpartition(".")[2], tuple(parameter.shape))

    @property
    def numel(self) -> int:
        """Elements of the tensor."""
        return math.prod(self.shape)

    @property
    def num_matrices(self) -> int:
        """Logical matrices in the tensor."""
        return self.groups * self.stacked

    @property
    def out_units(self) -> int:
        """Output units (channels) of one logical matrix."""
        return self._units(self.out_dims)

    @property
    def in_units(self) -> int:
        """Input units (channels) of one logical matrix; of a bilinear map, products of two inputs."""
        return self._units(self.in_dims)

    @property
    def receptive_field(self) -> int:
        """Positions of the kernel, which count into both fans; 1 without a kernel."""
        return math.prod(self.shape[dim] for dim in self.kernel_dims)

    @property
    def fan_in(self) -> int:
        """Inputs that feed one output unit, away from borders.

        An embedding reads one row for each token, so its fan_in is 1. All kernel positions count, at any stride: all
        of them feed one unit of a convolution; one in ``s`` a dim feeds that of a transposed convolution of stride
        ``s``.

        Raises:
            LayoutError: The tensor is a vector, which no input feeds.
        """
        self.require_matrix("fan_in")
        return 1 if self.kind == "embedding" else self.in_units * self.receptive_field

    @property
    def fan_out(self) -> int:
        """Outputs that one input unit feeds, away from borders.

        All kernel positions count, at any stride: one unit feeds all of them through a transposed convolution; it
        feeds one in ``s`` a dim through a convolution of stride ``s``.

        Raises:
            LayoutError: The tensor is a vector, which feeds no output.
        """
        self.require_matrix("fan_out")
        return self.out_units * self.receptive_field

    @property
    def torch_fan_in(self) -> int:
        """What PyTorch's modules take for fan_in when they initialize themselves: dim 1 by position, and the kernel.

        It differs from ``fan_in`` for transposed convolutions (PyTorch counts the outputs) and bilinear maps (PyTorch
        counts the first input alone).

        Raises:
            LayoutError: The tensor is a vector, which no input feeds.
        """
        self.require_matrix("fan_in")
        return self.shape[1] * self.receptive_field

    @property
    def center(self) -> int:
        """Index of the kernel's center among its flattened positions; ``size // 2`` in each dim."""
        index = 0
        for dim in self.kernel_dims:
            index = index * self.shape[dim] + self.shape[dim] // 2
        return index

    def require_matrix(self, asked: str) -> None:
        """Raise LayoutError where the tensor is a vector: it has no fans and no matrices."""
        if not self.in_dims:
            raise LayoutError(
                f"A vector of shape {self.shape} has no {asked}: no input feeds it.",
                context=["biases, and scales and shifts of norms, are vectors"],
                fix="use a scheme that needs no fan, such as zeros() or normal(std=0.02)",
            )

    def matrices(self, tensor: "Tensor") -> "Tensor":
        """The tensor as its logical matrices, shape ``(num_matrices, out_units, in_units, receptive_field)``.

        Example:
            >>> layout = Layout.conv_transpose(4, 6, (3, 3), groups=2)
            >>> import torch
            >>> layout.matrices(torch.zeros(layout.shape)).shape
            torch.Size([2, 3, 2, 9])
        """
        self.require_matrix("matrices")
        split = tensor.reshape(self._split_shape).movedim(self.packed_dim, 0)
        ordered = split.permute(0, *(dim + 1 for dim in self._ordered_dims))
        return ordered.reshape(self.num_matrices, self.out_units, self.in_units, self.receptive_field)

    def assemble(self, matrices: "Tensor") -> "Tensor":
        """The tensor that holds these logical matrices: the inverse of ``matrices``; contiguous.

        Example:
            >>> layout = Layout.packed(2, 4)
            >>> import torch
            >>> w = torch.arange(24.0).reshape(layout.shape)
            >>> torch.equal(layout.assemble(layout.matrices(w)), w)
            True
        """
        self.require_matrix("matrices")
        if self.num_matrices == 1 and self._ordered_dims == tuple(range(len(self.shape))):
            return matrices.reshape(self.shape).contiguous()
        sizes = [*self._split_shape]
        del sizes[self.packed_dim]
        ordered = matrices.reshape(self.num_matrices, *(sizes[dim] for dim in self._ordered_dims))
        position = {dim: place + 1 for place, dim in enumerate(self._ordered_dims)}
        split = ordered.permute(0, *(position[dim] for dim in range(len(self.shape))))
        return split.movedim(0, self.packed_dim).reshape(self.shape).contiguous()

    @property
    def _split_shape(self) -> tuple[int, ...]:
        """The shape with ``packed_dim`` as two dims: which matrix, and place in it."""
        at, n = self.packed_dim, self.num_matrices
        return (*self.shape[:at], n, self.shape[at] // n, *self.shape[at + 1 :])

    @property
    def _ordered_dims(self) -> tuple[int, ...]:
        return (*self.out_dims, *self.in_dims, *self.kernel_dims)

    def _units(self, dims: tuple[int, ...]) -> int:
        shared = self.num_matrices if self.packed_dim in dims else 1
        return math.prod(self.shape[dim] for dim in dims) // shared


def _kernel(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(range(2, len(shape)))


def _require_channels(out: int, in_: int, groups: int) -> None:
    if groups < 1 or out % groups or in_ % groups:
        raise LayoutError(
            f"{in_} input and {out} output channels cannot be divided into {groups} groups.",
            fix="choose groups that divides both, such as groups=1",
        )


def _find(module: "nn.Module", name: str) -> tuple["nn.Module", "Tensor"]:
    from torch import Tensor

    path, _, leaf = name.rpartition(".")
    try:
        owner = module.get_submodule(path)
    except AttributeError:
        owner = None
    parameter = getattr(owner, leaf, None)
    if owner is None or not isinstance(parameter, Tensor):
        raise UnknownNameError.of("parameter", name, [known for known, _ in module.named_parameters()])
    return owner, parameter


def _layout_of(owner: "nn.Module", leaf: str, shape: tuple[int, ...]) -> Layout:
    from torch import nn

    match owner:
        case _ if len(shape) <= 1:
            return Layout.vector(*shape)
        case nn.Linear() if leaf == "weight":
            return Layout.linear(*shape)
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d() if leaf == "weight":
            in_, out_each, *kernel = shape
            return Layout.conv_transpose(in_, out_each * owner.groups, tuple(kernel), owner.groups)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d() if leaf == "weight":
            out, in_each, *kernel = shape
            return Layout.conv(out, in_each * owner.groups, tuple(kernel), owner.groups)
        case nn.Embedding() | nn.EmbeddingBag() if leaf == "weight":
            return Layout.embedding(*shape)
        case nn.Bilinear() if leaf == "weight":
            return Layout.bilinear(*shape)
        case nn.MultiheadAttention() if leaf == "in_proj_weight":
            return Layout.packed(shape[0] // 3, shape[1])
        case nn.MultiheadAttention() if leaf in ("q_proj_weight", "k_proj_weight", "v_proj_weight"):
            return Layout.packed(*shape, stacked=1)
        case nn.RNNBase() if leaf.startswith("weight_hr"):
            return Layout.linear(*shape)
        case nn.RNNBase() if leaf.startswith("weight_"):
            return Layout.recurrent(owner.hidden_size, shape[1], shape[0] // owner.hidden_size)
        case nn.RNNCellBase() if leaf.startswith("weight_"):
            return Layout.recurrent(owner.hidden_size, shape[1], shape[0] // owner.hidden_size)
        case nn.LayerNorm() | nn.RMSNorm() | nn.MultiheadAttention():
            return Layout.vector(*shape)
        case _:
            raise LayoutError(
                f"The layout of parameter '{leaf}' of {type(owner).__name__} is not known.",
                context=[f"shape {shape}; which dims are out, in and kernel depends on the module's forward"],
                fix="name it, such as Layout.linear(out=64, in_=32)",
            )
