"""Runs a model in a finer dtype than it asks for, notes what it does with its parameters, and silences its dropout.

Models cast to float32 and float16 by themselves (GPT-2 and Llama compute their loss in float32 even after
``.double()``), and some kernels refuse float64. Below autograd every operation passes here, so a cast is carried out to
the finer dtype instead.
"""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from exnihilo.probes.records import Use

aten = torch.ops.aten
_LOW = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Operations that make a tensor from none, or take in one that was made outside.
_MAKES: frozenset[Any] = frozenset(
    getattr(aten, name).default
    for name in ("rand", "randn", "ones", "zeros", "full", "arange", "eye", "linspace", "scalar_tensor", "lift_fresh")
) | {aten.empty.memory_format, aten.arange.start, aten.arange.start_step, aten.logspace.default}
# Where a weight is a matrix: which argument it may be, and which dim of it tells the output units apart.
MATRICES: dict[Any, tuple[tuple[int, int], ...]] = {
    aten.mm.default: ((1, -1), (0, 0)),
    aten.addmm.default: ((2, -1), (1, 0)),
    aten.bmm.default: ((1, -1), (0, 1)),
    aten.baddbmm.default: ((2, -1), (1, 1)),
    aten.mv.default: ((0, 0),),
    aten.addmv.default: ((1, 0),),
}
_GROUPED: Any = getattr(aten, "_grouped_mm", None)
_LOOKUPS: frozenset[Any] = frozenset(
    {aten.embedding.default, aten._embedding_bag.default, aten.index_select.default, aten.index.Tensor}
)
# What a parameter is at a place among an operation's arguments.
_PLACES: dict[tuple[Any, int], Use] = {
    (aten.addmm.default, 0): "shift",
    (aten.baddbmm.default, 0): "shift",
    (aten.convolution.default, 2): "shift",
    (aten.add.Tensor, 0): "shift",
    (aten.add.Tensor, 1): "shift",
    (aten.add_.Tensor, 1): "shift",
    (aten.mul.Tensor, 0): "scale",
    (aten.mul.Tensor, 1): "scale",
    (aten.mul_.Tensor, 1): "scale",
    (aten.native_layer_norm.default, 2): "scale",
    (aten.native_layer_norm.default, 3): "shift",
    (aten.native_batch_norm.default, 1): "scale",
    (aten.native_batch_norm.default, 2): "shift",
    (aten.cudnn_batch_norm.default, 1): "scale",
    (aten.cudnn_batch_norm.default, 2): "shift",
    (aten._native_batch_norm_legit.default, 1): "scale",
    (aten._native_batch_norm_legit.default, 2): "shift",
    (aten.native_group_norm.default, 1): "scale",
    (aten.native_group_norm.default, 2): "shift",
    (aten._fused_rms_norm.default, 2): "scale",
}


class Promoting(TorchDispatchMode):
    """Carries out every floating-point operation in one dtype, and notes how each parameter is used.

    Args:
        to: The dtype to compute in.
        parameters: By name; which operations read them is noted.
    """

    def __init__(self, to: torch.dtype, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self._to = to
        self._low = frozenset(_LOW[: _LOW.index(to)])
        self.num_promoted = 0
        self.used: dict[str, int] = {}  # parameters that some operation read, by the place of the first to do so
        self.unit_dims: dict[str, tuple[int, ...]] = {}  # of maps: the dims that tell output units apart
        self.uses: dict[str, Use] = {}  # what each parameter is to the operation that reads it first
        self.follow(parameters)

    def follow(self, parameters: dict[str, Tensor]) -> None:
        """Note the uses of these tensors from here on."""
        self._names = {address_of(tensor): name for name, tensor in parameters.items()}
        self._parameters = parameters
        self._casts: dict[int, tuple[str, Tensor]] = {}  # copies of parameters in a dtype that the model asked for

    def let_go(self) -> None:
        """Forget the copies of parameters that a pass made. Until then they are held, so that no address means two."""
        self._casts.clear()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled where this runs, and a guard at every operation would cost as much as it

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the operation in the finer dtype."""
        kwargs = dict(kwargs or {})
        given = args
        if self._low:
            if kwargs.get("dtype") in self._low:
                kwargs["dtype"] = self._to
                self.num_promoted += 1
            args = self._alike(func, args)
        if _GROUPED is not None and func is _GROUPED.default:
            self.num_promoted += 1
            out = grouped_product(*args[:3])
        else:
            out = func(*args, **kwargs)
        # A view or a cast computes nothing, and neither does an expert that is given no samples.
        if func is aten._to_copy.default:
            self._follow_cast(given[0], out)
        elif not func.is_view and not (isinstance(out, Tensor) and out.numel() == 0):
            self._note(func, given)
        if func in _MAKES and isinstance(out, Tensor) and out.dtype in self._low:
            self.num_promoted += 1
            return out.to(self._to)
        return out

    def _alike(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Tensors of a lower dtype, made outside, cast where they meet one of the finer dtype."""
        dtypes = {arg.dtype for arg in args if isinstance(arg, Tensor)}
        if self._to not in dtypes or not dtypes & self._low:
            return args
        self.num_promoted += 1
        # What is written in place stays the tensor that it is, and takes what it is given in its own dtype.
        first = 1 if func._schema.is_mutable and isinstance(args[0], Tensor) else 0
        to = args[0].dtype if first else self._to
        both = self._low | {self._to}
        return (*args[:first], *(a.to(to) if isinstance(a, Tensor) and a.dtype in both else a for a in args[first:]))

    def _note(self, func: Any, args: tuple[Any, ...]) -> None:
        for place, arg in enumerate(args):
            for tensor in arg if isinstance(arg, list | tuple) else (arg,):
                name = self.name_of(tensor)
                if name is not None:
                    self.used.setdefault(name, len(self.used))
                    self._note_use(func, place, tensor, name, transposed=len(args) > 6 and args[6] is True)

    def name_of(self, value: Any) -> str | None:
        """The parameter that a tensor is, or is a view of."""
        if not isinstance(value, Tensor) or value.layout is not torch.strided:
            return None
        address = address_of(value)
        return self._names.get(address) or self._casts.get(address, (None,))[0]

    def _follow_cast(self, of: Tensor, cast: Tensor) -> None:
        name = self.name_of(of)
        if name is not None and address_of(cast):
            self._casts[address_of(cast)] = name, cast

    def num_units(self, name: str) -> int:
        """How many units a parameter has."""
        parameter = self._parameters[name]
        return math.prod(parameter.shape[dim] for dim in self.unit_dims.get(name, (0,)))

    def _note_use(self, func: Any, place: int, tensor: Tensor, name: str, *, transposed: bool) -> None:
        if func in _LOOKUPS and place == 0:
            self.uses[name] = "table"
            self.unit_dims[name] = (0,)
        elif func is aten.convolution.default and place == 1:
            self.uses[name] = "map"
            self.unit_dims[name] = (1,) if transposed else (0,)
        elif (func, place) in _PLACES:
            self.uses.setdefault(name, _PLACES[func, place])
        elif func in MATRICES:
            for dim in (dim for at, dim in MATRICES[func] if at == place):
                self._note_matrix(name, _dim_of_stride(self._parameters[name], tensor.stride(dim)))

    def _note_matrix(self, name: str, dim: int | None) -> None:
        self.uses[name] = "map"
        if dim is not None and name not in self.unit_dims:
            is_stacked = self._parameters[name].dim() == 3 and dim != 0
            self.unit_dims[name] = (0, dim) if is_stacked else (dim,)


def address_of(tensor: Tensor) -> int:
    """Where a tensor's values lie; 0 where it has no memory of its own, as under ``torch.func.vmap``."""
    try:
        return tensor.untyped_storage().data_ptr()
    except (RuntimeError, NotImplementedError):
        return 0


def _dim_of_stride(parameter: Tensor, stride: int) -> int | None:
    """The dim of a parameter that a dim of a view of it runs along."""
    for dim in reversed(range(parameter.dim())):
        if parameter.stride(dim) == stride and parameter.shape[dim] > 1:
            return dim
    return None


def grouped_product(left: Tensor, right: Tensor, ends: Tensor | None = None) -> Tensor:
    """What ``torch._grouped_mm`` computes, in any dtype: one product for each group of rows, columns or inner units.

    Args:
        left: ``[rows, inner]``, or ``[groups, rows, inner]``.
        right: ``[groups, inner, columns]``, or ``[inner, columns]``.
        ends: Where each group ends along the dim that both or one of them share; None where both have groups.
    """
    if ends is None:
        return left @ right
    spans = list(pairwise([0, *ends.tolist()]))
    if left.dim() == 2 and right.dim() == 3:
        out = left.new_zeros(left.shape[0], right.shape[-1])
        for group, (first, end) in enumerate(spans):
            out[first:end] = left[first:end] @ right[group]
        return out
    if left.dim() == 3:
        out = left.new_zeros(left.shape[1], right.shape[-1])
        for group, (first, end) in enumerate(spans):
            out[:, first:end] = left[group] @ right[:, first:end]
        return out
    return torch.stack([left[:, first:end] @ right[first:end] for first, end in spans])


_DROPS: frozenset[Any] = frozenset(
    {
        torch.dropout,
        torch.dropout_,
        torch.feature_dropout,
        torch.feature_dropout_,
        torch.alpha_dropout,
        torch.alpha_dropout_,
        torch.feature_alpha_dropout,
        torch.nn.functional.dropout,
        torch.nn.functional.dropout1d,
        torch.nn.functional.dropout2d,
        torch.nn.functional.dropout3d,
        torch.nn.functional.alpha_dropout,
        torch.nn.functional.feature_alpha_dropout,
    }
)
# Recurrent layers take their dropout before the flag that says whether they train: data, [batch sizes,] state, weights.
_RECURRENT: frozenset[Any] = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})


class WithoutDropout(TorchFunctionMode):
    """Lets every unit and every layer through that dropout or drop path would leave out; counts what it silenced."""

    def __init__(self) -> None:
        super().__init__()
        self.silenced = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        """Call the function without its dropout."""
        kwargs = dict(kwargs or {})
        if func in _DROPS:
            self.silenced += bool(_rate(args, kwargs))
            return args[0] if args else kwargs["input"]
        if func is Tensor.bernoulli_ and len(args) > 1 and isinstance(args[1], float):
            self.silenced += 1
            return args[0].fill_(1.0)
        if kwargs.get("dropout_p"):
            self.silenced += 1
            kwargs["dropout_p"] = 0.0
        if func in _RECURRENT:
            place = 6 if isinstance(args[3], list | tuple) else 5
            self.silenced += bool(args[place] and args[place + 1])
            args = (*args[:place], 0.0, *args[place + 1 :])
        return func(*args, **kwargs)


def _rate(args: tuple[Any, ...], kwargs: dict[str, Any]) -> float:
    rate = args[1] if len(args) > 1 else kwargs.get("p", 0.5)
    trains = args[2] if len(args) > 2 else kwargs.get("training", kwargs.get("train", True))
    return float(rate) if trains else 0.0
