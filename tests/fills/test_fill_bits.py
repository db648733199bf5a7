"""One law, one key, one index: one value, whatever computes it and wherever it is written."""

import ctypes
import math
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
import torch
from fill_cases import BACKENDS, KERNEL, KEY, LAWS, LEVELS, backend, elements, same_bits, threads
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from exnihilo.fills import Box, Key, Law, bits, fill_, values
from exnihilo.fills.fill import DTYPES
from exnihilo.fills.laws import Kind

compiled_only = pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
THREADED = 2**19 + 2**18 + 12_345  # three shares, the last one no whole number of chunks

# The starts meet a tile, a group of tiles and a chunk of the kernel in all ways.
STARTS = st.one_of(st.integers(0, 3000), st.integers(2**40, 2**40 + 3000), st.integers(2**62, 2**63 - 10_000))


# --- backends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("start", [0, 2**40 + 77])
def test_every_instruction_set_equals_the_reference(law: str, level: str, start: int) -> None:
    n = 2**17 + 1003
    with backend("reference"):
        expected = elements(LAWS[law], start, n)
    with backend(level):
        assert same_bits(elements(LAWS[law], start, n), expected)


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("level", LEVELS)
def test_every_instruction_set_equals_the_reference_on_millions_of_words(law: str, level: str) -> None:
    """2**24 words: enough to meet, of the 2**24 values that a float32 in [1/2, 1) takes, most."""
    for start in range(0, 2**24, 2**22):
        with backend("reference"):
            expected = elements(LAWS[law], start, 2**22, Key(9, "millions"))
        with backend(level):
            assert same_bits(elements(LAWS[law], start, 2**22, Key(9, "millions")), expected)


@pytest.mark.parametrize("level", LEVELS)
def test_the_word_at_the_split_is_on_the_upper_side_everywhere(level: str) -> None:
    """A split has 24 bits: only a word whose last 8 are zero can be one, such as the first of these."""
    word = bits(KEY, 4096).astype(object)
    at = next(index for index, value in enumerate(word) if value % 256 == 0)
    law = Law(Kind.TRUNCATED_TAILS, (*LAWS["tails"].parameters[:-1], float(word[at])))
    with backend("reference"):
        expected = elements(law, at, 1)
    with backend(level):
        assert same_bits(elements(law, at, 1), expected)


def test_no_law_gives_a_nan_and_all_but_one_are_finite() -> None:
    for name, law in LAWS.items():
        drawn = elements(law, 0, 2**17)
        assert not drawn.isnan().any()
        assert name == "normal_too_large" or drawn.isfinite().all()
    assert elements(LAWS["normal_too_large"], 0, 2**17).isinf().any()


DIGESTS = """
import hashlib, torch
from fill_cases import KEY, LAWS
from exnihilo.fills import Box, bits, fill_, permutation
from exnihilo.fills.backends import describe
found = hashlib.sha256()
for law in LAWS.values():
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        out = torch.empty(7, 5, 31, dtype=dtype).permute(2, 0, 1)
        fill_(out, law, KEY, Box((40, 9, 8), (3, 1, 2), (31, 7, 5)))
        found.update(out.contiguous().view(torch.uint8).numpy().tobytes())
found.update(bits(KEY, 1000, start=99).tobytes() + permutation(KEY, 99).numpy().tobytes())
print(describe(), found.hexdigest())
"""


def digest(**environment: str) -> list[str]:
    command = [sys.executable, "-W", "error", "-c", DIGESTS]
    paths = os.pathsep.join([os.path.dirname(__file__), *sys.path])  # noqa: PTH120
    env = {**os.environ, "PYTHONPATH": paths, **environment}
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.rsplit(maxsplit=1)


@compiled_only
def test_kernels_can_be_switched_off_and_the_bits_stay() -> None:
    assert KERNEL is not None
    (name, bits), (plain, equal) = digest(EXNIHILO_FILLS=""), digest(EXNIHILO_FILLS="reference")
    assert (name.strip(), plain.strip()) == (f"compiled, {LEVELS[-1]}", "reference")
    assert equal == bits


# --- how the work is cut ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", ["uniform", "normal", "center", "tails", "rademacher"])
@pytest.mark.parametrize("name", BACKENDS)
@settings(max_examples=15)
@given(start=STARTS, before=st.integers(0, 300), n=st.integers(0, 2500), after=st.integers(0, 300))
def test_an_element_does_not_depend_on_what_is_drawn_around_it(
    name: str, law: str, start: int, before: int, n: int, after: int
) -> None:
    with backend(name):
        around = elements(LAWS[law], start, before + n + after)
        assert same_bits(elements(LAWS[law], start + before, n), around[before : before + n])


@compiled_only
@pytest.mark.parametrize("dtype", DTYPES)
@settings(max_examples=40)
@given(start=STARTS, before=st.integers(0, 1100), n=st.integers(0, 2500))
def test_the_chunks_of_a_converted_fill_leave_no_seams(dtype: torch.dtype, start: int, before: int, n: int) -> None:
    whole = Box((2**63,), (start,), (before + n,))
    part = Box((2**63,), (start + before,), (n,))
    long, short = torch.empty(before + n, dtype=dtype), torch.empty(n, dtype=dtype)
    fill_(long, Law.normal(), KEY, whole)
    assert same_bits(fill_(short, Law.normal(), KEY, part), long[before:])


@compiled_only
@pytest.mark.parametrize("count", [2, 3, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("arranged", ["flat", "permuted", "box", "strided"])
def test_threads_change_no_bit(count: int, dtype: torch.dtype, arranged: str) -> None:
    rows = THREADED // 641

    def filled() -> Tensor:
        match arranged:
            case "flat":
                return fill_(torch.zeros(THREADED, dtype=dtype), Law.normal(), KEY)
            case "permuted":
                return fill_(torch.zeros(641, rows, dtype=dtype).t(), Law.normal(), KEY)
            case "strided":
                return fill_(torch.zeros(rows, 2 * 641, dtype=dtype)[:, ::2], Law.normal(), KEY)
            case _:
                box = Box((rows + 9, 1000), (4, 5), (rows, 641))
                return fill_(torch.zeros(rows, 641, dtype=dtype), Law.normal(), KEY, box)

    with threads(1):
        expected = filled()
    with threads(count):
        assert same_bits(filled(), expected)


@compiled_only
@pytest.mark.parametrize("n", [2**19 - 1, 2**19, 2**19 + 1, 3 * 2**18 - 1, 3 * 2**18])
def test_shares_meet_without_gap_or_overlap_at_the_sizes_where_their_number_changes(n: int) -> None:
    """One element after the tensor is left alone, too."""
    room = torch.full((n + 1,), 9.0)
    with threads(4):
        fill_(room[:n], Law.uniform(), KEY)
    assert same_bits(room[:n], elements(Law.uniform(), 0, n))
    assert room[n] == 9.0


# --- dtypes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("law", LAWS)
def test_other_dtypes_get_the_float32_values_rounded(name: str, dtype: torch.dtype, law: str) -> None:
    with backend(name):
        single = fill_(torch.empty(5003), LAWS[law], KEY)
        assert same_bits(fill_(torch.empty(5003, dtype=dtype), LAWS[law], KEY), single.to(dtype))


def float16_midpoints() -> Tensor:
    """Every value of float16 up to 2**16, what lies in the middle to its next, and that one's neighbors in float32."""
    exact = torch.arange(0x7C00, dtype=torch.int16).view(torch.float16).float()
    after = torch.cat((exact[1:], torch.tensor([65536.0])))
    middle = ((exact.double() + after.double()) / 2).float()
    bits = torch.cat((exact, middle)).view(torch.int32)
    return torch.cat((bits, bits + 1, (bits - 1).clamp_min(0)))


def bfloat16_midpoints() -> Tensor:
    """Every value of bfloat16, what lies in the middle to its next, and their neighbors in float32; no NaN."""
    upper = torch.arange(0x7F80, dtype=torch.int32) << 16
    return torch.cat([upper + lower for lower in (0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF)])


@compiled_only
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_kernel_rounds_each_tie_and_its_neighbors_as_pytorch_does(level: str, dtype: torch.dtype) -> None:
    """A uniform law of no width is one value, exactly; all signs, subnormal numbers, and what overflows."""
    patterns = float16_midpoints() if dtype == torch.float16 else bfloat16_midpoints()
    if level != LEVELS[-1]:
        patterns = patterns[::7]
    single = patterns.view(torch.float32)
    single = torch.cat((single, -single[::3], torch.tensor([math.inf, -math.inf, 3.4e38, -3.4e38])))
    found = torch.empty(len(single), dtype=dtype)
    assert KERNEL is not None
    fill, number, address = KERNEL.fill, DTYPES[dtype], found.data_ptr()
    with backend(level):
        for index, value in enumerate(single.tolist()):
            step = math.copysign(0.0, value)  # -0.0 + 0.0 is 0.0
            fill(Kind.UNIFORM, number, 0, (value, step), address + 2 * index, 0, 1)
    assert same_bits(found, single.to(dtype))


@compiled_only
@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("largest", [2.0**-130, 2.0**-24, 2.0**-14, 1.0, 2.0**17, 2.0**127])
def test_whole_vectors_are_rounded_as_single_values_are(level: str, dtype: torch.dtype, largest: float) -> None:
    """The 24-bit grid below each power of 2 has ties of both dtypes in it."""
    for sign in (1.0, -1.0):
        law = Law(Kind.UNIFORM, (0.0, sign * largest * 2.0**-24))
        with backend(level):
            single = fill_(torch.empty(2**17), law, KEY)
            found = fill_(torch.empty(2**17, dtype=dtype), law, KEY)
        assert same_bits(found, single.to(dtype))


@pytest.mark.parametrize("value", [1e6, -1e6, 65519.0, 65520.0, 1e-9, math.inf, 0.1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_constants_are_rounded_like_all_other_values(value: float, dtype: torch.dtype) -> None:
    single = torch.full((3,), value)
    assert same_bits(fill_(torch.empty(3, dtype=dtype), Law.constant(value), KEY), single.to(dtype))


# --- boxes and memory -------------------------------------------------------------------------------------------------


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Of 0 to 4 dims, some of size 1, empty ones too."""
    shape = draw(st.lists(st.one_of(st.just(1), st.integers(1, 9), st.integers(1, 70)), min_size=0, max_size=4))
    offsets = [draw(st.integers(0, size)) for size in shape]
    sizes = [draw(st.integers(0, size - offset)) for size, offset in zip(shape, offsets, strict=True)]
    return Box(tuple(shape), tuple(offsets), tuple(sizes))


@st.composite
def memories(draw: st.DrawFn, sizes: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """A tensor of these sizes within some storage: dims in any order, steps above 1, an offset; and that storage."""
    order = draw(st.permutations(range(len(sizes))))
    steps = [draw(st.integers(1, 3)) for _ in sizes]
    offset = draw(st.integers(0, 5))
    strides, reach = [0] * len(sizes), 1
    for dim in order:
        strides[dim] = reach * steps[dim]
        reach = strides[dim] * max(sizes[dim], 1)
    storage = torch.full((offset + reach + 5,), 99.0, dtype=dtype)
    return storage.as_strided(sizes, strides, offset), storage


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("law", ["normal", "tails"])
@settings(max_examples=60)
@given(data=st.data())
def test_a_box_in_any_memory_is_the_slice_of_the_whole(name: str, law: str, data: st.DataObject) -> None:
    box = data.draw(boxes())
    dtype = data.draw(st.sampled_from(list(DTYPES)))
    tensor, storage = data.draw(memories(box.sizes, dtype))
    before = storage.clone()
    with backend(name):
        whole = fill_(torch.empty(box.shape, dtype=dtype), LAWS[law], KEY)
        assert fill_(tensor, LAWS[law], KEY, box) is tensor
    assert same_bits(tensor, whole[box.slices])
    tensor.fill_(99.0)
    assert same_bits(storage, before)  # nothing around it was written


@pytest.mark.parametrize("name", BACKENDS)
def test_a_tensor_of_no_dims_is_the_first_element(name: str) -> None:
    with backend(name):
        for dtype in DTYPES:
            alone = fill_(torch.empty((), dtype=dtype), Law.normal(), KEY)
            assert same_bits(alone, fill_(torch.empty(3, dtype=dtype), Law.normal(), KEY)[0])


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize("shape", [(0,), (3, 0), (0, 2**62, 2**62), (5, 0, 1)])
def test_an_empty_tensor_stays_as_it_is(name: str, shape: tuple[int, ...]) -> None:
    with backend(name):
        assert values(Law.normal(), KEY, Box(shape, (0,) * len(shape), tuple(min(n, 1) for n in shape))).numel() == 0


@pytest.mark.parametrize("name", BACKENDS)
def test_the_last_of_2_to_the_63_elements_can_be_written(name: str) -> None:
    with backend(name):
        end = elements(Law.normal(), 2**63 - 70, 70)
        for shape in ((2**63, 1), (1, 2**63), (2**31, 2**32)):
            box = Box(shape, tuple(size - 1 for size in shape), (1, 1))
            assert same_bits(values(Law.normal(), KEY, box)[0], end[-1:])
        row = values(Law.normal(), KEY, Box((2**31, 2**32), (2**31 - 1, 2**32 - 70), (1, 70)))
        assert same_bits(row[0], end)


@pytest.mark.parametrize("name", BACKENDS)
def test_more_dims_than_usual_are_written(name: str) -> None:
    """No two of 12 dims can be joined in memory."""
    tensor = torch.empty((2,) * 12).permute(*range(11, -1, -1))
    with backend(name):
        fill_(tensor, Law.normal(), KEY)
        assert same_bits(tensor, values(Law.normal(), KEY, Box.whole((2,) * 12)))


def channels_last() -> Tensor:
    return torch.empty(8, 6, 3, 3).to(memory_format=torch.channels_last)


class Wrapped(Tensor):
    """A subclass that does nothing of its own."""


@pytest.mark.parametrize("name", BACKENDS)
@pytest.mark.parametrize(
    "make",
    [
        channels_last,
        lambda: nn.Parameter(torch.empty(8, 6, 3, 3)),
        lambda: torch.empty(8, 6, 3, 3).as_subclass(Wrapped),
        lambda: torch.empty(8, 6, 3, 3, dtype=torch.complex64).conj().imag,  # lazily negated
        lambda: torch.empty(8, 6, 3, 3, dtype=torch.complex64).real,
    ],
)
def test_every_kind_of_memory_gets_the_same_values(name: str, make: Callable[[], Tensor]) -> None:
    with backend(name):
        found = fill_(make(), Law.normal(), KEY).detach().as_subclass(Tensor)
        assert same_bits(found.clone(), values(Law.normal(), KEY, Box.whole((8, 6, 3, 3))))


@pytest.mark.skipif(sys.byteorder == "big" or KERNEL is None, reason="reads memory byte by byte")
def test_memory_need_not_lie_at_a_border_of_its_dtype() -> None:
    """As of files that are mapped into memory at any offset."""
    room = (ctypes.c_char * 4099)()
    tensor = torch.frombuffer(room, dtype=torch.float32, count=1024, offset=3)
    assert same_bits(fill_(tensor, Law.normal(), KEY).clone(), elements(Law.normal(), 0, 1024))


@pytest.mark.parametrize("default", [torch.bfloat16, torch.float64])
def test_a_constant_does_not_depend_on_the_default_dtype(default: torch.dtype) -> None:
    before = torch.get_default_dtype()
    torch.set_default_dtype(default)
    try:
        written = fill_(torch.empty(2, dtype=torch.float32), Law.constant(0.1), KEY)
    finally:
        torch.set_default_dtype(before)
    assert written.tolist() == torch.tensor([0.1, 0.1], dtype=torch.float32).tolist()


@pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
@pytest.mark.parametrize("rows", [4, 1000])
def test_a_tensor_whose_memory_was_given_back_is_refused(rows: int) -> None:
    freed = torch.empty(rows, 64)
    turned = freed.T
    freed.untyped_storage().resize_(0)
    for tensor in (freed, turned):
        with pytest.raises(ValueError, match="not allocated"):
            fill_(tensor, Law.normal(), KEY)
