"""A user's files and arrays: what they become, and each way in which they cannot be used."""

import os
import re

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from exnihilo.errors import DataError
from exnihilo.lab.tasks import from_arrays, from_file, load, split


def write_csv(folder, text, name="data.csv"):
    path = folder / name
    path.write_text(text)
    return path


def flowers(num_rows=12):
    lines = [f"{i * 0.5},{10 - i},{'iris' if i % 2 else 'rose'}" for i in range(num_rows)]
    return "\n".join(["length,width,species", *lines]) + "\n"


def message(caught):
    return str(caught.value)


def test_text_in_the_target_makes_classes_in_the_order_of_their_names(tmp_path):
    task = from_file(write_csv(tmp_path, flowers()), target="species")
    dataset = load(task)
    assert (task.kind, task.class_names, task.num_inputs, task.num_rows) == ("classification", ("iris", "rose"), 2, 12)
    assert dataset.targets.tolist() == [1, 0] * 6
    assert dataset.inputs[3].tolist() == [1.5, 7.0]


def test_the_target_may_stand_in_any_column(tmp_path):
    lines = [f"{i},{'ab'[i % 2]},{2 * i}" for i in range(10)]
    task = from_file(write_csv(tmp_path, "\n".join(["x,target,y", *lines])))
    assert load(task).inputs[4].tolist() == [4.0, 8.0]


@pytest.mark.parametrize(
    ("targets", "kind"),
    [
        ([i % 3 for i in range(30)], "classification"),
        (list(range(30)), "regression"),
        ([i % 7 for i in range(30)], "regression"),
        ([i % 2 + 0.5 for i in range(30)], "regression"),
        ([bool(i % 2) for i in range(30)], "classification"),
        ([str(i % 3) for i in range(30)], "classification"),
    ],
)
def test_the_kind_is_inferred_from_the_target(targets, kind, tmp_path):
    x = np.arange(60.0).reshape(30, 2)
    assert from_arrays(x, targets).kind == kind
    table = pa.table({"a": x[:, 0], "target": targets})
    pyarrow.parquet.write_table(table, tmp_path / "data.parquet")
    assert from_file(tmp_path / "data.parquet").kind == kind


def test_the_kind_can_be_said():
    x, y = np.arange(20.0).reshape(10, 2), [0, 1] * 5
    assert from_arrays(x, y).kind == "classification"
    task = from_arrays(x, y, kind="regression")
    assert (task.kind, task.num_outputs) == ("regression", 1)
    assert load(task).targets.tolist() == [[0.0], [1.0]] * 5


def test_csv_parquet_npz_and_arrays_of_the_same_rows_are_the_same_rows(tmp_path):
    x = np.array([[i * 0.25, 7 - i] for i in range(15)], dtype=np.float32)
    y = [i % 3 for i in range(15)]
    lines = [f"{a},{b},{c}" for (a, b), c in zip(x.tolist(), y, strict=True)]
    write_csv(tmp_path, "\n".join(["a,b,target", *lines]))
    pyarrow.parquet.write_table(pa.table({"a": x[:, 0], "b": x[:, 1], "target": y}), tmp_path / "data.parquet")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    tasks = [from_file(tmp_path / f"data.{ending}") for ending in ("csv", "parquet", "npz")]
    tasks.append(from_arrays(torch.from_numpy(x), torch.tensor(y), name="data"))
    assert len({task.name for task in tasks}) == 1
    for task in tasks:
        assert load(task).inputs.equal(torch.from_numpy(x))
        assert load(task).targets.tolist() == y


def test_the_name_is_the_stem_with_eight_hex_digits_that_follow_the_rows(tmp_path):
    first = from_file(write_csv(tmp_path, flowers(), "my flowers.csv"), target="species")
    second = from_file(write_csv(tmp_path, flowers(13), "my flowers.csv"), target="species")
    other_target = from_file(write_csv(tmp_path, flowers().replace("iris", "1").replace("rose", "2")), target="width")
    assert re.fullmatch(r"my flowers-[0-9a-f]{8}", first.name)
    assert len({task.name.rsplit("-", 1)[1] for task in (first, second, other_target)}) == 3


def test_the_same_inputs_with_other_targets_are_another_task():
    x = np.arange(20.0).reshape(10, 2)
    assert from_arrays(x, [0, 1] * 5).name != from_arrays(x, [1, 0] * 5).name
    assert from_arrays(x, [0, 1] * 5).name != from_arrays(x, [0, 1] * 5, kind="regression").name


def test_images_keep_their_shape_and_are_flattened():
    x = np.arange(10 * 2 * 3 * 4, dtype=np.float32).reshape(10, 2, 3, 4)
    task = from_arrays(x, [0, 1] * 5)
    assert (task.image_shape, task.num_inputs) == ((2, 3, 4), 24)
    assert load(task).inputs[1].tolist() == x[1].reshape(-1).tolist()


def test_a_dictionary_column_of_parquet_is_read_as_its_values(tmp_path):
    species = pa.array(["b", "a"] * 5).dictionary_encode()
    table = pa.table({"x": np.arange(10.0), "target": species})
    pyarrow.parquet.write_table(table, tmp_path / "data.parquet")
    assert from_file(tmp_path / "data.parquet").class_names == ("a", "b")


def test_a_relative_path_is_found_from_another_folder(tmp_path, monkeypatch):
    write_csv(tmp_path, flowers())
    monkeypatch.chdir(tmp_path)
    task = from_file("data.csv", target="species")
    monkeypatch.chdir(os.sep)
    assert load(task).inputs.shape == (12, 2)


def test_a_file_that_changed_since_the_task_was_made_is_refused(tmp_path):
    task = from_file(write_csv(tmp_path, flowers()), target="species")
    write_csv(tmp_path, flowers().replace("0.5", "0.75"))
    with pytest.raises(DataError, match=r"data\.csv' was changed since its task was made\.\n  hash of its rows: "):
        load(task)


def test_a_file_that_moved_but_kept_its_rows_is_the_same_task(tmp_path):
    (tmp_path / "other").mkdir()
    first = from_file(write_csv(tmp_path, flowers()), target="species")
    second = from_file(write_csv(tmp_path / "other", flowers()), target="species")
    assert first.name == second.name


def test_a_missing_file_is_refused_with_the_nearest_one(tmp_path):
    write_csv(tmp_path, flowers(), "flowers.csv")
    with pytest.raises(DataError) as caught:
        from_file(tmp_path / "flower.csv")
    assert message(caught) == (
        f"The data file '{tmp_path}/flower.csv' does not exist.\n"
        "  nearest file there: 'flowers.csv'\n"
        "  Fix: check the path; a relative one starts at the folder where the command runs\n"
        "  [data]  docs/errors.md#data"
    )


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"no such place' does not exist either"):
        from_file(tmp_path / "no such place" / "flower.csv")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match=r"folder\.csv' is not a file\."):
        from_file(tmp_path / "folder.csv")


def test_an_unknown_ending_lists_the_known_ones(tmp_path):
    with pytest.raises(DataError) as caught:
        from_file(write_csv(tmp_path, flowers(), "data.xlsx"))
    assert message(caught).startswith(
        "The ending '.xlsx' of 'data.xlsx' is not known.\n  known endings: .csv, .parquet, .npz\n"
    )


def test_a_missing_target_column_is_refused_with_the_nearest_one(tmp_path):
    with pytest.raises(DataError) as caught:
        from_file(write_csv(tmp_path, flowers()), target="specie")
    assert message(caught) == (
        "The file 'data.csv' has no column 'specie'. Did you mean 'species'?\n"
        "  found columns: length, width, species\n"
        "  Fix: target='species'\n"
        "  [data]  docs/errors.md#data"
    )


def test_without_a_target_column_the_last_column_is_proposed_but_not_taken(tmp_path):
    with pytest.raises(
        DataError, match=r"has no column 'target'\.\n.*\n  Fix: name the target column: target='species'"
    ):
        from_file(write_csv(tmp_path, flowers()))


def test_semicolons_between_columns_are_recognized(tmp_path):
    with pytest.raises(DataError, match=r"Fix: separate the columns by commas"):
        from_file(write_csv(tmp_path, flowers().replace(",", ";")), target="species")


@pytest.mark.parametrize(
    ("old", "new", "first_line"),
    [
        ("\n1.0,", "\ntall,", "Feature column 'length' of 'data.csv' has 'tall' in row 3; it must be a number."),
        ("\n1.0,", "\n,", "Feature column 'length' of 'data.csv' has NaN or nothing in row 3."),
        ("\n1.0,8,", "\n1.0,,", "Feature column 'width' of 'data.csv' has NaN or nothing in row 3."),
        ("\n1.0,", "\nNaN,", "Feature column 'length' of 'data.csv' has NaN or nothing in row 3."),
        ("\n1.0,", "\n-inf,", "Feature column 'length' of 'data.csv' has infinity in row 3."),
        ("\n1.0,", "\n1e300,", "Feature column 'length' of 'data.csv' has 1e+300, over float32, in row 3."),
        ("8,rose", "8,", "The target 'species' of 'data.csv' has no finite value in row 3."),
        ("iris", "rose", "The target 'species' of 'data.csv' is constant: every row has 'rose'."),
        ("length", "width", "The file 'data.csv' has two columns named 'width'."),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_its_column_and_first_row(old, new, first_line, tmp_path):
    text = flowers()
    assert old in text
    with pytest.raises(DataError) as caught:
        from_file(write_csv(tmp_path, text.replace(old, new)), target="species")
    assert message(caught).splitlines()[0] == first_line
    assert "\n  Fix: " in message(caught)


def test_a_date_column_is_no_number(tmp_path):
    lines = [f"2024-01-{i + 1:02},{'ab'[i % 2]}" for i in range(10)]
    with pytest.raises(DataError, match=r"Feature column 'day' .*has datetime\.date.* in row 1; it must be a number"):
        from_file(write_csv(tmp_path, "\n".join(["day,target", *lines])))


def test_missing_whole_numbers_and_booleans_are_found(tmp_path):
    for values, what in (([1, None] * 5, "NaN or nothing in row 2"), ([True, None] * 5, "no value in row 2")):
        pyarrow.parquet.write_table(pa.table({"a": values, "target": [0, 1] * 5}), tmp_path / "data.parquet")
        with pytest.raises(DataError, match=rf"Feature column 'a' of 'data.parquet' has {what}"):
            from_file(tmp_path / "data.parquet")


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("", r"The data file 'data\.csv' is empty\."),
        ("a,target\n", r"The file 'data\.csv' has a header but no rows\."),
        ("target\n1\n2\n", r"The file 'data\.csv' has no feature columns, only the target 'target'\."),
        ("a,target\n1,2\n1,2,3\n", r"The file 'data\.csv' cannot be read as CSV\.\n  reason: .*Expected 2 columns"),
    ],
)
def test_a_file_without_usable_rows_is_refused(text, pattern, tmp_path):
    with pytest.raises(DataError, match=pattern):
        from_file(write_csv(tmp_path, text))


@pytest.mark.parametrize("ending", ["parquet", "npz"])
def test_a_damaged_file_is_refused(ending, tmp_path):
    path = tmp_path / f"data.{ending}"
    path.write_bytes(b"PK\x03\x04 this is neither" * 10)
    with pytest.raises(DataError, match=rf"The file 'data\.{ending}' cannot be read as .*\n  reason: "):
        from_file(path)


def test_a_truncated_npz_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).normal(size=(100, 4)), y=np.arange(100) % 2)
    path.write_bytes(path.read_bytes()[:-400])
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        from_file(path)


def test_an_npz_without_its_arrays_or_with_objects_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, inputs=np.eye(10), y=np.arange(10))
    with pytest.raises(DataError, match=r"has no array 'x'\.(.|\n)*found arrays: inputs, y\n  Fix: numpy\.savez"):
        from_file(path)
    np.savez(path, x=np.eye(10), label=np.arange(10))
    with pytest.raises(DataError, match=r"has no array 'y'\."):
        from_file(path)
    assert from_file(path, target="label", kind="regression").num_rows == 10
    np.savez(path, x=np.array([{"a": 1}] * 10, dtype=object), y=np.arange(10))
    with pytest.raises(DataError, match=r"cannot be read as \.npz"):
        from_file(path)
    np.savez(path, x=np.full((10, 2), "tall"), y=np.arange(10))
    with pytest.raises(DataError, match=r"The array 'x' of 'data\.npz' has no numbers: its dtype is <U4"):
        from_file(path)


@pytest.mark.parametrize(
    ("x", "y", "first_line"),
    [
        (np.eye(10), np.arange(9), "The shapes of 'data' disagree: 'x' (10, 10), 'y' (9,)."),
        (np.eye(10), np.eye(10), "The shapes of 'data' disagree: 'x' (10, 10), 'y' (10, 10)."),
        (np.arange(10.0), np.arange(10), "The array 'x' of 'data' has shape (10,); it must have 2 or 4 dims."),
        (
            np.zeros((10, 8, 8)),
            np.arange(10),
            "The array 'x' of 'data' has shape (10, 8, 8); it must have 2 or 4 dims.",
        ),
        (np.zeros((0, 8)), np.zeros(0), "The array 'x' of 'data' is empty: shape (0, 8)."),
        (np.full((10, 2), np.nan), np.arange(10), "Feature column 'x[:, 0]' of 'data' has NaN or nothing in row 1."),
        (np.eye(10), np.full(10, 3.0), "The target 'y' of 'data' is constant: every row has 3.0."),
        (np.eye(10), [1.0] * 9 + [np.inf], "The target 'y' of 'data' has no finite value in row 10."),
        (np.eye(10), [1j] * 10, "The target 'y' of 'data' has neither numbers nor text: its dtype is complex128."),
        (np.eye(6), np.arange(6.0), "The data 'data' has 6 rows; a split needs at least 10."),
        (
            np.eye(10),
            ["a"] * 9 + ["b"],
            "Class 'b' of the target 'y' of 'data' has 1 row; a split needs at least 5 of each class.",
        ),
    ],
)
def test_arrays_that_cannot_be_used_are_refused(x, y, first_line):
    with pytest.raises(DataError) as caught:
        from_arrays(x, y, name="data")
    assert message(caught).splitlines()[0] == first_line


def test_text_cannot_be_a_regression(tmp_path):
    with pytest.raises(DataError, match=r"The target 'species' of 'data\.csv' is text; a regression needs numbers\."):
        from_file(write_csv(tmp_path, flowers()), target="species", kind="regression")


def test_a_part_whose_targets_are_all_equal_is_refused():
    task = from_arrays(np.eye(20), [0.5] * 19 + [1.0])
    with pytest.raises(DataError, match=r"targets of 'arrays-[0-9a-f]{8}' are all equal in split 0: R² is undefined"):
        split(task, load(task), seed=0)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_numbers_survive_the_way_through_a_csv(data, tmp_path_factory):
    num_rows, num_inputs = data.draw(st.integers(10, 20)), data.draw(st.integers(1, 4))
    numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
    x = data.draw(
        st.lists(st.lists(numbers, min_size=num_inputs, max_size=num_inputs), min_size=num_rows, max_size=num_rows)
    )
    names = [f"column {i}" for i in range(num_inputs)]
    lines = [",".join([*map(repr, row), "ab"[i % 2]]) for i, row in enumerate(x)]
    path = write_csv(tmp_path_factory.mktemp("csv"), "\n".join([",".join([*names, "target"]), *lines]))
    task = from_file(path)
    assert load(task).inputs.tolist() == x
    assert load(task).targets.tolist() == [i % 2 for i in range(num_rows)]
