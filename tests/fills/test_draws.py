"""Draws: pure functions of (key, index). Their laws are measured in test_distributions.py."""

import itertools
import math
import pickle
import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from fill_cases import BACKENDS, backend, same_bits
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from exnihilo.errors import InvalidValueError
from exnihilo.fills import Box, Key, Law, bits, normal, normals, permutation, permutations, uniform, uniforms, values

Draw = Callable[..., np.ndarray]

DRAWS: dict[str, Draw] = {
    "bits": bits,
    "uniform": lambda *args, **kwargs: uniform(*args, **kwargs).numpy(),
    "normal": lambda *args, **kwargs: normal(*args, **kwargs).numpy(),
}


def test_uniforms_are_the_upper_24_bits_of_the_words() -> None:
    key = Key(5, "laws")
    words = bits(key, 300, start=70).astype(object)
    assert uniform(key, 300, start=70).tolist() == [(word >> 8) / 2**24 for word in words]


def test_draws_are_the_values_of_a_fill() -> None:
    """A key's numbers are one sequence, whoever asks for them."""
    key = Key(5, "laws")
    assert torch.equal(normal(key, 30).reshape(5, 6), values(Law.normal(), key, Box.whole((5, 6))))
    assert torch.equal(uniform(key, 30).reshape(5, 6), values(Law.uniform(), key, Box.whole((5, 6))))


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize("name", DRAWS)
@settings(max_examples=25)
@given(n=st.integers(0, 300), more=st.integers(0, 3000), start=st.integers(0, 200))
def test_an_element_does_not_depend_on_how_many_are_drawn(used: str, name: str, n: int, more: int, start: int) -> None:
    draw, key = DRAWS[name], Key(1, "prefix")
    with backend(used):
        whole = draw(key, start + n + more)
        assert draw(key, n, start=start).tobytes() == whole[start : start + n].tobytes()


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize("name", DRAWS)
def test_chunks_leave_no_seams(used: str, name: str) -> None:
    """A draw longer than what the reference makes at once equals its parts."""
    draw, key, n = DRAWS[name], Key(1, "long"), 200_003
    with backend(used):
        whole = draw(key, n)
        parts = [draw(key, min(7919, n - start), start=start) for start in range(0, n, 7919)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize(("many", "one"), [(uniforms, uniform), (normals, normal)])
@pytest.mark.parametrize(
    ("num_keys", "n", "start"), [(1, 5, 0), (7, 64, 3), (300, 1000, 65), (3, 70_001, 9), (0, 4, 0)]
)
def test_many_keys_at_once_draw_what_each_draws_alone(
    used: str, many: Callable[..., Tensor], one: Callable[..., Tensor], num_keys: int, n: int, start: int
) -> None:
    keys = [Key(seed, "row") for seed in range(num_keys)]
    with backend(used):
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


@pytest.mark.parametrize("draw", [bits, uniform, normal])
@pytest.mark.parametrize("start", [2**63 - 9, 2**63, 2**64 + 5])
def test_indices_of_2_to_the_63_and_above_are_refused(draw: Callable[..., object], start: int) -> None:
    draw(Key(0, "w"), 10, start=2**63 - 10)
    with pytest.raises(InvalidValueError) as caught:
        draw(Key(0, "w"), 10, start=start)
    assert str(caught.value).splitlines()[:2] == [
        f"A draw of n=10 elements from start={start} was asked; an index goes up to 2**63.",
        "  Fix: draw by another name: each key has indices of its own",
    ]


@pytest.mark.parametrize("used", BACKENDS)
@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_draws_stay_on_the_cpu_and_in_float32_whatever_the_defaults(used: str, device: str) -> None:
    key, before = Key(0, "defaults"), torch.get_default_dtype()

    def everything() -> list[Tensor]:
        laws = [Law.normal(0.5), Law.uniform(), Law.truncated_normal(), Law.truncated_normal(lower=5.0, upper=math.inf)]
        drawn = [values(law, key, Box.whole((70,))) for law in [*laws, Law.rademacher(), Law.constant(0.5)]]
        return [*drawn, normal(key, 70), uniforms([key, key], 70), permutation(key, 70)]

    expected = everything()
    torch.set_default_dtype(torch.float64)
    try:
        with backend(used), torch.device(device):
            found = everything()
    finally:
        torch.set_default_dtype(before)
    assert all(map(same_bits, found, expected))


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
