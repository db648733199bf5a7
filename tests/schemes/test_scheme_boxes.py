"""A box of a draw is that box of the whole, for every scheme; and local schemes draw no more than the box."""

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scheme_checks import LAYOUTS

from exnihilo.errors import InvalidValueError, LayoutError
from exnihilo.fills import Box, Key
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    SCHEMES,
    Constant,
    Dirac,
    Noisy,
    Normal,
    Ones,
    Orthogonal,
    Scheme,
    Sliced,
    TruncatedNormal,
    Uniform,
    Weighted,
    ZeroRow,
    he_normal,
)
from exnihilo.schemes.boxes import fill_box_, is_local, sample_box

KEY = Key(3, "boxes")

COMPOSED: dict[str, Scheme] = {
    "noisy_orthogonal": Noisy(base=Orthogonal(), std=0.1),
    "noisy_noisy": Noisy(base=Noisy(base=Constant(value=1.0), std=0.1), std=0.2),
    "zero_row_of_noisy": ZeroRow(base=Noisy(base=Ones(), std=0.1), row=2),
    "weighted_zero_row": Weighted(base=ZeroRow(row=1), factors=(1.0, -0.5), lengths=(1.0, 1.0)),
    "weighted_orthogonal": Weighted(base=Orthogonal(), factors=(1.0, 2.0), lengths=(1.0, 3.0)),
    "sliced": Sliced(base=he_normal(), runs=(0, 2, 1, 1, 2, 1)),
    "sliced_noisy": Sliced(base=Noisy(base=Uniform(), std=0.1), runs=(1, 3, 0, 1)),
    "sliced_weighted": Sliced(base=Weighted(factors=(1.0, 3.0), lengths=(1.0, 1.0)), runs=(0, 2, 1, 2)),
    "noisy_sliced": Noisy(base=Sliced(base=TruncatedNormal(), runs=(0, 1, 1, 3)), std=0.1),
    "weighted_sliced_orthogonal": Weighted(base=Sliced(base=Orthogonal(), runs=(0, 3, 1, 1)), factors=(2.0,)),
    "noisy_dirac": Noisy(base=Dirac(), std=0.1),
}
SMALL: dict[str, Layout] = {
    "linear": Layout.linear(24, 20),
    "conv": Layout.conv(8, 6, (3, 2)),
    "conv_grouped": Layout.conv(16, 8, (3, 3), groups=4),
    "conv_transpose": Layout.conv_transpose(6, 8, (3,)),
    "embedding": Layout.embedding(11, 16),
    "packed": Layout.packed(8, 12),
    "bilinear": Layout.bilinear(8, 3, 5),
    "vector": Layout.vector(40),
    "square": Layout.linear(16, 16),
}


def fits(scheme: Scheme, layout: Layout) -> bool:
    try:
        scheme.expected_std(layout)
        scheme.sample(layout, KEY)
    except LayoutError:
        return False
    return True


CASES = {name: build() for name, build in SCHEMES.items()} | COMPOSED
PAIRS = [(name, layout) for name, scheme in CASES.items() for layout in SMALL if fits(scheme, SMALL[layout])]


def test_every_scheme_fits_some_layout() -> None:
    assert {name for name, _ in PAIRS} == set(CASES)


@pytest.mark.parametrize(("name", "of"), PAIRS)
@settings(max_examples=12)
@given(data=st.data())
def test_a_box_of_a_draw_is_that_box_of_the_whole(name: str, of: str, data: st.DataObject) -> None:
    scheme, layout = CASES[name], SMALL[of]
    offsets = [data.draw(st.integers(0, size)) for size in layout.shape]
    sizes = [data.draw(st.integers(0, size - offset)) for size, offset in zip(layout.shape, offsets, strict=True)]
    box = Box(layout.shape, tuple(offsets), tuple(sizes))
    expected = scheme.sample(layout, KEY)[box.slices]
    found = sample_box(scheme, layout, KEY, box)
    assert (found.dtype, found.is_contiguous()) == (torch.float32, True)
    assert torch.equal(found, expected)
    for dtype in (torch.float32, torch.bfloat16):
        written = torch.full((*box.sizes, 2), 9.0, dtype=dtype)[..., 0]
        fill_box_(written, scheme, layout, KEY, box)
        assert torch.equal(written, expected.to(dtype))


@pytest.mark.parametrize("name", SCHEMES)
def test_the_whole_box_is_the_draw(name: str) -> None:
    scheme = SCHEMES[name]()
    layout = next(SMALL[of] for scheme_name, of in PAIRS if scheme_name == name)
    assert torch.equal(sample_box(scheme, layout, KEY, Box.whole(layout.shape)), scheme.sample(layout, KEY))


# --- local schemes ----------------------------------------------------------------------------------------------------

HUGE = Layout.linear(10**6, 10**6)
LOCAL = sorted(name for name, scheme in CASES.items() if is_local(scheme))


def test_the_schemes_of_independent_entries_are_local_and_no_others() -> None:
    matrices = {"orthogonal", "delta_orthogonal", "identity", "repeated_identity", "hadamard", "dirac", "mimetic"}
    assert not matrices & set(LOCAL)
    assert {"zeros", "ones", "constant", "normal", "uniform", "truncated_normal", "he_normal", "xavier_uniform"} <= set(
        LOCAL
    )
    assert {"noisy", "sliced", "weighted", "zero_row", "noisy_noisy", "sliced_weighted"} <= set(LOCAL)
    assert not {name for name in LOCAL if "orthogonal" in name or "dirac" in name}


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_scheme_draws_a_box_of_a_terabyte_at_once(name: str) -> None:
    """The whole would not fit into memory."""
    box = Box(HUGE.shape, (999_990, 3), (10, 7))
    began = time.perf_counter()
    found = sample_box(CASES[name], HUGE, KEY, box)
    written = torch.empty(10, 7)
    fill_box_(written, CASES[name], HUGE, KEY, box)
    assert time.perf_counter() - began < 5.0
    assert torch.equal(written, found)
    assert found.shape == (10, 7)
    assert found.isfinite().all()


# --- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [Normal(), Orthogonal(), Noisy(), Weighted(), ZeroRow(), Sliced()])
def test_a_box_of_another_shape_than_the_layout_is_refused(scheme: Scheme) -> None:
    """Its elements would be those of one tensor, and its fans those of another."""
    layout, tensor = Layout.linear(4, 6), torch.full((4, 6), 9.0)
    for box in (Box((8, 6), (0, 0), (4, 6)), Box.whole((6, 4)), Box.whole((24,))):
        with pytest.raises(InvalidValueError, match="is no part of a linear layout of shape") as caught:
            sample_box(scheme, layout, KEY, box)
        assert caught.value.fix == "Box(layout.shape, offsets, sizes)"
        with pytest.raises(InvalidValueError, match="is no part of a linear layout of shape"):
            fill_box_(tensor, scheme, layout, KEY, box)
    assert (tensor == 9.0).all()


@pytest.mark.parametrize("scheme", [Normal(), Orthogonal(), Noisy()])
@pytest.mark.parametrize(
    "tensor", [torch.full((4, 6), 9), torch.full((4, 6), 9.0), torch.full((1, 6), 9.0).expand(2, 6)]
)
def test_memory_that_cannot_take_the_box_is_refused_and_left_alone(scheme: Scheme, tensor: torch.Tensor) -> None:
    """Integers, a size to which the box would be broadcast, and rows in one place."""
    with pytest.raises(InvalidValueError):
        fill_box_(tensor, scheme, Layout.linear(4, 6), KEY, Box((4, 6), (0, 0), (tensor.shape[0] // 2, 6)))
    assert (tensor == 9).all()


@pytest.mark.parametrize("box", [Box.whole((4, 6)), Box((4, 6), (0, 0), (1, 6))])
def test_a_row_that_is_not_there_is_refused_for_a_box_as_for_the_whole(box: Box) -> None:
    with pytest.raises(LayoutError, match="has no such row"):
        sample_box(ZeroRow(row=9), Layout.linear(4, 6), KEY, box)


@pytest.mark.parametrize("scheme", [Normal(), Orthogonal(), Noisy()])
def test_a_parameter_is_written_without_a_gradient_and_stays_a_leaf(scheme: Scheme) -> None:
    parameter = torch.nn.Parameter(torch.zeros(4, 6))
    fill_box_(parameter, scheme, Layout.linear(8, 6), KEY, Box((8, 6), (4, 0), (4, 6)))
    assert (parameter.is_leaf, parameter.requires_grad, parameter.grad_fn) == (True, True, None)
    assert parameter.detach().any()


def test_every_layout_of_the_scheme_tests_can_be_cut() -> None:
    """The larger ones, by their last rows: he_normal's fans are those of the whole."""
    for layout in LAYOUTS.values():
        if not layout.in_dims:
            continue
        sizes = (1, *layout.shape[1:])
        box = Box(layout.shape, (layout.shape[0] - 1, *(0 for _ in sizes[1:])), sizes)
        assert torch.equal(sample_box(he_normal(), layout, KEY, box)[0], he_normal().sample(layout, KEY)[-1])
