"""Laws: what they promise of single values, and what they and ``fill_`` refuse."""

import math
import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from fill_cases import BACKENDS, KEY, LAWS, backend, same_bits
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Box, Law, bits, fill_, reference, values
from exnihilo.fills.laws import Kind, tail

N = 2**16


def drawn(law: Law, n: int = N) -> Tensor:
    return values(law, KEY, Box.whole((n,)))


def after(value: float) -> float:
    return float(np.nextafter(np.float32(value), np.float32(np.inf)))


# --- uniform ----------------------------------------------------------------------------------------------------------

AWKWARD = [
    (1.0, after(1.0)),
    (1.0, after(after(1.0))),
    (-after(1.0), -1.0),
    (0.0, after(0.0)),
    (0.0, 1e-40),
    (-1e-45, 1e-45),
    (1000.0, 1000.1),
    (1e8, 1e8 + 8),
    (0.1, 0.3),
    (0.7, 0.9),
    (-1.0, 1e-10),
    (-1e-10, 1.0),
    (-1.7e38, 1.7e38),
    (0.0, 3.4e38),
    (-3.4e38, -3.3e38),
]


def largest_word(law: Law) -> np.float32:
    """What the word of ones becomes."""
    low, step = map(np.float32, law.parameters)
    return np.float32(low + np.float32(step * np.float32(2**24 - 1)))


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("low", "high"), AWKWARD)
def test_uniform_values_lie_from_low_to_below_high(name: str, low: float, high: float) -> None:
    began = time.perf_counter()
    law = Law.uniform(low, high)
    assert time.perf_counter() - began < 0.1
    with backend(name):
        found = drawn(law)
    assert np.float32(low) <= found.min().item() <= found.max().item() < np.float32(high)
    assert np.float32(low) <= largest_word(law) < np.float32(high)


floats = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**126), max_value=2.0**126)


@given(low=floats, high=floats)
def test_the_largest_uniform_value_lies_just_below_any_high(low: float, high: float) -> None:
    """And no step that a float32 could hold and that is larger, up to the exact one, would keep it there."""
    low, high = min(low, high), max(low, high)
    law = Law.uniform(low, high)
    if low == high:
        assert largest_word(law) == low
        return
    assert low <= largest_word(law) < high
    step = np.float32(law.parameters[1])
    larger = Law(Kind.UNIFORM, (low, after(float(step))))
    assert step == np.float32((high - low) * 2.0**-24) or largest_word(larger) >= high


def test_uniform_values_have_no_gap_and_no_width_where_the_bounds_are_one() -> None:
    assert drawn(Law.uniform(0.3, 0.3)).unique().tolist() == [np.float32(0.3)]
    assert len(drawn(Law.uniform(1.0, 1.0 + 2.0**-20)).unique()) == 8


# --- normal and truncated normal --------------------------------------------------------------------------------------


@pytest.mark.parametrize("std", [0.0, 2.0**-20, 0.5, 4.0, 2.0**100])
def test_normals_of_another_std_are_the_same_numbers_scaled(std: float) -> None:
    assert torch.equal(drawn(Law.normal(std=std)), std * drawn(Law.normal()))


def of_words(monkeypatch: pytest.MonkeyPatch, law: Law, *words: int) -> list[Tensor]:
    """A tile of a law, for each word at all its places; by the reference, which a patched cipher reaches."""
    tiles = []
    for word in words:
        signed = torch.tensor(word - 2**32 if word >= 2**31 else word, dtype=torch.int32)
        made = signed.expand(1, 1, 32)
        monkeypatch.setattr(reference, "encrypt", lambda keys, blocks, made=made: (made, made))
        tiles.append(reference.tiles(law, [0], torch.tensor([0])))
    return tiles


ENDS = (0, 1, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 2, 2**32 - 1)


def test_the_largest_normals_are_those_of_the_word_0(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest word is 2**-32 of (0, 1]; its angle, 0, has a cosine of 1. The largest word has a radius of 0."""
    smallest, *_, largest = of_words(monkeypatch, Law.normal(), *ENDS)
    assert smallest.max().item() == pytest.approx(math.sqrt(64 * math.log(2)), rel=2e-7)
    assert smallest.max().item() < 6.67
    assert not largest.any()


@pytest.mark.parametrize("name", LAWS)
def test_the_words_at_the_ends_give_values_like_all_others(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    law = LAWS[name]
    for tile in of_words(monkeypatch, law, *ENDS):
        assert not tile.isnan().any()
        if law.kind in (Kind.TRUNCATED_CENTER, Kind.TRUNCATED_TAILS):
            assert law.parameters[2] <= tile.min().item() <= tile.max().item() <= law.parameters[3]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("std", [0.02, 1.0, 1e-3])
@pytest.mark.parametrize("mean", [0.0, 0.1, -100.0])
@pytest.mark.parametrize(
    ("lower", "upper"), [(-2.0, 2.0), (-0.1, 3.0), (-4.0, 4.0), (10.0, 10.001), (-math.inf, -4.0), (36.0, 37.0)]
)
def test_truncated_values_keep_to_their_bounds(name: str, mean: float, std: float, lower: float, upper: float) -> None:
    with backend(name):
        found = drawn(Law.truncated_normal(mean, std, lower, upper), 2**13)
    assert found.min().item() >= np.float32(mean + std * lower)
    assert found.max().item() <= np.float32(mean + std * upper)
    assert mean == -100.0 or len(found.unique()) > 100


def test_bounds_turned_around_give_the_values_turned_around() -> None:
    """A tail below is the tail above with another sign, of the same words."""
    above, below = Law.truncated_normal(lower=4.0, upper=9.0), Law.truncated_normal(lower=-9.0, upper=-4.0)
    assert torch.equal(drawn(above), -drawn(below))


def test_a_quantile_rises_with_its_word() -> None:
    """Larger words are larger values; in the center they are taken as two's complement."""
    word = torch.from_numpy(bits(KEY, N).astype(np.int64))
    for law, shift in (
        (Law.truncated_normal(), 2**31),
        (Law.truncated_normal(lower=-4.0, upper=5.0), 0),
        (Law.truncated_normal(lower=10.0, upper=11.0), 0),
    ):
        ordered = drawn(law)[((word + shift) % 2**32).argsort()]
        assert bool((ordered.diff() >= -2e-6).all())  # a rounding of neighbors may turn them around
        assert ordered[0] < ordered[-1]


@pytest.mark.parametrize(("lower", "upper"), [(-math.inf, math.inf), (-6.67, 6.67), (-8.0, 40.0)])
def test_bounds_that_no_normal_number_reaches_are_no_bounds(lower: float, upper: float) -> None:
    assert Law.truncated_normal(0.3, 0.02, lower, upper) == Law.normal(0.3, 0.02)
    assert Law.truncated_normal(0.3, 0.02, lower, 6.66).kind is Kind.TRUNCATED_TAILS


def test_a_truncated_normal_of_no_std_is_its_mean() -> None:
    assert Law.truncated_normal(0.3, 0.0, -math.inf, math.inf) == Law.constant(0.3)


def test_the_tail_is_known_as_far_as_float64_goes() -> None:
    for z in (-3.0, 0.0, 1.0, 10.0, 37.0):
        assert tail(z) == pytest.approx(special.ndtr(-z), rel=1e-13)


# --- rademacher and constant ------------------------------------------------------------------------------------------


def test_rademacher_values_are_the_scale_with_either_sign() -> None:
    assert drawn(Law.rademacher(0.3)).unique().tolist() == [np.float32(-0.3), np.float32(0.3)]
    assert not drawn(Law.rademacher(0.0)).any()


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -3e38, math.inf])
def test_constants_are_what_float32_makes_of_them(value: float) -> None:
    assert same_bits(drawn(Law.constant(value), 3), torch.full((3,), value))


# --- what is refused --------------------------------------------------------------------------------------------------

Build = Callable[[], object]

REFUSED: list[tuple[Build, str, str]] = [
    (lambda: Law.normal(std=-1.0), "Law.normal: std is -1.0; it must be finite in float32 and not negative.", "Law.n"),
    (lambda: Law.normal(std=math.nan), "Law.normal: std is nan; it must be finite", "Law.normal(std=0.02)"),
    (lambda: Law.normal(std=math.inf), "Law.normal: std is inf; it must be finite", "Law.normal(std=0.02)"),
    (lambda: Law.normal(std=1e39), "Law.normal: std is 1e+39; it must be finite in float32", "Law.normal(std=0.02)"),
    (lambda: Law.normal(mean=math.nan), "Law.normal: mean is nan; it must be finite", "Law.normal(mean=0.0"),
    (lambda: Law.normal(mean=-1e39), "Law.normal: mean is -1e+39; it must be finite in float32", "Law.normal(mean"),
    (lambda: Law.truncated_normal(std=-0.1), "Law.truncated_normal: std is -0.1", "Law.truncated_normal(std=0.02)"),
    (lambda: Law.truncated_normal(mean=math.inf), "Law.truncated_normal: mean is inf", "Law.truncated_normal(mean=0.0"),
    (
        lambda: Law.truncated_normal(lower=2.0, upper=-2.0),
        "Law.truncated_normal has lower=2.0 and upper=-2.0; lower must be below upper.",
        "Law.truncated_normal(lower=-2.0, upper=2.0)",
    ),
    (lambda: Law.truncated_normal(lower=1.0, upper=1.0), "lower must be below upper", "Law.truncated_normal("),
    (lambda: Law.truncated_normal(lower=math.nan), "lower must be below upper", "Law.truncated_normal("),
    (lambda: Law.truncated_normal(upper=math.nan), "lower must be below upper", "Law.truncated_normal("),
    (lambda: Law.truncated_normal(lower=37.1, upper=40.0), "beyond 37 std there is no normal mass", "(lower=-2.0"),
    (lambda: Law.truncated_normal(lower=-math.inf, upper=-38.0), "beyond 37 std there is no normal", "(lower=-2.0"),
    (lambda: Law.uniform(1.0, -1.0), "Law.uniform has low=1.0 and high=-1.0; both must be finite", "Law.uniform(low="),
    (lambda: Law.uniform(math.nan, 1.0), "both must be finite", "Law.uniform(low="),
    (lambda: Law.uniform(0.0, math.inf), "both must be finite", "Law.uniform(low="),
    (lambda: Law.uniform(0.0, 1e39), "float32 cannot hold them or their distance", "Law.uniform(low="),
    (lambda: Law.uniform(-3e38, 3e38), "float32 cannot hold them or their distance", "Law.uniform(low="),
    (lambda: Law.rademacher(-1.0), "Law.rademacher: scale is -1.0", "Law.rademacher(scale=0.02)"),
    (lambda: Law.rademacher(math.nan), "Law.rademacher: scale is nan", "Law.rademacher(scale=0.02)"),
    (lambda: Law.constant(math.nan), "Law.constant: value is nan.", "Law.constant(0.0)"),
    (lambda: Box((4, 6), (2, 0), (3, 6)), "(3, 6) does not lie inside shape (4, 6).", "Box(shape=(4, 6)"),
    (lambda: Box((4, 6), (-1, 0), (2, 6)), "does not lie inside", "Box(shape=(4, 6)"),
    (lambda: Box((4, 6), (4, 0), (1, 6)), "does not lie inside", "Box(shape=(4, 6)"),
    (lambda: Box((4, 6), (2, 0), (-1, 6)), "does not lie inside", "Box(shape=(4, 6)"),
    (lambda: Box((4, 6), (2,), (2,)), "does not lie inside", "Box(shape=(4, 6)"),
    (lambda: Box((4,), (2, 0), (2, 0)), "does not lie inside", "Box(shape=(4, 6)"),
    (lambda: Box((2**32, 2**31, 2), (0, 0, 0), (1, 1, 1)), "an index goes up to 2**63.", "split the tensor"),
]


@pytest.mark.parametrize(("build", "fact", "fix"), REFUSED)
def test_laws_and_boxes_that_make_no_sense_are_refused(build: Build, fact: str, fix: str) -> None:
    with pytest.raises(InvalidValueError) as caught:
        build()
    assert fact in caught.value.fact
    assert fix in caught.value.fix


def test_a_box_at_every_limit_is_accepted() -> None:
    assert Box((2**32, 2**31), (2**32 - 1, 2**31), (1, 0)).numel == 0
    assert Box((2**63,), (2**63 - 1,), (1,)).start == 2**63 - 1
    assert Box((), (), ()).is_whole
    assert Box((), (), ()).numel == 1


def unfillable() -> dict[str, tuple[Callable[[], Tensor], Box | None, str, str]]:
    other = Box((8, 6), (0, 0), (5, 6))
    return {
        "int64": (lambda: torch.full((4, 6), 3), None, "A fill cannot write torch.int64;", "float32 tensor"),
        "uint8": (lambda: torch.full((4, 6), 3, dtype=torch.uint8), None, "cannot write torch.uint8;", "float32"),
        "bool": (lambda: torch.ones(4, 6, dtype=torch.bool), None, "cannot write torch.bool;", "float32 tensor"),
        "complex": (lambda: torch.ones(4, 6, dtype=torch.complex64), None, "cannot write torch.complex64;", "float32"),
        "float8": (lambda: torch.ones(4, 6).to(torch.float8_e5m2), None, "cannot write torch.float8_e5m2;", "float32"),
        "expanded": (lambda: torch.ones(1, 6).expand(4, 6), None, "several entries in one place", "tensor.clone()"),
        "window": (lambda: torch.ones(9).unfold(0, 4, 1), None, "several entries in one place", "tensor.clone()"),
        "sparse": (lambda: torch.ones(4, 6).to_sparse(), None, "layout torch.sparse_coo", "strided tensor"),
        "other_box": (lambda: torch.ones(4, 6), other, "A box of sizes (5, 6) cannot be written", "sizes=tuple"),
        "other_dims": (lambda: torch.ones(5, 6, 1), other, "A box of sizes (5, 6) cannot be written", "sizes=tuple"),
    }


@pytest.mark.parametrize("law", [Law.normal(), Law.constant(5.0)])
@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("case", unfillable())
def test_tensors_that_cannot_be_filled_are_refused_and_left_as_they_were(case: str, name: str, law: Law) -> None:
    make, box, fact, fix = unfillable()[case]
    tensor, before = make(), make()
    with backend(name), pytest.raises(InvalidValueError) as caught:
        fill_(tensor, law, KEY, box)
    assert fact in caught.value.fact
    assert fix in caught.value.fix
    left, right = (each.to_dense().to(torch.complex64) for each in (tensor, before))
    assert torch.equal(left, right)
    assert tensor._version == before._version
