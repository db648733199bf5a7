"""What each operation does to a signal: hands it on, maps it, normalizes it, bends it, adds, multiplies.

The names are those of PyTorch's ``aten`` operators without leading ``aten::`` and trailing underscore.
"""

from exnihilo.structure.graph import Graph, Op, Ref


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Hands on what the first argument holds, in another shape, place, dtype or resolution.
HANDS_ON = _names(
    "view _unsafe_view reshape _reshape_alias t transpose permute expand squeeze unsqueeze select slice split "
    "split_with_sizes unbind chunk narrow as_strided alias detach clone contiguous _to_copy to lift_fresh unfold "
    "movedim diagonal flip roll pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle "
    "native_dropout dropout constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d "
    "pad avg_pool1d avg_pool2d avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d adaptive_avg_pool1d "
    "max_pool2d_with_indices max_pool1d max_pool3d_with_indices max_pool2d mkldnn_max_pool2d upsample_nearest1d "
    "upsample_nearest2d upsample_nearest3d upsample_bilinear2d _upsample_bilinear2d_aa upsample_bicubic2d "
    "_upsample_bicubic2d_aa upsample_linear1d upsample_trilinear3d _upsample_nearest_exact2d index index_select "
    "gather im2col col2im repeat repeat_interleave masked_fill mean sum cumsum neg real view_as_real "
    "view_as_complex _conj resolve_conj _unsafe_index masked_select take_along_dim scatter slice_scatter "
    "select_scatter nan_to_num amax amin max"
)

# Of those: keeps part of the elements, so that it carries no whole residual stream.
PARTS = _names(
    "select slice split split_with_sizes unbind chunk narrow index index_select gather mean sum "
    "_adaptive_avg_pool2d adaptive_avg_pool1d masked_select take_along_dim amax amin max"
)
RESIZES = _names(
    "upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d _upsample_bilinear2d_aa "
    "upsample_bicubic2d _upsample_bicubic2d_aa upsample_linear1d upsample_trilinear3d _upsample_nearest_exact2d "
    "pixel_shuffle"
)

# Maps: place of the data and of the weight among the arguments, and of a bias where there may be one.
MAPS: dict[str, tuple[int, int, int | None]] = {
    "addmm": (1, 2, 0),
    "mm": (0, 1, None),
    "bmm": (0, 1, None),
    "baddbmm": (1, 2, 0),
    "mv": (0, 1, None),
    "addmv": (1, 2, 0),
    "dot": (0, 1, None),
    "linear": (0, 1, 2),
    "matmul": (0, 1, None),
    "convolution": (0, 1, 2),
    "_convolution": (0, 1, 2),
    "mkldnn_convolution": (0, 1, 2),
    "mkldnn_linear": (0, 1, 2),
    "_mkldnn_linear": (0, 1, 2),
    "_grouped_mm": (0, 1, 3),
    "grouped_mm": (0, 1, 3),
    "_trilinear": (0, 1, None),
    "_addmm_activation": (1, 2, 0),
    "mkldnn_rnn_layer": (0, 1, None),
}
LOOKUPS = frozenset({"embedding", "_embedding_bag", "_embedding_bag_forward_only"})

# Norms: place of scale and shift.
NORMS: dict[str, tuple[int, int | None]] = {
    "native_layer_norm": (2, 3),
    "native_group_norm": (1, 2),
    "native_batch_norm": (1, 2),
    "_native_batch_norm_legit": (1, 2),
    "_native_batch_norm_legit_no_training": (1, 2),
    "_native_batch_norm_legit_functional": (1, 2),
    "_batch_norm_with_update": (1, 2),
    "_batch_norm_no_update": (1, 2),
    "cudnn_batch_norm": (1, 2),
    "miopen_batch_norm": (1, 2),
    "batch_norm": (1, 2),
    "_fused_rms_norm": (2, None),
    "rms_norm": (2, None),
    "instance_norm": (1, 2),
}

# Nonlinearities by their aten names, and the names that schemes know them by.
ACTIVATIONS: dict[str, str] = {
    "relu": "relu",
    "gelu": "gelu",
    "silu": "silu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "hardswish": "hardswish",
    "hardsigmoid": "hardsigmoid",
    "hardtanh": "hardtanh",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "celu": "elu",
    "mish": "mish",
    "softplus": "softplus",
    "_prelu_kernel": "leaky_relu",
    "prelu": "leaky_relu",
    "rrelu_with_noise": "leaky_relu",
    "threshold": "relu",
    "clamp_min": "relu",
    "log_sigmoid_forward": "logsigmoid",
    "sin": "sin",
    "cos": "cos",
    "glu": "glu",
    "hardshrink": "hardshrink",
    "softshrink": "softshrink",
    "erf": "erf",
}
# The numbers of SELU, which PyTorch computes as an ELU (Klambauer et al., 2017, section 2).
_SELU = (1.6732632423543772, 1.0507009873554805)
SOFTMAXES = frozenset({"_softmax", "_safe_softmax", "_log_softmax", "softmax", "log_softmax"})
# An activation that gives zero for zero hands on a branch that is zero.
ZERO_AT_ZERO = _names(
    "relu gelu silu tanh hardswish leaky_relu elu celu selu mish relu6 hardtanh sin erf glu relu_squared hardshrink "
    "softshrink"
)
# PyTorch's own slopes: of LeakyReLU, and the one that PReLU starts from.
_LEAKY_SLOPE, _PRELU_SLOPE = 0.01, 0.25
_CHOOSES = frozenset({"index", "index_select", "gather", "embedding"})
_RESHAPES = frozenset({"view", "unsqueeze", "squeeze", "transpose", "t", "permute", "expand", "_to_copy", "clone"})
ATTENTIONS = "_scaled_dot_product"
SUMS = _names("add sub rsub index_add scatter_add index_put scatter_reduce _unsafe_index_put")
PRODUCTS = frozenset({"mul", "div"})
CHOICES = frozenset({"topk", "argmax", "sort", "one_hot", "argsort", "multinomial", "max"})


def activation_of(op: Op) -> str:
    """The activation that an operation computes, with the numbers that are not PyTorch's own."""
    name = ACTIVATIONS[op.name]
    numbers = [float(arg) for arg in op.args[1:] if isinstance(arg, int | float) and not isinstance(arg, bool | Ref)]
    match name:
        case "elu":
            alpha, scale, inner = (*numbers, *(1.0, 1.0, 1.0)[len(numbers) :])[:3]
            if abs(alpha - _SELU[0]) < 1e-4 and abs(scale - _SELU[1]) < 1e-4:
                return "selu"
            if inner != 1.0:
                return f"celu({alpha:g})"
            return "elu" if alpha == scale == 1.0 else f"elu({alpha:g})"
        case "hardtanh":
            low, high = (*numbers, *(-1.0, 1.0)[len(numbers) :])[:2]
            return "relu6" if (low, high) == (0.0, 6.0) else f"hardtanh({low:g}, {high:g})"
        case "leaky_relu" if op.name == "rrelu_with_noise":
            return f"leaky_relu({sum(numbers[:2]) / 2:g})" if len(numbers) > 1 else name
        case "leaky_relu" if op.name in ("_prelu_kernel", "prelu"):
            return f"leaky_relu({_PRELU_SLOPE:g})"
        case "leaky_relu" if numbers and numbers[0] != _LEAKY_SLOPE:
            return f"leaky_relu({numbers[0]:g})"
        case "relu" if op.name in ("threshold", "clamp_min") and any(numbers):
            return op.name
        case _:
            return name


def keeps_zero(op: Op) -> bool:
    """Whether the operation is an activation that gives zero for zero."""
    return op.name in ACTIVATIONS and activation_of(op).partition("(")[0] in ZERO_AT_ZERO


def passes(graph: Graph, op: Op) -> Ref | None:
    """The value that the operation hands on but for place, shape, resolution and a factor; None where it does more."""
    if op.name in HANDS_ON or op.name == "update":
        first = op.arg(0)
        return first if isinstance(first, Ref) and graph.moves(first) else None
    if op.name == "copy":
        source = op.arg(1)
        return source if isinstance(source, Ref) and graph.moves(source) else None
    if op.name in PRODUCTS:
        return _unscaled(graph, op)
    if op.name in ("cat", "stack", "where", "maximum", "minimum"):
        moving = [v for v in op.inputs if graph.moves(v)]
        values = [v for v in moving if graph.values[v].from_parameter] or moving
        if op.name in ("maximum", "minimum") and len(op.inputs) > 1:
            return None
        return Ref(values[0]) if len(set(values)) == 1 else None
    return None


def _unscaled(graph: Graph, op: Op) -> Ref | None:
    """The factor that carries the signal where the other is a number, a mask or noise."""
    first, second = op.arg(0), op.arg(1)
    if not isinstance(second, Ref):
        return first if isinstance(first, Ref) and graph.moves(first) else None
    if not isinstance(first, Ref):
        return second if op.name == "mul" and graph.moves(second) else None
    if graph.is_weight(first) or graph.is_weight(second):
        return None
    candidates = [first] if op.name == "div" else [first, second]
    carrying = [v for v in candidates if graph.moves(v) and graph.values[v].from_parameter]
    other = [v for v in (first, second) if v not in carrying]
    if len(carrying) == 1 and len(other) == 1 and not graph.values[other[0]].from_parameter:
        return carrying[0]
    return None


def source(graph: Graph, value: int) -> int:
    """The value itself, or what it was before operations that only hand it on."""
    while (op := graph.op_of(value)) is not None and (handed := passes(graph, op)) is not None:
        value = handed
    return value


def weight_of(graph: Graph, op: Op) -> tuple[Ref, Ref, Ref | None] | None:
    """Data, weight and bias of a map whose one side is made of parameters; None for everything else."""
    places = MAPS.get(op.name)
    if places is None:
        return None
    data, weight, bias = op.arg(places[0]), op.arg(places[1]), op.arg(places[2]) if places[2] is not None else None
    if not isinstance(data, Ref) or not isinstance(weight, Ref):
        return None
    if not is_weight(graph, weight):
        if op.name not in ("mm", "bmm", "addmm", "baddbmm", "matmul", "dot", "_trilinear") or not is_weight(
            graph, data
        ):
            return None
        data, weight = weight, data
    if not graph.moves(data):
        return None
    found = bias if isinstance(bias, Ref) and is_weight(graph, bias) else None
    return data, weight, found


def chosen(graph: Graph, value: int) -> Ref | None:
    """The weight that a value was chosen from by places that the input decides, as experts are; None for others."""
    op = graph.op_of(value)
    while op is not None and op.name in _RESHAPES and op.inputs:
        op = graph.op_of(op.inputs[0])
    if op is None or op.name not in _CHOOSES or not isinstance(op.arg(0), Ref):
        return None
    return op.args[0] if graph.is_weight(op.args[0]) and graph.moves(op.outputs[0]) else None


def is_weight(graph: Graph, value: int) -> bool:
    """Whether a value is made of parameters alone, or chosen among such."""
    return graph.is_weight(value) or chosen(graph, value) is not None


def is_attention(op: Op) -> bool:
    """A fused attention: query, key and value are its first arguments."""
    return op.name.startswith(ATTENTIONS)
