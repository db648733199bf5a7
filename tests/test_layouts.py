"""Layouts against the real modules: autograd counts who reaches whom, and white noise measures mean-square gains.

Neither oracle knows a fan formula. A Jacobian's largest row or column count is that of a unit away from the borders.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exnihilo.errors import LayoutError, UnknownNameError
from exnihilo.fills import Key, normals
from exnihilo.layouts import Layout


def jacobian(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Rows: output units, columns: input units."""
    result = torch.autograd.functional.jacobian(function, x)
    return result.reshape(-1, x.numel())


def reach(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[int, int]:
    """Inputs that reach one output, and outputs that one input reaches, where most do."""
    connected = jacobian(function, x) != 0
    return int(connected.sum(dim=1).max()), int(connected.sum(dim=0).max())


def noise(name: str, *shape: int) -> Tensor:
    return normals([Key(0, name)], torch.Size(shape).numel()).reshape(shape)


def filled(module: nn.Module, std: float = 1.0, seed: int = 0) -> nn.Module:
    """The module with every parameter drawn from N(0, std²): no accidental zeros."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            drawn = normals([Key(seed, name)], parameter.numel()).reshape(parameter.shape)
            parameter.copy_(std * drawn)
    return module


# name: module, an input large enough to have interior units
MAPS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(5, 7), (5,)),
    "conv1d": (lambda: nn.Conv1d(3, 5, 4), (3, 12)),
    "conv2d": (lambda: nn.Conv2d(3, 4, (3, 2), padding=1), (3, 7, 6)),
    "conv3d": (lambda: nn.Conv3d(2, 3, (1, 2, 3)), (2, 3, 4, 7)),
    "conv2d_dilated": (lambda: nn.Conv2d(2, 3, 3, dilation=2), (2, 9, 9)),
    "conv2d_grouped": (lambda: nn.Conv2d(6, 9, 3, groups=3), (6, 6, 6)),
    "conv2d_depthwise": (lambda: nn.Conv2d(4, 8, 3, groups=4), (4, 6, 6)),
    "conv2d_circular": (lambda: nn.Conv2d(2, 3, 3, padding=1, padding_mode="circular"), (2, 5, 5)),
    "conv_transpose1d": (lambda: nn.ConvTranspose1d(3, 5, 4), (3, 9)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(5, 2, 3, padding=1), (5, 6, 6)),
    "conv_transpose2d_grouped": (lambda: nn.ConvTranspose2d(6, 4, (2, 3), groups=2), (6, 5, 6)),
    "conv_transpose3d": (lambda: nn.ConvTranspose3d(2, 3, 2), (2, 4, 4, 4)),
}


@pytest.mark.parametrize("case", MAPS)
def test_fans_equal_the_units_that_autograd_counts(case: str) -> None:
    build, shape = MAPS[case]
    module = filled(build())
    layout = Layout.of(module, "weight")
    assert reach(lambda x: module(x[None])[0], noise("x", *shape)) == (layout.fan_in, layout.fan_out)


@pytest.mark.parametrize("case", MAPS)
def test_mean_square_gains_of_the_real_forward_follow_the_fans(case: str) -> None:
    """Weights of variance 1/fan keep the mean square of white noise: forward with fan_in, backward with fan_out.

    Over the interior, and over 2^14 weights or more, whose mean square is within 6 % at 5 sigma.
    """
    build, shape = MAPS[case]
    module = build()
    layout = Layout.of(module, "weight")
    connected = jacobian(lambda x: filled(module)(x[None])[0], torch.zeros(shape)) != 0
    inner_out, inner_in = (connected.sum(dim=dim) == connected.sum(dim=dim).max() for dim in (1, 0))
    forward, backward = [], []
    for seed in range(max(24, 2**14 // layout.numel)):
        filled(module, seed=seed)
        module.bias.data.zero_()
        x = normals([Key(seed, "x")], 64 * inner_in.numel()).reshape(64, *shape).requires_grad_()
        y = module(x)
        signal = normals([Key(seed, "y")], y.numel()).reshape(y.shape)
        (gradient,) = torch.autograd.grad(y, x, signal)
        forward.append(y.detach().square().flatten(1)[:, inner_out].mean())
        backward.append(gradient.square().flatten(1)[:, inner_in].mean())
    assert torch.stack(forward).mean().item() / layout.fan_in == pytest.approx(1.0, rel=0.06)
    assert torch.stack(backward).mean().item() / layout.fan_out == pytest.approx(1.0, rel=0.06)


@pytest.mark.parametrize("transposed", [False, True])
def test_a_stride_thins_out_one_direction_only(transposed: bool) -> None:
    """What the docstrings of fan_in and fan_out say of strides, counted."""
    kind = nn.ConvTranspose2d if transposed else nn.Conv2d
    module = filled(kind(3, 5, 4, stride=2, padding=1))
    layout = Layout.of(module, "weight")
    inputs, outputs = reach(lambda x: module(x[None])[0], noise("x", 3, 12, 12))
    if transposed:
        assert (inputs * 2**2, outputs) == (layout.fan_in, layout.fan_out)
    else:
        assert (inputs, outputs * 2**2) == (layout.fan_in, layout.fan_out)


def test_an_embedding_hands_on_one_row_unscaled_and_feeds_its_dim() -> None:
    module = filled(nn.Embedding(50, 400), std=1.0)
    layout = Layout.of(module, "weight")
    tokens = torch.arange(50)
    assert module(tokens).square().mean().item() / layout.fan_in == pytest.approx(1.0, rel=0.05)
    used = torch.autograd.functional.jacobian(
        lambda w: nn.functional.embedding(torch.tensor([3]), w)[0], module.weight.detach()
    )
    assert int((used != 0).sum(dim=(1, 2)).max()) == layout.fan_in
    assert int((used[:, 3] != 0).any(dim=1).sum()) == layout.fan_out
    assert Layout.of(nn.EmbeddingBag(50, 400), "weight") == layout


@pytest.mark.parametrize("which", range(3), ids=["query", "key", "value"])
def test_packed_fans_are_those_of_one_map_of_the_attention(which: int) -> None:
    """With one unit a head, head h sees unit h of the query, key and value maps alone."""
    width = 6
    # Small weights: no softmax or gate is saturated, where float32 would lose a dependence.
    module = filled(nn.MultiheadAttention(width, width, bias=False), std=0.3)
    with torch.no_grad():
        module.out_proj.weight.copy_(torch.eye(width))
    layout = Layout.of(module, "in_proj_weight")
    assert (layout.stacked, layout.out_units, layout.in_units) == (3, width, width)
    context = noise("context", 2, 1, width)

    def response(x: Tensor) -> Tensor:
        parts = [context[:1], context, context]
        parts[which] = torch.cat([x[None, None], context[1:]]) if which else x[None, None]
        mixed, weights = module(*parts, average_attn_weights=False)
        return mixed.flatten() if which == 2 else weights[0, :, 0, 0]

    assert reach(response, noise("x", width)) == (layout.fan_in, layout.fan_out)


def test_separate_attention_weights_are_single_maps() -> None:
    module = nn.MultiheadAttention(8, 2, kdim=5, vdim=6)
    assert Layout.of(module, "k_proj_weight").shape == (8, 5)
    assert Layout.of(module, "v_proj_weight").fan_in == 6
    assert Layout.of(module, "out_proj.weight") == Layout.linear(8, 8)
    assert Layout.of(nn.MultiheadAttention(8, 2, add_bias_kv=True), "bias_k") == Layout.vector(1, 1, 8)


RECURRENT = {"rnn": (nn.RNN, 1), "gru": (nn.GRU, 3), "lstm": (nn.LSTM, 4)}


@pytest.mark.parametrize("name", ["weight_ih_l0", "weight_hh_l0"])
@pytest.mark.parametrize("case", RECURRENT)
def test_recurrent_fans_are_those_of_one_gate(case: str, name: str) -> None:
    """Only one gate reads its input; the others' rows are zero and their biases are not."""
    kind, gates = RECURRENT[case]
    layout = Layout.of(kind(5, 7), name)
    assert layout.stacked == gates
    for gate in range(gates):
        module = filled(kind(5, 7), std=0.3)
        with torch.no_grad():
            blocks = getattr(module, name).chunk(gates)
            for other in range(gates):
                if other != gate:
                    blocks[other].zero_()
        hidden, cell = noise("h", 1, 7), noise("c", 1, 7)

        def step(x: Tensor, module: nn.Module = module, hidden: Tensor = hidden, cell: Tensor = cell) -> Tensor:
            signal, state = (x[None], hidden) if name.startswith("weight_ih") else (noise("x", 1, 5), x[None])
            return module(signal, (state, cell) if isinstance(module, nn.LSTM) else state)[0][0]

        width = 5 if name.startswith("weight_ih") else 7
        assert reach(step, noise("in", width)) == (layout.fan_in, layout.fan_out)


def test_recurrent_cells_and_projections_have_layouts() -> None:
    assert Layout.of(nn.LSTMCell(5, 7), "weight_ih") == Layout.recurrent(7, 5, 4)
    assert Layout.of(nn.GRUCell(5, 7), "weight_hh") == Layout.recurrent(7, 7, 3)
    projected = nn.LSTM(5, 7, proj_size=3, num_layers=2, bidirectional=True)
    assert Layout.of(projected, "weight_hh_l0") == Layout.recurrent(7, 3, 4)
    assert Layout.of(projected, "weight_hr_l0") == Layout.linear(3, 7)
    assert Layout.of(projected, "weight_ih_l1_reverse") == Layout.recurrent(7, 6, 4)
    assert Layout.of(projected, "bias_ih_l0") == Layout.vector(28)


def test_a_bilinear_output_sums_one_term_for_each_pair_of_inputs() -> None:
    layout = Layout.of(nn.Bilinear(5, 6, 4), "weight")
    squares = []
    for seed in range(400):
        module = filled(nn.Bilinear(5, 6, 4, bias=False), seed=seed)
        left, right = normals([Key(seed, "left")], 64 * 5), normals([Key(seed, "right")], 64 * 6)
        squares.append(module(left.reshape(64, 5), right.reshape(64, 6)).square().mean())
    assert torch.stack(squares).mean().item() / layout.fan_in == pytest.approx(1.0, rel=0.1)
    assert layout.fan_out == 4


def one_position(case: str) -> tuple[nn.Module, tuple[int, ...]]:
    """Modules whose input or output has a single position, so that the Jacobian is the matrix itself."""
    if case == "conv":
        return nn.Conv2d(6, 4, (2, 3), groups=2, bias=False), (6, 2, 3)
    return nn.ConvTranspose2d(6, 4, (2, 3), groups=2, bias=False), (6, 1, 1)


@pytest.mark.parametrize("case", ["conv", "conv_transpose"])
def test_logical_matrices_are_what_the_forward_multiplies_with(case: str) -> None:
    module, shape = one_position(case)
    filled(module)
    layout = Layout.of(module, "weight")
    matrices = layout.matrices(module.weight.detach())
    rows = jacobian(lambda x: module(x[None])[0], torch.zeros(shape))
    for group in range(2):
        if case == "conv":
            block = rows.reshape(2, 2, 2, 3, 6)[group, :, group]  # out units, in units, positions
        else:
            block = rows.reshape(2, 2, 6, 2, 3)[group, :, :, group].transpose(1, 2)
        assert torch.equal(block, matrices[group])


ALL = {
    "linear": Layout.linear(7, 5),
    "conv": Layout.conv(6, 9, (2, 3), groups=3),
    "conv_transpose": Layout.conv_transpose(6, 9, (2, 3), groups=3),
    "embedding": Layout.embedding(11, 4),
    "packed": Layout.packed(4, 5),
    "recurrent": Layout.recurrent(4, 5, 4),
    "bilinear": Layout.bilinear(3, 4, 5),
}


@pytest.mark.parametrize("case", ALL)
def test_assembling_the_matrices_gives_the_tensor_back(case: str) -> None:
    layout = ALL[case]
    tensor = torch.arange(float(layout.numel)).reshape(layout.shape)
    matrices = layout.matrices(tensor)
    assert matrices.shape == (layout.num_matrices, layout.out_units, layout.in_units, layout.receptive_field)
    assert torch.equal(layout.assemble(matrices), tensor)
    assert layout.assemble(matrices).is_contiguous()


@pytest.mark.parametrize(
    ("kernel", "position"), [((3,), (1,)), ((4,), (2,)), ((3, 5), (1, 2)), ((3, 4, 2), (1, 2, 1)), ((), ())]
)
def test_the_center_of_a_kernel_is_half_its_size_in_each_dim(
    kernel: tuple[int, ...], position: tuple[int, ...]
) -> None:
    layout = Layout.conv(2, 2, kernel)
    assert torch.arange(layout.receptive_field).reshape(kernel)[position].item() == layout.center


def test_layout_of_finds_parameters_by_their_full_names() -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Sequential(nn.Linear(8, 2)))
    assert Layout.of(model, "0.weight") == Layout.conv(8, 3, (3, 3))
    assert Layout.of(model, "1.weight") == Layout.vector(8)
    assert Layout.of(model, "2.0.weight") == Layout.linear(2, 8)
    assert Layout.of(model, "2.0.bias") == Layout.vector(2)
    assert Layout.of(nn.LayerNorm((3, 4)), "weight") == Layout.vector(3, 4)
    assert Layout.of(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)), "weight") == Layout.linear(3, 4)


def test_layout_of_needs_no_values() -> None:
    assert Layout.of(nn.Linear(4, 3, device="meta"), "weight") == Layout.linear(3, 4)


@pytest.mark.parametrize("asked", ["fan_in", "fan_out", "torch_fan_in"])
def test_a_vector_has_no_fan(asked: str) -> None:
    with pytest.raises(LayoutError) as caught:
        getattr(Layout.vector(64), asked)
    assert str(caught.value).splitlines() == [
        f"A vector of shape (64,) has no {asked.removeprefix('torch_')}: no input feeds it.",
        "  biases, and scales and shifts of norms, are vectors",
        "  Fix: use a scheme that needs no fan, such as zeros() or normal(std=0.02)",
        "  [layout]  docs/errors.md#layout",
    ]


def test_an_unknown_parameter_gets_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError) as caught:
        Layout.of(nn.Sequential(nn.Linear(4, 3)), "0.wieght")
    assert str(caught.value).splitlines()[:2] == [
        "Unknown parameter '0.wieght'. Did you mean '0.weight'?",
        "  Known parameters: 0.bias, 0.weight",
    ]


@pytest.mark.parametrize("name", ["training", "forward", "7.weight", "", "weight."])
def test_what_is_no_parameter_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError):
        Layout.of(nn.Linear(4, 3), name)


def test_an_unknown_operation_is_refused_with_a_way_out() -> None:
    class Mixer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Parameter(torch.zeros(3, 4))

    with pytest.raises(LayoutError) as caught:
        Layout.of(Mixer(), "mix")
    assert str(caught.value).splitlines() == [
        "The layout of parameter 'mix' of Mixer is not known.",
        "  shape (3, 4); which dims are out, in and kernel depends on the module's forward",
        "  Fix: name it, such as Layout.linear(out=64, in_=32)",
        "  [layout]  docs/errors.md#layout",
    ]


def test_a_lazy_parameter_is_refused_until_it_has_a_shape() -> None:
    with pytest.raises(LayoutError, match="'weight' of LazyLinear has no shape yet"):
        Layout.of(nn.LazyLinear(3), "weight")


@pytest.mark.parametrize(
    ("build", "fact"),
    [
        (
            lambda: Layout.linear(0, 3),
            "Shape (0, 3) of a linear layout has an empty dim; there is nothing to initialize.",
        ),
        (
            lambda: Layout.vector(3, 0),
            "Shape (3, 0) of a vector layout has an empty dim; there is nothing to initialize.",
        ),
        (lambda: Layout.conv(5, 4, (3,), groups=2), "4 input and 5 output channels cannot be divided into 2 groups."),
        (
            lambda: Layout.conv_transpose(4, 4, (3,), groups=0),
            "4 input and 4 output channels cannot be divided into 0 groups.",
        ),
        (
            lambda: Layout(kind="packed", shape=(7, 2), out_dims=(0,), in_dims=(1,), stacked=3),
            "Dim 0 of shape (7, 2) cannot hold 3 equal matrices.",
        ),
        (
            lambda: Layout(kind="linear", shape=(7, 2), out_dims=(0,), in_dims=(0,)),
            "Dims [0, 0] do not cover the 2 dims of shape (7, 2) exactly once.",
        ),
    ],
)
def test_impossible_layouts_are_refused_when_they_are_built(build: Callable[[], Layout], fact: str) -> None:
    with pytest.raises(LayoutError) as caught:
        build()
    assert str(caught.value).splitlines()[0] == fact
    assert "\n  Fix: " in str(caught.value)


def test_a_scalar_such_as_a_gate_is_a_vector_of_one_element():
    assert Layout.vector().numel == 1
    assert Layout.of(ScalarGate(), "gate") == Layout.vector()


class ScalarGate(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = torch.nn.Parameter(torch.zeros(()))


def test_matrices_side_by_side_along_the_second_dim_are_told_apart():
    # GPT-2 stores (in, out) and packs query, key and value along out.
    layout = Layout(kind="packed", shape=(2, 6), out_dims=(1,), in_dims=(0,), stacked=3, packed_dim=1)
    tensor = torch.arange(12.0).reshape(2, 6)
    matrices = layout.matrices(tensor)
    assert (layout.fan_in, layout.fan_out) == (2, 2)
    assert torch.equal(matrices[1, :, :, 0], tensor[:, 2:4].T)
    assert torch.equal(layout.assemble(matrices), tensor)


def test_experts_stacked_in_the_first_dim_are_told_apart():
    layout = Layout(kind="packed", shape=(5, 3, 4), out_dims=(0, 2), in_dims=(1,), stacked=5)
    tensor = torch.arange(60.0).reshape(5, 3, 4)
    matrices = layout.matrices(tensor)
    assert (layout.fan_in, layout.fan_out) == (3, 4)
    assert torch.equal(matrices[2, :, :, 0], tensor[2].T)
    assert torch.equal(layout.assemble(matrices), tensor)
