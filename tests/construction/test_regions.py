"""Regions against sets of bytes that are counted out."""

import itertools

import pytest
import torch

from exnihilo.construction.regions import Region, are_apart

# Views of a matrix of 6 x 8 numbers of 4 bytes: rows, columns, blocks, transposes, single entries, every other one.
MATRIX = torch.arange(48.0).reshape(6, 8)
VIEWS = {
    "whole": MATRIX,
    "transposed": MATRIX.t(),
    "row": MATRIX[2],
    "rows": MATRIX[1:4],
    "column": MATRIX[:, 3],
    "columns": MATRIX[:, 2:5],
    "last columns": MATRIX[:, 5:],
    "block": MATRIX[1:3, 2:5],
    "entry": MATRIX[4, 4],
    "every other": MATRIX[:, ::2],
    "the others": MATRIX[:, 1::2],
    "every other row": MATRIX[::2],
    "halves": MATRIX.reshape(6, 2, 4)[:, 1],
    "expanded": MATRIX[0].expand(3, 8),
    "nothing": MATRIX[:0],
}


def region(view):
    return Region.of(view.shape, view.stride(), view.storage_offset(), view.element_size())


def counted(view):
    """The bytes of a view, one by one."""
    return {4 * int(entry) + byte for entry in view.flatten().tolist() for byte in range(4)}


@pytest.mark.parametrize("name", VIEWS)
def test_a_region_has_as_many_bytes_as_are_counted_out(name):
    assert region(VIEWS[name]).size == len(counted(VIEWS[name]))


@pytest.mark.parametrize(("first", "second"), [*itertools.product(VIEWS, VIEWS)])
def test_what_is_said_to_cover_or_to_be_apart_is_so(first, second):
    bytes_of_first, bytes_of_second = counted(VIEWS[first]), counted(VIEWS[second])
    if region(VIEWS[first]).covers(region(VIEWS[second])):
        assert bytes_of_second <= bytes_of_first
    if region(VIEWS[first]).is_apart(region(VIEWS[second])):
        assert not bytes_of_second & bytes_of_first


@pytest.mark.parametrize(
    ("first", "second", "is_apart"),
    [("columns", "last columns", True), ("row", "rows", False), ("every other", "the others", True)],
)
def test_bands_of_columns_are_told_apart(first, second, is_apart):
    assert region(VIEWS[first]).is_apart(region(VIEWS[second])) is is_apart


def test_equal_sets_of_bytes_are_equal_regions():
    assert region(VIEWS["whole"]) == region(VIEWS["transposed"])
    assert region(MATRIX.reshape(2, 3, 8)[:, 1:]) == region(MATRIX.reshape(2, 3, 8)[:, 1:].transpose(0, 2))


def test_parts_that_meet_are_not_apart():
    columns = [region(MATRIX[:, place : place + 2]) for place in range(0, 8, 2)]
    assert are_apart(columns)
    assert not are_apart([*columns, region(MATRIX[:, 3:5])])


def test_a_region_is_moved_to_where_the_same_entries_lie_in_another_dtype():
    half, shifted = MATRIX.to(torch.bfloat16), torch.zeros(96, dtype=torch.bfloat16)[48:].view(6, 8)
    for place in (slice(1, 3), (slice(None), slice(2, 5))):
        moved = region(MATRIX[place]).moved(0, region(half).start, 2, 4)
        assert moved == region(half[place])
        assert region(half[place]).moved(0, region(shifted).start, 2, 2) == region(shifted[place])
