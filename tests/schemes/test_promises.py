"""Every scheme against its promise, over every layout on which it makes sense."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from scheme_checks import (
    LAYOUTS,
    N,
    hands_on,
    is_haar,
    keeps_promise,
    keeps_singular_values,
    loaded,
    mean_square_gain,
    zeros_of_each_unit,
)
from torch import nn

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    Constant,
    DeltaOrthogonal,
    Dirac,
    Identity,
    Mimetic,
    Mirrored,
    Noisy,
    Normal,
    Ones,
    Orthogonal,
    Rademacher,
    RepeatedIdentity,
    Scheme,
    Sliced,
    Sparse,
    TorchDefault,
    TruncatedNormal,
    Uniform,
    VarianceScaling,
    Weighted,
    ZeroRow,
    Zeros,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.mimetic import Part

# Entries of kurtosis k need (k - 1) / 2 times as many as normal ones for the same window.
EVERYWHERE: dict[str, tuple[Scheme, int]] = {
    "zeros": (Zeros(), N),
    "ones": (Ones(), N),
    "constant": (Constant(value=0.3), N),
    "normal": (Normal(std=0.3, mean=-2.0), N),
    "uniform": (Uniform(bound=0.3), N),
    "rademacher": (Rademacher(std=0.3), N),
    "truncated_normal": (TruncatedNormal(std=0.3), N),
    "truncated_normal_tail": (TruncatedNormal(std=0.3, lower=1.0, upper=9.0), 4 * N),
    "noisy_zeros": (Noisy(base=Zeros(), std=0.1), N),
    "noisy_normal": (Noisy(base=Normal(std=0.3), std=0.4), N),
    "torch_default": (TorchDefault(fan_in=100), N),
    "zero_row": (ZeroRow(base=Normal(std=0.3), row=1), 4 * N),
    "zero_row_of_a_mean": (ZeroRow(base=Normal(std=0.3, mean=2.0), row=1), 4 * N),
    "zero_row_of_noise": (ZeroRow(base=Noisy(base=Constant(value=2.0), std=0.1)), 4 * N),
    "torch_default_norm": (TorchDefault(), N),
}
MATRICES: dict[str, tuple[Scheme, int]] = {
    "lecun_normal": (lecun_normal(), N),
    "lecun_uniform": (lecun_uniform(), N),
    "xavier_normal": (xavier_normal(gain=5 / 3), N),
    "xavier_uniform": (xavier_uniform(), N),
    "he_normal": (he_normal(), N),
    "he_uniform": (he_uniform(mode="fan_out"), N),
    "variance_scaling": (VarianceScaling(scale=3.0, mode="fan_avg", distribution="truncated_normal"), N),
    "orthogonal": (Orthogonal(gain=1.4), N),
    "identity": (Identity(gain=-0.7), N),
    "repeated_identity": (RepeatedIdentity(gain=-0.7), N),
    "sparse": (Sparse(sparsity=0.6, std=0.5), 4 * N),
    "sliced": (Sliced(base=xavier_normal()), N),
    "noisy_identity": (Noisy(base=Identity(), std=0.1), N),
}
KERNELS: dict[str, tuple[Scheme, int]] = {
    "dirac": (Dirac(gain=0.7), N),
    "delta_orthogonal": (DeltaOrthogonal(gain=1.4), N),
}
HAS_MATRICES = [name for name in LAYOUTS if name != "vector"]
HAS_KERNEL = [name for name in LAYOUTS if "conv" in name]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("case", EVERYWHERE)
def test_delivered_std_is_the_promised_one(case: str, layout: str) -> None:
    scheme, n = EVERYWHERE[case]
    assert keeps_promise(scheme, LAYOUTS[layout], n)


@pytest.mark.parametrize("layout", HAS_MATRICES)
@pytest.mark.parametrize("case", MATRICES)
def test_delivered_std_of_matrices_is_the_promised_one(case: str, layout: str) -> None:
    scheme, n = MATRICES[case]
    assert keeps_promise(scheme, LAYOUTS[layout], n)


@pytest.mark.parametrize("layout", HAS_KERNEL)
@pytest.mark.parametrize("case", KERNELS)
def test_delivered_std_of_kernels_is_the_promised_one(case: str, layout: str) -> None:
    scheme, n = KERNELS[case]
    assert keeps_promise(scheme, LAYOUTS[layout], n)


@pytest.mark.parametrize("base", [Identity(), TruncatedNormal(lower=0.0, upper=2.0), ZeroRow()])
def test_a_row_of_zeros_beside_rows_of_no_known_mean_is_refused(base: Scheme) -> None:
    with pytest.raises(InvalidValueError, match="have no common mean that is known"):
        ZeroRow(base=base)


@pytest.mark.parametrize("runs", [(0, 48, 1, 8, 2, 8), (0, 3, 1, 1), (2, 8, 0, 8, 1, 16)])
@pytest.mark.parametrize("base", [xavier_normal(), Orthogonal(gain=1.4), he_uniform(mode="fan_out")])
def test_parts_of_a_packed_map_each_keep_their_own_promise(base: Scheme, runs: tuple[float, ...]) -> None:
    layout, sliced = Layout.linear(256, 96), Sliced(base=base, runs=runs)
    assert keeps_promise(sliced, layout, N)
    values = sliced.sample(layout, Key(0, "qkv"))
    for units in sliced.parts(256).values():
        own = Layout.linear(len(units), 96)
        found = values[units].pow(2).mean().sqrt().item()
        assert math.isclose(found, base.expected_std(own), rel_tol=0.05)
        if isinstance(base, Orthogonal):
            assert torch.allclose(torch.linalg.svdvals(values[units]), torch.tensor(1.4), atol=1e-5)


@pytest.mark.parametrize(
    "layout",
    [
        Layout.packed(128, 96, 3),
        Layout(kind="linear", shape=(96, 384), out_dims=(1,), in_dims=(0,)),
        Layout(kind="packed", shape=(96, 384), out_dims=(1,), in_dims=(0,), stacked=3, packed_dim=1),
    ],
)
def test_output_units_are_multiplied_by_the_factor_of_their_part_wherever_they_are_stored(layout: Layout) -> None:
    weighted = Weighted(base=Normal(std=0.5), factors=(1.0, 2.0, 0.5), lengths=(128.0, 128.0, 128.0))
    assert keeps_promise(weighted, layout, N)
    parts = weighted.sample(layout, Key(0, "qkv")).chunk(3, layout.out_dims[0])
    assert [part.std().item() for part in parts] == pytest.approx([0.5, 1.0, 0.25], rel=0.04)
    with pytest.raises(LayoutError, match=r"384 units at a time, and a linear layout of shape \(96, 96\) has 96"):
        weighted.sample(Layout.linear(96, 96), Key(0, "qkv"))


@pytest.mark.parametrize("runs", [(0,), (0, 2.5), (0, 0), (-1, 2)])
def test_runs_that_are_no_parts_and_lengths_are_refused(runs: tuple[float, ...]) -> None:
    with pytest.raises(InvalidValueError, match="must be part and length in turn"):
        Sliced(runs=runs)


def test_runs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(LayoutError, match="64 output units are no whole number of"):
        Sliced(runs=(0, 6, 1, 3)).sample(Layout.linear(64, 8), Key(0, "w"))


MIMETIC = {
    "query": (Mimetic(part="query", head=16), Layout.linear(64, 96)),
    "whole key": (Mimetic(part="key", score_alpha=0.2), Layout.linear(64, 64)),
    "value": (Mimetic(part="value"), Layout.linear(48, 64)),
    "out": (Mimetic(part="out", value_beta=-1.0), Layout.linear(64, 48)),
    "packed": (Mimetic(part="packed", head=16, runs=(0, 64, 1, 64, 2, 64)), Layout.packed(64, 64)),
    "small": (Mimetic(part="query", head=2), Layout.linear(8, 8)),
}


@pytest.mark.parametrize("case", MIMETIC)
def test_factors_keep_their_promise(case: str) -> None:
    assert keeps_promise(*MIMETIC[case])


@pytest.mark.parametrize("part", ["query", "key", "value", "out"])
def test_factors_are_told_from_those_of_other_numbers_and_parts(part: Part) -> None:
    """Each number moves its own product, and no other."""
    layout, scores = Layout.linear(16, 16), part in ("query", "key")
    drawn = Mimetic(part=part).sample(layout, Key(0, "w"))
    for option, moves in (("score_alpha", scores), ("score_beta", scores), ("nth", True), ("value_beta", not scores)):
        other = replace(Mimetic(part=part), **{option: 2}).sample(layout, Key(0, "w"))
        assert torch.equal(other, drawn) is not moves


@pytest.mark.parametrize(
    ("scheme", "layout", "message"),
    [
        (Mimetic(), Layout.conv(8, 8, (3,)), "for one map without a kernel"),
        (Mimetic(), Layout.packed(8, 8), "for one map without a kernel"),
        (Mimetic(head=3), Layout.linear(8, 8), "8 units in heads of 3"),
        (Mimetic(part="value"), Layout.linear(16, 8), "heads of 16 from a width of 8"),
        (Mimetic(), Layout.vector(8), "has no factors"),
    ],
)
def test_maps_that_are_no_factors_are_refused(scheme: Scheme, layout: Layout, message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        scheme.sample(layout, Key(0, "w"))
    with pytest.raises(LayoutError, match=message):
        scheme.expected_std(layout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "query", "runs": (0, 8)}, "a packed tensor needs parts 0 to 2, others none"),
        ({"part": "packed"}, "a packed tensor needs parts 0 to 2"),
        ({"part": "packed", "runs": (3, 8)}, "parts 0 to 2"),
        ({"shared": -1}, "Mimetic.shared is -1"),
        ({"value_alpha": math.nan}, "Mimetic.value_alpha is nan"),
        ({"part": "keys"}, "Did you mean 'key'"),
    ],
)
def test_impossible_options_of_factors_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Mimetic(**options)


@pytest.mark.parametrize("base", [xavier_normal(), Orthogonal(gain=1.4)])
@pytest.mark.parametrize("layout", [name for name in HAS_MATRICES if name != "conv2d_depthwise"])
@pytest.mark.parametrize("which", [{"rows": False}, {"columns": False}, {}])
def test_pairs_keep_the_promise_of_the_half(base: Scheme, layout: str, which: dict[str, bool]) -> None:
    assert keeps_promise(Mirrored(base=base, **which), LAYOUTS[layout], 4 * N)


@pytest.mark.parametrize("build", [lambda: nn.Linear(8, 6), lambda: nn.Conv2d(8, 6, 3), lambda: nn.Conv1d(8, 12, 1)])
def test_pairs_of_units_are_opposite_through_the_real_module(build: Callable[[], nn.Module]) -> None:
    """Output halves are opposite; inputs whose halves agree give nothing. The module's own forward is the oracle."""
    module = loaded(build(), Mirrored(base=Normal()))
    shape = {nn.Linear: (4,), nn.Conv2d: (4, 5, 5), nn.Conv1d: (4, 5)}[type(module)]
    dim = 1
    one, other = torch.randn(2, 3, *shape, generator=torch.Generator().manual_seed(0))
    y = module(torch.cat([one, other], dim))
    first, second = y.chunk(2, dim)
    torch.testing.assert_close(first, -second, atol=1e-6, rtol=0)
    assert first.abs().max() > 0.01
    torch.testing.assert_close(module(torch.cat([one, one], dim)), torch.zeros_like(y), atol=1e-5, rtol=0)


def test_units_that_cannot_be_paired_are_refused() -> None:
    with pytest.raises(LayoutError, match=r"pairs output units.*\(7, 4\) has an odd number"):
        Mirrored().sample(Layout.linear(7, 4), Key(0, "w"))
    with pytest.raises(LayoutError, match="pairs input units"):
        Mirrored(rows=False).expected_std(Layout.conv(8, 8, (3,), groups=8))


@pytest.mark.parametrize("case", MATRICES)
def test_schemes_that_need_matrices_refuse_vectors(case: str) -> None:
    scheme, _ = MATRICES[case]
    with pytest.raises(LayoutError, match=r"A vector of shape \(64,\) has no"):
        scheme.sample(Layout.vector(64), Key(0, "bias"))
    with pytest.raises(LayoutError, match=r"A vector of shape \(64,\) has no"):
        scheme.expected_std(Layout.vector(64))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in HAS_KERNEL])
@pytest.mark.parametrize("case", KERNELS)
def test_schemes_that_need_a_kernel_refuse_other_layouts(case: str, layout: str) -> None:
    scheme, _ = KERNELS[case]
    for ask in (lambda: scheme.sample(LAYOUTS[layout], Key(0, "w")), lambda: scheme.expected_std(LAYOUTS[layout])):
        with pytest.raises(LayoutError) as caught:
            ask()
        assert str(caught.value).splitlines()[0] == (
            f"{type(scheme).__name__} needs a kernel, and a {LAYOUTS[layout].kind} layout of shape "
            f"{LAYOUTS[layout].shape} has none."
        )


def test_delta_orthogonal_refuses_to_narrow() -> None:
    with pytest.raises(LayoutError) as caught:
        DeltaOrthogonal().sample(Layout.conv(4, 8, (3, 3)), Key(0, "w"))
    assert str(caught.value).splitlines() == [
        "DeltaOrthogonal needs in <= out; a group has 8 inputs and 4 outputs.",
        "  conv layout of shape (4, 8, 3, 3), groups=1",
        "  Fix: Orthogonal(), or a convolution with at least as many output channels",
        "  [layout]  docs/errors.md#layout",
    ]


GAINS = {
    "linear": (lambda: nn.Linear(60, 180), (60,), 3.0),
    "conv1d_grouped": (lambda: nn.Conv1d(24, 96, 3, groups=4, padding=1, padding_mode="circular"), (24, 9), 4.0),
    "conv2d": (lambda: nn.Conv2d(12, 36, 3, padding=1, padding_mode="circular"), (12, 6, 6), 3.0),
}


@pytest.mark.parametrize("case", GAINS)
def test_variance_scaling_keeps_the_mean_square_through_the_real_forward(case: str) -> None:
    """Exactly its scale in its own direction; the ratio of the fans in the other. Window 4 %, above 5 sigma."""
    build, shape, widening = GAINS[case]
    forward, backward = mean_square_gain(VarianceScaling(scale=1.5, mode="fan_in"), build, shape)
    assert (forward, backward) == (pytest.approx(1.5, rel=0.04), pytest.approx(1.5 * widening, rel=0.04))
    forward, backward = mean_square_gain(VarianceScaling(scale=1.5, mode="fan_out"), build, shape)
    assert (forward, backward) == (pytest.approx(1.5 / widening, rel=0.04), pytest.approx(1.5, rel=0.04))
    forward, backward = mean_square_gain(VarianceScaling(mode="fan_avg"), build, shape)
    assert forward == pytest.approx(2 / (1 + widening), rel=0.04)
    assert backward == pytest.approx(2 * widening / (1 + widening), rel=0.04)


@pytest.mark.parametrize("layout", HAS_MATRICES)
def test_orthogonal_gives_every_logical_matrix_equal_singular_values(layout: str) -> None:
    assert keeps_singular_values(Orthogonal(gain=1.4), LAYOUTS[layout], 1.4)


def test_orthogonal_matrices_are_haar() -> None:
    assert is_haar(Orthogonal())


def test_the_center_of_a_delta_orthogonal_kernel_is_the_draw_of_a_map_without_one() -> None:
    kernel = DeltaOrthogonal(gain=1.4).sample(Layout.conv(8, 4, (3, 3)), Key(0, "w"))
    assert torch.equal(kernel[:, :, 1, 1], Orthogonal(gain=1.4).sample(Layout.linear(8, 4), Key(0, "w")))


@pytest.mark.parametrize("groups", [1, 4])
def test_a_delta_orthogonal_convolution_keeps_every_norm(groups: int) -> None:
    module = nn.Conv2d(8, 16, 3, padding=1, groups=groups, bias=False)
    layout = Layout.of(module, "weight")
    with torch.no_grad():
        module.weight.copy_(DeltaOrthogonal(gain=1.5).sample(layout, Key(0, "w")))
    x = torch.randn(4, 8, 5, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(module(x).norm(dim=1), 1.5 * x.norm(dim=1))


def test_each_sparse_unit_has_exactly_its_share_of_zeros() -> None:
    for layout in (LAYOUTS[name] for name in HAS_MATRICES):
        weights = layout.in_units * layout.receptive_field
        expected = min(round(0.9 * weights), weights - 1)
        assert zeros_of_each_unit(Sparse(sparsity=0.9, std=1.0), layout) == [expected]
    assert zeros_of_each_unit(Sparse(sparsity=0.99, std=1.0), Layout.linear(8, 3)) == [2]
    assert zeros_of_each_unit(Sparse(sparsity=0.0, std=1.0), Layout.linear(8, 3)) == [0]


def test_sparse_units_choose_their_inputs_evenly_and_apart() -> None:
    """Each input is read by 1/10 of 20,000 units within 5 sigma; two units agree no more than chance."""
    reads = Sparse(sparsity=0.9, std=1.0).sample(Layout.linear(20_000, 40), Key(0, "w")) != 0
    share = reads.double().mean(dim=0)
    assert (share - 0.1).abs().max().item() < 5 * math.sqrt(0.09 / 20_000)
    shared = (reads[::2] & reads[1::2]).sum(dim=1).double().mean().item()
    assert shared == pytest.approx(0.4, abs=5 * 0.6 / 100)


DIRAC = {
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (4, 9)),
    "conv2d": (lambda: nn.Conv2d(6, 4, 5, padding=2), (6, 7, 7)),
    "conv2d_grouped": (lambda: nn.Conv2d(6, 9, 3, padding=1, groups=3), (6, 5, 5)),
    "conv3d": (lambda: nn.Conv3d(2, 2, (1, 3, 5), padding=(0, 1, 2)), (2, 4, 5, 6)),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(3, 5, 3, padding=1), (3, 5, 5)),
    "conv_transpose2d_grouped": (lambda: nn.ConvTranspose2d(6, 4, 3, padding=1, groups=2), (6, 5, 5)),
}


@pytest.mark.parametrize("case", DIRAC)
def test_dirac_convolutions_return_their_input(case: str) -> None:
    build, shape = DIRAC[case]
    assert hands_on(Dirac(), build, shape)
    assert hands_on(Identity(gain=-2.5), build, shape, gain=-2.5)


def test_identity_maps_return_their_input() -> None:
    assert hands_on(Identity(), lambda: nn.Linear(5, 5), (5,))
    assert hands_on(Identity(), lambda: nn.Linear(3, 5), (3,))
    assert hands_on(Identity(), lambda: nn.Linear(5, 3), (5,))


def test_an_identity_recurrent_weight_hands_on_through_each_gate() -> None:
    stacked = Identity().sample(Layout.recurrent(3, 3, 4), Key(0, "weight_hh"))
    assert torch.equal(stacked, torch.eye(3).repeat(4, 1))
