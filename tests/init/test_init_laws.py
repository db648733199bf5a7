"""What is written: the laws of torch.nn.init by scipy's distributions, and the schemes of this package bit for bit."""

import math
from collections.abc import Callable

import pytest
import torch
from scipy import stats
from torch import Tensor, nn

import exnihilo as xn
from exnihilo import schemes
from exnihilo.fills import Key
from exnihilo.init.laws import normal_law
from exnihilo.layouts import Layout

init = xn.init
KEY = Key(3, "w")
SIGNIFICANT = 1e-4

N = 20_000
_A, _B = -0.3, 0.7
# Law, and the distribution of scipy.
ELEMENTS: dict[str, tuple[Callable[[Tensor], Tensor], str, tuple[float, ...]]] = {
    "uniform": (lambda w: init.uniform_(w, -0.5, 1.5, key=KEY), "uniform", (-0.5, 2.0)),
    "normal": (lambda w: init.normal_(w, 0.5, 0.2, key=KEY), "norm", (0.5, 0.2)),
    "truncated": (
        lambda w: init.trunc_normal_(w, 0.1, 0.5, _A, _B, key=KEY),
        "truncnorm",
        ((_A - 0.1) / 0.5, (_B - 0.1) / 0.5, 0.1, 0.5),
    ),
    "tail": (lambda w: init.trunc_normal_(w, 0.0, 0.1, 0.4, 0.9, key=KEY), "truncnorm", (4.0, 9.0, 0.0, 0.1)),
    "one-sided": (
        lambda w: init.trunc_normal_(w, 0.0, 1.0, -math.inf, 0.5, key=KEY),
        "truncnorm",
        (-math.inf, 0.5, 0.0, 1.0),
    ),
    "by sigma": (
        lambda w: init.truncated_normal_(w, 0.0, 1.0, key=KEY),
        "truncnorm",
        (-2.0, 2.0, 0.0, 1 / stats.truncnorm(-2, 2).std()),
    ),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("case", ELEMENTS)
def test_entries_have_the_distribution_that_scipy_has_for_the_same_numbers(case: str, dtype: torch.dtype) -> None:
    draw, name, arguments = ELEMENTS[case]
    drawn = draw(torch.empty(N, dtype=dtype)).double().numpy()
    assert stats.kstest(drawn, name, args=arguments).pvalue > SIGNIFICANT


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_entries_are_dealt_out_to_both_parts_as_torch_deals_them(dtype: torch.dtype) -> None:
    normal = init.normal_(torch.empty(N, dtype=dtype), 0.5, 2.0, key=KEY)
    assert stats.kstest(normal.real.double().numpy(), "norm", args=(0.5, math.sqrt(2))).pvalue > SIGNIFICANT
    assert stats.kstest(normal.imag.double().numpy(), "norm", args=(0.0, math.sqrt(2))).pvalue > SIGNIFICANT
    uniform = init.uniform_(torch.empty(N, dtype=dtype), 1.0, 3.0, key=KEY)
    theirs = nn.init.uniform_(torch.empty(N, dtype=dtype), 1.0, 3.0, generator=torch.Generator().manual_seed(0))
    for ours, other in zip((uniform.real, uniform.imag), (theirs.real, theirs.imag), strict=True):
        assert stats.kstest(ours.double().numpy(), "uniform", args=(1.0, 2.0)).pvalue > SIGNIFICANT
        assert stats.kstest(other.double().numpy(), "uniform", args=(1.0, 2.0)).pvalue > SIGNIFICANT
    assert not init.xavier_normal_(torch.ones(3, 4, dtype=dtype), 0.0, key=KEY).any()


# torch's own function of the same arguments delivers the std, the extreme or both.
FANS: dict[str, dict[str, object]] = {
    "xavier_uniform_": {"gain": 2.0},
    "xavier_normal_": {"gain": 2.0},
    "kaiming_uniform_": {"a": 0.3, "mode": "fan_out"},
    "kaiming_normal_": {"nonlinearity": "tanh"},
    "orthogonal_": {"gain": 1.5},
}


@pytest.mark.parametrize("shape", [(400, 700), (64, 128, 3, 5)])
@pytest.mark.parametrize("name", FANS)
def test_the_size_of_entries_is_that_of_torchs_own_call(name: str, shape: tuple[int, ...]) -> None:
    ours = getattr(init, name)(torch.empty(shape), **FANS[name], key=KEY).double()
    generator = torch.Generator().manual_seed(0)
    theirs = getattr(nn.init, name)(torch.empty(shape), **FANS[name], generator=generator).double()
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.01)
    if "uniform" in name:
        assert ours.abs().max().item() == pytest.approx(theirs.abs().max().item(), rel=1e-3)


LINEAR, CONV = Layout.linear(24, 16), Layout.conv(24, 16, (3, 3))
SAME: dict[str, tuple[schemes.Scheme, Layout, Callable[[Tensor], Tensor]]] = {
    "normal": (schemes.Normal(std=0.5, mean=1.0), LINEAR, lambda w: init.normal_(w, 1.0, 0.5, key=KEY)),
    "uniform": (schemes.Uniform(bound=0.5), LINEAR, lambda w: init.uniform_(w, -0.5, 0.5, key=KEY)),
    "truncated": (schemes.TruncatedNormal(std=0.5), LINEAR, lambda w: init.truncated_normal_(w, std=0.5, key=KEY)),
    "rademacher": (schemes.Rademacher(std=0.5), LINEAR, lambda w: init.rademacher_(w, 0.5, key=KEY)),
    "xavier_normal": (schemes.xavier_normal(2.0), CONV, lambda w: init.xavier_normal_(w, 2.0, key=KEY)),
    "xavier_uniform": (schemes.xavier_uniform(2.0), CONV, lambda w: init.xavier_uniform_(w, 2.0, key=KEY)),
    "he_normal": (schemes.he_normal(), CONV, lambda w: init.kaiming_normal_(w, nonlinearity="relu", key=KEY)),
    "he_uniform": (
        schemes.he_uniform(mode="fan_out"),
        CONV,
        lambda w: init.kaiming_uniform_(w, mode="fan_out", nonlinearity="relu", key=KEY),
    ),
    "lecun_normal": (schemes.lecun_normal(), CONV, lambda w: init.lecun_normal_(w, key=KEY)),
    "lecun_uniform": (schemes.lecun_uniform(), CONV, lambda w: init.lecun_uniform_(w, key=KEY)),
    "variance_scaling": (
        schemes.VarianceScaling(scale=3.0, mode="fan_avg", distribution="truncated_normal"),
        CONV,
        lambda w: init.variance_scaling_(w, 3.0, "fan_avg", "truncated_normal", key=KEY),
    ),
    "orthogonal": (schemes.Orthogonal(), CONV, lambda w: init.orthogonal_(w, key=KEY)),
    "delta_orthogonal": (schemes.DeltaOrthogonal(), CONV, lambda w: init.delta_orthogonal_(w, key=KEY)),
    "identity": (schemes.Identity(gain=0.5), CONV, lambda w: init.identity_(w, 0.5)),
    "repeated_identity": (schemes.RepeatedIdentity(), LINEAR, init.repeated_identity_),
    "hadamard": (schemes.Hadamard(scale="notebook"), LINEAR, lambda w: init.hadamard_(w, "notebook")),
}


@pytest.mark.parametrize("case", SAME)
def test_a_function_writes_what_the_scheme_samples_under_the_same_key(case: str) -> None:
    scheme, layout, draw = SAME[case]
    assert torch.equal(draw(torch.empty(layout.shape)), scheme.sample(layout, KEY))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int32, torch.complex64])
def test_patterns_equal_torchs_bit_for_bit_in_every_dtype(dtype: torch.dtype) -> None:
    for shape in ((5, 8), (8, 5), (1, 1), (0, 3)):
        strided = torch.empty(*shape[:1], 2 * shape[1], dtype=dtype)[:, ::2]
        assert torch.equal(init.eye_(strided), nn.init.eye_(torch.empty(shape, dtype=dtype)))
    for shape, groups in (((6, 4, 3), 1), ((9, 2, 3, 4), 3), ((8, 4, 4, 2, 3), 4), ((4, 0, 3), 2)):
        assert torch.equal(
            init.dirac_(torch.empty(shape, dtype=dtype), groups),
            nn.init.dirac_(torch.empty(shape, dtype=dtype), groups),
        )


@pytest.mark.parametrize(("rows", "columns", "sparsity"), [(30, 7, 0.1), (30, 7, 0.99), (5, 9, 0.5), (4, 4, 0.0)])
def test_each_column_has_as_many_zeros_as_torch_makes(rows: int, columns: int, sparsity: float) -> None:
    ours = init.sparse_(torch.empty(rows, columns), sparsity, std=0.5, key=KEY)
    theirs = nn.init.sparse_(torch.empty(rows, columns), sparsity, std=0.5, generator=torch.Generator())
    assert (ours == 0).sum(dim=0).tolist() == (theirs == 0).sum(dim=0).tolist()


def test_the_zeros_of_columns_are_chosen_without_regard_to_each_other() -> None:
    w = init.sparse_(torch.empty(16, 4000), 0.25, std=0.5, key=KEY)
    counts = (w == 0).sum(dim=1)
    assert stats.chisquare(counts.numpy()).pvalue > SIGNIFICANT
    assert stats.kstest(w[w != 0].double().numpy(), "norm", args=(0, 0.5)).pvalue > SIGNIFICANT


@pytest.mark.parametrize("shape", [(20, 7), (7, 20), (6, 4, 3)])
def test_float64_matrices_are_orthogonal_to_the_digits_of_float64(shape: tuple[int, ...]) -> None:
    draw = init.delta_orthogonal_ if len(shape) > 2 else init.orthogonal_
    double = draw(torch.empty(shape, dtype=torch.float64), 1.5, key=KEY)
    single = draw(torch.empty(shape), 1.5, key=KEY)
    assert torch.allclose(double, single.double(), atol=3e-6)
    matrix = (double[..., 1] if len(shape) > 2 else double) / 1.5
    gram = matrix.T @ matrix if matrix.shape[0] >= matrix.shape[1] else matrix @ matrix.T
    assert (gram - torch.eye(len(gram), dtype=torch.float64)).abs().max() < 1e-14


def test_a_negative_gain_turns_an_orthogonal_matrix_around() -> None:
    assert torch.equal(
        init.orthogonal_(torch.empty(5, 3), -2.0, key=KEY), -init.orthogonal_(torch.empty(5, 3), 2.0, key=KEY)
    )


# float32 rounds 0.7 down and 0.1 up: bounds that were rounded would let values lie outside.
@pytest.mark.parametrize(
    ("a", "b"), [(0.7, 0.7 + 1.5e-7), (0.1 - 3e-8, 0.1), (-0.7 - 1.5e-7, -0.7), (-0.1, -0.1 + 3e-8)]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_entry_lies_outside_of_bounds_that_float32_cannot_hold(dtype: torch.dtype, a: float, b: float) -> None:
    drawn = init.trunc_normal_(torch.empty(4000, dtype=dtype), std=1.0, a=a, b=b, key=KEY).double()
    assert a <= drawn.min().item() < drawn.max().item() <= b


MODULES: dict[str, tuple[Callable[[], nn.Module], str, int, int]] = {
    "linear": (lambda: nn.Linear(40, 60), "weight", 40, 60),
    "grouped": (lambda: nn.Conv2d(16, 32, 3, groups=4), "weight", 36, 72),
    "transposed": (lambda: nn.ConvTranspose2d(16, 32, 3), "weight", 144, 288),
    "packed": (lambda: nn.MultiheadAttention(64, 4), "in_proj_weight", 64, 64),
    "gates": (lambda: nn.LSTM(30, 50), "weight_ih_l0", 30, 50),
    "below": (lambda: nn.Sequential(nn.ReLU(), nn.Conv1d(8, 8, 3, groups=8)), "1.weight", 3, 3),
}


@pytest.mark.parametrize("case", MODULES)
def test_a_module_tells_the_fans_that_a_shape_cannot_tell(case: str) -> None:
    build, name, fan_in, fan_out = MODULES[case]
    module = build()
    weight = module.get_parameter(name)
    z = init.normal_(torch.empty_like(weight), key=KEY)  # all normal laws are these numbers, scaled
    expected = {
        "lecun_normal_": fan_in**-0.5,
        "xavier_normal_": (2 / (fan_in + fan_out)) ** 0.5,
        "kaiming_normal_": (2 / fan_in) ** 0.5,
    }
    for function, std in expected.items():
        getattr(init, function)(weight, module=module, key=KEY)
        assert torch.allclose(weight.detach(), std * z, rtol=1e-6)
    init.kaiming_normal_(weight.data, mode="fan_out", module=module, key=KEY)
    assert torch.allclose(weight.detach(), (2 / fan_out) ** 0.5 * z, rtol=1e-6)


def test_each_matrix_of_a_packed_weight_is_orthogonal_by_itself() -> None:
    attention = nn.MultiheadAttention(8, 2)
    init.orthogonal_(attention.in_proj_weight, module=attention, key=KEY)
    for matrix in attention.in_proj_weight.detach().chunk(3):
        assert torch.allclose(matrix @ matrix.T, torch.eye(8), atol=1e-5)


def test_a_grouped_convolution_hands_each_group_on() -> None:
    conv = nn.ConvTranspose1d(6, 6, 3, groups=3, padding=1, bias=False)
    init.identity_(conv.weight, module=conv)
    x = torch.arange(30.0).reshape(1, 6, 5)
    assert torch.equal(conv(x), x)


def test_a_tensor_that_the_module_does_not_own_is_refused() -> None:
    with pytest.raises(ValueError, match=r"No parameter of Linear is the tensor of shape \(2, 2\)"):
        init.lecun_normal_(torch.zeros(2, 2), module=nn.Linear(2, 2), key=KEY)


def test_a_bias_has_no_fans_in_its_module_either() -> None:
    module = nn.LayerNorm((3, 4))
    with pytest.raises(ValueError, match="has no fan_in"):
        init.lecun_normal_(module.weight, module=module, key=KEY)


def test_numbers_that_are_equal_have_one_law_since_they_are_remembered_as_one() -> None:
    laws = [normal_law.__wrapped__(mean, 0.0, torch.float32) for mean in (-0.0, 0.0)]
    assert [math.copysign(1.0, law.parameters[0]) for law in laws] == [1.0, 1.0]
    init.kaiming_normal_(torch.empty(3, 4), 1, key=KEY)
    with pytest.raises(ValueError, match="negative_slope True not a valid number"):
        init.kaiming_normal_(torch.empty(3, 4), True, key=KEY)


def test_a_tensor_as_a_number_is_read_at_each_call() -> None:
    std = torch.tensor(1.0)
    first = init.normal_(torch.empty(8), std=std, key=KEY)  # pyright: ignore[reportArgumentType]
    std.fill_(2.0)
    assert torch.equal(init.normal_(torch.empty(8), std=std, key=KEY), 2 * first)  # pyright: ignore[reportArgumentType]
