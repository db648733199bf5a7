"""Draws: pure functions of (key, index), with the laws that they state."""

import itertools
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from exnihilo.fills.threefry import encrypt
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Key, bits, normal, normals, permutation, permutations, uniform, uniforms

Draw = Callable[..., np.ndarray]

DRAWS: dict[str, Draw] = {
    "bits": bits,
    "uniform": lambda *args, **kwargs: uniform(*args, **kwargs).numpy(),
    "normal": lambda *args, **kwargs: normal(*args, **kwargs).numpy(),
}


def bits_one_by_one(key: Key, index: int) -> int:
    """The stated tile, for one element."""
    block = 32 * (index // 64) + index % 32
    pair = encrypt(key.words[None], np.array([block], np.uint64))
    return int(pair[index % 64 // 32][0, 0])


def test_every_element_is_the_stated_word_of_the_stated_block() -> None:
    key = Key(5, "tile")
    drawn = bits(key, 300)
    assert [bits_one_by_one(key, index) for index in range(300)] == drawn.tolist()
    assert bits_one_by_one(key, 2**40 + 77) == bits(key, 1, start=2**40 + 77)[0]


def test_uniforms_and_normals_are_the_stated_functions_of_the_words() -> None:
    key = Key(5, "laws")
    words = bits(key, 64).astype(object)
    assert uniform(key, 64).tolist() == [(word >> 8) / 2**24 for word in words]
    for cosine_or_sine, half in ((np.cos, slice(0, 32)), (np.sin, slice(32, 64))):
        expected = [
            np.sqrt(-2 * np.log((a + 0.5) / 2**32)) * cosine_or_sine(2 * np.pi * (b / 2**32))
            for a, b in zip(words[:32], words[32:], strict=True)
        ]
        # One float32 ulp: libraries of mathematics round differently.
        np.testing.assert_allclose(normal(key, 64).numpy()[half], expected, rtol=2e-7)


@pytest.mark.parametrize("name", DRAWS)
@given(n=st.integers(0, 300), more=st.integers(0, 3000), start=st.integers(0, 200))
def test_an_element_does_not_depend_on_how_many_are_drawn(name: str, n: int, more: int, start: int) -> None:
    draw, key = DRAWS[name], Key(1, "prefix")
    whole = draw(key, start + n + more)
    assert draw(key, n, start=start).tobytes() == whole[start : start + n].tobytes()


@pytest.mark.parametrize("name", DRAWS)
def test_chunks_leave_no_seams(name: str) -> None:
    """A draw longer than the cipher's chunk equals its parts."""
    draw, key, n = DRAWS[name], Key(1, "long"), 100_003
    whole = draw(key, n)
    parts = [draw(key, min(7919, n - start), start=start) for start in range(0, n, 7919)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize(("many", "one"), [(uniforms, uniform), (normals, normal)])
@pytest.mark.parametrize(
    ("num_keys", "n", "start"), [(1, 5, 0), (7, 64, 3), (300, 1000, 65), (3, 70_001, 9), (0, 4, 0)]
)
def test_many_keys_at_once_draw_what_each_draws_alone(
    many: Callable[..., Tensor], one: Callable[..., Tensor], num_keys: int, n: int, start: int
) -> None:
    keys = [Key(seed, "row") for seed in range(num_keys)]
    rows = many(keys, n, start)
    assert rows.shape == (num_keys, n)
    for row, key in zip(rows, keys, strict=True):
        assert torch.equal(row, one(key, n, start))


def test_draws_are_fresh_contiguous_tensors_on_the_cpu() -> None:
    key = Key(0, "fresh")
    for tensor, dtype in [
        (uniform(key, 70), torch.float32),
        (normal(key, 70, start=5), torch.float32),
        (normals([key, key], 70), torch.float32),
        (permutation(key, 70), torch.int64),
    ]:
        assert (tensor.dtype, tensor.device.type, tensor.is_contiguous()) == (dtype, "cpu", True)
    changed = normal(key, 70)
    changed.zero_()
    assert normal(key, 70).any()


@pytest.mark.parametrize("name", DRAWS)
def test_no_elements_are_an_empty_draw(name: str) -> None:
    assert DRAWS[name](Key(0, "none"), 0).shape == (0,)
    assert permutation(Key(0, "none"), 0).shape == (0,)


@pytest.mark.parametrize("draw", [bits, uniform, normal, permutation])
def test_negative_counts_are_refused(draw: Callable[..., object]) -> None:
    with pytest.raises(InvalidValueError) as caught:
        draw(Key(0, "w"), -1)
    assert str(caught.value).splitlines()[:2] == [
        "A draw of n=-1 elements from start=0 was asked; neither may be negative.",
        "  Fix: normal(key, n=10, start=0)",
    ]


def test_the_global_random_states_are_neither_read_nor_written() -> None:
    def everything() -> list[bytes]:
        key = Key(3, "global")
        drawn = [bits(key, 99), uniform(key, 99).numpy(), normal(key, 99).numpy(), permutation(key, 99).numpy()]
        return [array.tobytes() for array in drawn]

    def states() -> list[bytes]:
        return [
            torch.get_rng_state().numpy().tobytes(),
            pickle.dumps(np.random.get_state()),  # noqa: NPY002 - the legacy state is the global one
            pickle.dumps(random.getstate()),
        ]

    before, first = states(), everything()
    assert states() == before
    with torch.random.fork_rng():
        torch.manual_seed(12345)
        assert everything() == first


def test_values_are_pinned() -> None:
    """A change here is a change of every drawn value: it raises FILLS_VERSION."""
    key = Key(0, "golden")
    assert [f"{word:08x}" for word in bits(key, 4)] == ["d07aa362", "a9f190cf", "5340c220", "0b0f4347"]
    assert permutation(key, 8).tolist() == [3, 4, 2, 1, 7, 5, 6, 0]
    assert normal(key, 3).tolist() == pytest.approx(
        [-0.6296916007995605, 0.5038120150566101, 0.4197860658168793], rel=2e-7
    )


# --- laws -------------------------------------------------------------------------------------------------------------
# n = 2^20 and a Kolmogorov distance below 0.00263: a right law fails once in a million keys; a std or width that is 2 %
# wrong lies at 0.0048 or more.
N = 2**20
DISTANCE = 0.00263


def distance(values: np.ndarray, cdf: Callable[[np.ndarray], np.ndarray]) -> float:
    values = np.sort(values.astype(np.float64))
    steps = np.arange(len(values) + 1) / len(values)
    at = cdf(values)
    return float(max(np.max(steps[1:] - at), np.max(at - steps[:-1])))


def test_uniforms_are_uniform() -> None:
    drawn = uniform(Key(0, "law"), N).numpy()
    assert 0.0 <= drawn.min() < 1e-5
    assert 1.0 - 1e-5 < drawn.max() < 1.0
    assert distance(drawn, stats.uniform.cdf) < DISTANCE
    assert distance(1.02 * drawn, stats.uniform.cdf) > DISTANCE


def test_normals_are_normal() -> None:
    drawn = normal(Key(0, "law"), N).numpy()
    assert distance(drawn, stats.norm.cdf) < DISTANCE
    assert distance(1.02 * drawn, stats.norm.cdf) > DISTANCE
    # Tails: 1 % of the normals beyond 2.576 on both sides, within 5 sigma of a binomial.
    beyond = (np.abs(drawn) > stats.norm.ppf(0.995)).mean()
    assert beyond == pytest.approx(0.01, abs=5 * np.sqrt(0.01 * 0.99 / N))
    assert np.isfinite(drawn).all()


def test_each_bit_is_set_half_of_the_time() -> None:
    words = bits(Key(0, "law"), N)
    for place in range(32):
        share = (words >> np.uint32(place) & np.uint32(1)).mean()
        assert share == pytest.approx(0.5, abs=5 * 0.5 / np.sqrt(N))


@pytest.mark.parametrize("lag", [1, 2, 16, 31, 32, 33, 64])
def test_elements_are_uncorrelated_at_every_lag_of_the_tile(lag: int) -> None:
    """Values and squares: the two halves of a Box-Muller pair lie 32 apart, and share their radius' word."""
    drawn = normal(Key(0, "law"), N).numpy().astype(np.float64)
    for values in (drawn, drawn**2):
        correlation = np.corrcoef(values[:-lag], values[lag:])[0, 1]
        assert abs(correlation) < 5 / np.sqrt(N)


def test_near_keys_are_uncorrelated() -> None:
    rows = normals([Key(seed, name) for seed in (0, 1, 2) for name in ("w", "w/noise", "W")], 2**16).double()
    correlations = torch.corrcoef(rows) - torch.eye(len(rows))
    assert correlations.abs().max().item() < 6 / 2**8


@pytest.mark.parametrize("n", [1, 2, 17, 1000])
def test_permutations_hold_every_index_once(n: int) -> None:
    assert sorted(permutation(Key(0, "order"), n).tolist()) == list(range(n))


def test_all_orders_of_four_are_equally_likely() -> None:
    """24 orders, 9,600 keys: the chi-square of a right law is above 60 once in 30,000 keys."""
    counts = dict.fromkeys(itertools.permutations(range(4)), 0)
    for seed in range(9600):
        counts[tuple(permutation(Key(seed, "order"), 4).tolist())] += 1
    assert sum((count - 400) ** 2 / 400 for count in counts.values()) < 60


def test_each_of_many_permutations_depends_on_its_row_alone() -> None:
    few, many = (permutations(Key(3, "epochs"), 11, count) for count in (2, 50))
    assert torch.equal(few, many[:2])
    assert torch.equal(many[0], permutation(Key(3, "epochs"), 11))
    assert len({tuple(order.tolist()) for order in many}) == 50
    assert all(sorted(order.tolist()) == list(range(11)) for order in many)
