"""Haar: the law by moments, signs and Beta laws; orthonormality; the same values however they are multiplied."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from fill_cases import BACKENDS, KERNEL, backend, same_bits
from scipy import stats
from torch import Tensor

from exnihilo.fills import Key, haar, normal
from exnihilo.fills.reflections import SMALL

N = 40_000
# Five alarms for each of 7 sizes: a right law raises any of them for less than one in 20,000 keys.
P = 1e-6
SQUARE = [(2, 2), (3, 3), (5, 5), (16, 16)]
SIZES = [*SQUARE, (5, 3), (3, 7), (4, 1)]
# Float32 results of the same normals, multiplied in another order: the largest difference seen is 3e-7.
SAME = 1e-6


def lapack(key: Key, count: int, rows: int, columns: int, *, signs: bool) -> Tensor:
    """Q of LAPACK's QR factorization, with its own signs or with those that make ``diag(R)`` positive."""
    shape = (count, max(rows, columns), min(rows, columns))
    q, r = torch.linalg.qr(normal(key, count * rows * columns).double().reshape(shape))
    q = q * r.diagonal(dim1=1, dim2=2).sign()[:, None, :] if signs else q
    return q if rows >= columns else q.mT


def one_by_one(key: Key, long: int, short: int) -> np.ndarray:
    """The stated product in float64, one dense reflection after the other, with another library's matrix products."""
    numbers = normal(key, short * (2 * long - short + 1) // 2).numpy().astype(np.float64)
    product, used = np.eye(long), 0
    for k in range(short):
        x = numbers[used : used + long - k]
        used += long - k
        sign = 1.0 if x[0] >= 0 else -1.0
        v = np.concatenate((np.zeros(k), x))
        v[k] += sign * np.linalg.norm(x)
        product = product @ (np.eye(long) - 2 * np.outer(v, v) / (v @ v))
        product[:, k] *= -sign
    return product[:, :short]


def alarms(q: Tensor) -> set[str]:
    """Which properties of the Haar law the matrices lack, each at a probability of P for right ones.

    Trace and determinant are of square ones: E tr² = 1, E tr⁴ = 3, and det = 1 for half. An entry of a Haar matrix,
    and what is between any two fixed unit vectors, is ``2 b - 1`` with ``b ~ Beta((n - 1) / 2, (n - 1) / 2)``.
    """
    q = q.double()
    count, rows, columns = q.shape
    found, law = {}, stats.beta((max(rows, columns) - 1) / 2, (max(rows, columns) - 1) / 2)
    if rows == columns:
        trace = q.diagonal(dim1=1, dim2=2).sum(dim=1).numpy()
        found["tr2"] = stats.ttest_1samp(trace**2, 1.0).pvalue
        found["tr4"] = stats.ttest_1samp(trace**4, 3.0).pvalue
        found["det"] = stats.binomtest(int((torch.linalg.det(q) > 0).sum()), count).pvalue
    left, right = torch.arange(1.0, rows + 1, dtype=torch.float64), torch.arange(1.0, columns + 1, dtype=torch.float64)
    between = torch.einsum("r,mrc,c->m", left / left.norm(), q, right / right.norm())
    for name, values in (("first", q[:, 0, 0]), ("last", q[:, -1, -1]), ("between", between)):
        found[name] = stats.kstest(((values + 1) / 2).clamp(0, 1).numpy(), law.cdf).pvalue
    return {name for name, pvalue in found.items() if pvalue < P}


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_matrices_have_the_haar_law(rows: int, columns: int) -> None:
    assert alarms(haar(Key(0, "law"), N, rows, columns)) == set()


@pytest.mark.parametrize(("rows", "columns"), SIZES)
def test_a_factorization_with_the_signs_of_its_algorithm_is_rejected_and_one_with_positive_signs_is_not(
    rows: int, columns: int
) -> None:
    assert {"first", "between"} <= alarms(lapack(Key(0, "law"), N, rows, columns, signs=False))
    assert alarms(lapack(Key(0, "law"), N, rows, columns, signs=True)) == set()


@pytest.mark.parametrize("n", [2, 3, 5, 16])
def test_matrices_of_determinant_one_alone_are_rejected(n: int) -> None:
    q = haar(Key(0, "law"), N, n, n)
    q[:, :, -1] *= torch.linalg.det(q).sign()[:, None]
    assert "det" in alarms(q)


def test_one_reflection_too_few_is_rejected() -> None:
    q = haar(Key(0, "law"), N, 5, 5)
    q[:, :, -1] *= q[:, -1:, -1].sign()  # as if the last sign were not drawn
    assert alarms(q) >= {"last"}


def test_numbers_of_one_entry_are_signs_as_often_up_as_down() -> None:
    q = haar(Key(0, "law"), N, 1, 1)
    torch.testing.assert_close(q.abs(), torch.ones(N, 1, 1), rtol=0, atol=SAME)
    assert stats.binomtest(int((q > 0).sum()), N).pvalue > P


SHAPES = [
    (1, 1, 1),
    (1, 1, 9),
    (1, 9, 1),
    (3, 7, 5),
    (2, 5, 7),
    (5, 64, 64),
    (1, 65, 64),
    (12, 96, 160),
    (2, 128, 128),
    (2, 128, 129),
    (1, 257, 257),
    (1, 1000, 300),
    (1, 300, 1000),
    (1, 1024, 1024),
]


@pytest.mark.parametrize(("count", "rows", "columns"), SHAPES)
def test_the_shorter_side_is_orthonormal_as_a_factorization_leaves_it(count: int, rows: int, columns: int) -> None:
    q = haar(Key(0, "defect"), count, rows, columns)
    assert q.dtype == torch.float32 and q.shape == (count, rows, columns) and q.is_contiguous()
    q = (q if rows >= columns else q.mT).double()
    assert (q.mT @ q - torch.eye(q.shape[2], dtype=torch.float64)).abs().max() <= 1e-6


@pytest.mark.parametrize(
    ("long", "short"), [(1, 1), (2, 2), (9, 1), (33, 33), (128, 128), (150, 150), (200, 70), (301, 300)]
)
def test_matrices_are_the_stated_product_and_wide_ones_its_transpose(long: int, short: int) -> None:
    expected = one_by_one(Key(0, "product"), long, short)
    np.testing.assert_allclose(haar(Key(0, "product"), 1, long, short)[0].numpy(), expected, rtol=0, atol=SAME)
    if long > short:
        np.testing.assert_allclose(haar(Key(0, "product"), 1, short, long)[0].numpy(), expected.T, rtol=0, atol=SAME)


@pytest.mark.parametrize(("rows", "columns"), [(8, 8), (96, 96), (130, 60), (60, 130)])
def test_a_matrix_does_not_depend_on_how_many_follow_it(rows: int, columns: int) -> None:
    many = haar(Key(0, "stack"), 20, rows, columns)
    torch.testing.assert_close(haar(Key(0, "stack"), 2, rows, columns), many[:2], rtol=0, atol=SAME)
    assert (many[0] - many[1]).abs().max() > 0.1


def test_no_more_normals_are_drawn_than_the_reflections_have_entries(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def counted(key: Key, n: int) -> Tensor:
        drawn.append(n)
        return normal(key, n)

    monkeypatch.setattr("exnihilo.fills.reflections.normal", counted)
    haar(Key(0, "w"), 2, 5, 3)
    haar(Key(0, "w"), 1, 4, 4)
    assert drawn == [2 * (5 + 4 + 3), 4 + 3 + 2 + 1]


def test_a_normal_that_is_zero_gives_a_sign_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exnihilo.fills.reflections.normal", lambda key, n: torch.zeros(n))
    assert haar(Key(0, "w"), 1, 1, 1).abs().item() == pytest.approx(1.0)


SMALL_SHAPES = [(1, 1, 1), (3, 1, 7), (50, 7, 1), (400, 3, 3), (2, 5, 64), (2, 33, 31), (1, 128, 128), (1, SMALL, 1)]


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(("count", "rows", "columns"), SMALL_SHAPES)
def test_small_matrices_have_the_same_bits_everywhere(name: str, count: int, rows: int, columns: int) -> None:
    with backend("reference"):
        stated = haar(Key(3, "bits"), count, rows, columns)
    with backend(name), threads(2), torch.autocast("cpu", torch.bfloat16), precision("medium"), defaults():
        drawn = haar(Key(3, "bits"), count, rows, columns)
    assert same_bits(drawn, stated)


@pytest.mark.skipif(KERNEL is None, reason="the kernel was not built, or is switched off")
@pytest.mark.parametrize(("rows", "columns"), [(0, 3), (3, 0), (-1, -1), (SMALL + 1, 1), (2, SMALL), (2**40, 2**40)])
def test_the_kernel_refuses_sizes_that_it_has_no_room_for(rows: int, columns: int) -> None:
    with pytest.raises(ValueError, match=f"1 to {SMALL} entries"):
        KERNEL.reflections(0, 0, 1, rows, columns)


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def precision(name: str) -> Iterator[None]:
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(name)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def defaults() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


@pytest.mark.parametrize(
    "state",
    [
        lambda: threads(2),
        lambda: torch.autocast("cpu", torch.bfloat16),
        lambda: precision("high"),
        lambda: precision("medium"),
        defaults,
        torch.inference_mode,
    ],
    ids=["threads", "autocast", "high", "medium", "defaults", "inference"],
)
@pytest.mark.parametrize(("count", "rows", "columns"), [(1, 512, 512), (4, 100, 170)])
def test_values_are_the_same_under_whatever_pytorch_is_set_to(state, count: int, rows: int, columns: int) -> None:
    with threads(1):
        alone = haar(Key(0, "state"), count, rows, columns)
        assert torch.equal(alone, haar(Key(0, "state"), count, rows, columns))
    with state():
        other = haar(Key(0, "state"), count, rows, columns)
    assert other.dtype == torch.float32 and other.device.type == "cpu"
    assert (other - alone).abs().max() <= SAME
