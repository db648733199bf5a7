"""Tasks against scikit-learn's own loaders, known counts, and small files of every kind."""

import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import datasets
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.preprocessing import StandardScaler

from exnihilo.errors import InvalidValueError, UnknownNameError
from exnihilo.lab.tasks import TASK_NAMES, from_arrays, load, split, task_named

# Rows, inputs, classes (1 for a regression), as the data sets' own papers and pages state them.
KNOWN = {
    "digits": (1797, 64, 10),
    "breast_cancer": (569, 30, 2),
    "wine": (178, 13, 3),
    "diabetes": (442, 10, 1),
    "teacher_student": (1500, 6, 4),
    "spirals": (900, 2, 3),
    "deep_linear": (600, 10, 1),
}
LOADERS = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
    "diabetes": datasets.load_diabetes,
}


def rows_of(task, parts):
    return [part.rows for part in (parts.train, parts.validation, parts.test)]


def test_every_task_has_its_known_counts():
    assert {*KNOWN, "characters"} == set(TASK_NAMES)  # the text has tests of its own, in test_alone.py
    for name, (num_rows, num_inputs, num_outputs) in KNOWN.items():
        task, dataset = task_named(name), load(task_named(name))
        assert (task.num_rows, task.num_inputs, task.num_outputs) == (num_rows, num_inputs, num_outputs)
        assert dataset.inputs.shape == (num_rows, num_inputs)
        assert dataset.inputs.dtype == torch.float32
        if num_outputs == 1:
            assert task.kind == "regression"
            assert (dataset.targets.dtype, tuple(dataset.targets.shape)) == (torch.float32, (num_rows, 1))
        else:
            assert task.kind == "classification"
            assert (dataset.targets.dtype, tuple(dataset.targets.shape)) == (torch.int64, (num_rows,))
            assert sorted(set(dataset.targets.tolist())) == list(range(num_outputs))
            assert len(task.class_names) == num_outputs


@pytest.mark.parametrize("name", LOADERS)
def test_the_shipped_tasks_hold_the_rows_of_scikit_learn(name):
    bunch, dataset = LOADERS[name](), load(task_named(name))
    assert np.array_equal(dataset.inputs.numpy(), bunch.data.astype(np.float32))
    assert np.array_equal(dataset.targets.numpy().reshape(-1), bunch.target.astype(dataset.targets.numpy().dtype))


def test_the_class_names_are_those_of_the_data():
    assert task_named("breast_cancer").class_names == ("malignant", "benign")
    assert task_named("digits").class_names == tuple("0123456789")


def test_a_task_is_a_plain_value_that_survives_pickling_and_can_be_a_key():
    task = from_arrays(np.eye(10), [0, 1] * 5, name="eye")
    assert pickle.loads(pickle.dumps(task)) == task
    assert {task: 1}[pickle.loads(pickle.dumps(task))] == 1
    assert load(pickle.loads(pickle.dumps(task))).inputs.equal(torch.eye(10))


def test_an_unknown_task_names_the_nearest_one():
    with pytest.raises(UnknownNameError) as caught:
        task_named("digit")
    assert str(caught.value) == (
        "Unknown task 'digit'. Did you mean 'digits'?\n"
        "  Known tasks: breast_cancer, characters, deep_linear, diabetes, digits, spirals, teacher_student, wine\n"
        "  Fix: use 'digits'\n"
        "  [unknown-name]  docs/errors.md#unknown-name"
    )


def test_an_unknown_kind_is_refused():
    with pytest.raises(InvalidValueError, match=r"kind is 'classes'; it must be one of: classification, regression\."):
        from_arrays(np.eye(10), range(10), kind="classes")


def test_the_generated_tasks_are_the_same_in_another_process():
    program = (
        "import hashlib, torch; from exnihilo.lab.tasks import load, task_named; torch.manual_seed(7);"
        "print([hashlib.sha256(load(task_named(n)).inputs.numpy().tobytes()).hexdigest()"
        " for n in ('teacher_student', 'spirals', 'deep_linear')])"
    )
    first, second = (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    )
    assert first == second


def test_a_linear_model_solves_the_linear_teacher_and_not_the_others():
    scores = {}
    for name in ("teacher_student", "spirals", "deep_linear"):
        task = task_named(name)
        parts = split(task, load(task), seed=0)
        model = LinearRegression() if task.kind == "regression" else LogisticRegression()
        model.fit(parts.train.inputs, parts.train.targets.squeeze())
        scores[name] = model.score(parts.test.inputs, parts.test.targets.squeeze())
    assert scores["deep_linear"] > 0.99
    assert 0.3 < scores["spirals"] < 0.6
    assert 0.5 < scores["teacher_student"] < 0.9


@pytest.mark.parametrize("name", TASK_NAMES)
def test_the_parts_of_a_split_hold_every_row_once_in_the_stated_shares(name):
    task = task_named(name)
    rows = rows_of(task, split(task, load(task), seed=3))
    assert sorted(torch.cat(rows).tolist()) == list(range(task.num_rows))
    shares = [len(chosen) / task.num_rows for chosen in rows]
    assert shares == pytest.approx([0.6, 0.2, 0.2], abs=0.015)


@pytest.mark.parametrize("name", ["digits", "breast_cancer", "wine"])
def test_each_part_of_a_split_has_each_class_in_its_share(name):
    task, targets = task_named(name), LOADERS[name]().target
    whole = np.bincount(targets) / len(targets)
    for rows in rows_of(task, split(task, load(task), seed=5)):
        counts = np.bincount(targets[rows.numpy()], minlength=task.num_outputs)
        assert np.all(np.abs(counts - whole * len(rows)) < 2.0)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_inputs_and_regression_targets_are_standardized_by_the_training_rows_alone(name):
    task, bunch = task_named(name), LOADERS[name]()
    parts = split(task, load(task), seed=1)
    train = parts.train.rows.numpy()
    scaler = StandardScaler().fit(bunch.data.astype(np.float32).astype(np.float64)[train])
    for part in (parts.train, parts.validation, parts.test):
        expected = scaler.transform(bunch.data[part.rows.numpy()])
        np.testing.assert_allclose(part.inputs.numpy(), expected, rtol=1e-5, atol=1e-6)
        if task.kind == "regression":
            target_scaler = StandardScaler().fit(bunch.target[train, None])
            expected = target_scaler.transform(bunch.target[part.rows.numpy(), None])
            np.testing.assert_allclose(part.targets.numpy(), expected, rtol=1e-5, atol=1e-6)
        else:
            assert np.array_equal(part.targets.numpy(), bunch.target[part.rows.numpy()])


def test_a_column_that_is_constant_in_the_training_rows_becomes_exactly_zero():
    # 0.1 is no float: a std of equal values that is not exactly 0 would blow their residue up to ±1.
    x = np.column_stack([np.full(50, 0.1), np.arange(50.0)])
    task = from_arrays(x, np.arange(50) % 2, name="constant")
    parts = split(task, load(task), seed=0)
    for part in (parts.train, parts.validation, parts.test):
        assert part.inputs[:, 0].abs().max() == 0.0
    assert part.inputs[:, 1].abs().max() > 0.0


def test_a_split_is_the_same_bits_for_the_same_seed_and_other_rows_for_another():
    task = task_named("digits")
    dataset = load(task)
    first, again, other = (split(task, dataset, seed) for seed in (4, 4, 5))
    for part in ("train", "validation", "test"):
        assert getattr(first, part).inputs.equal(getattr(again, part).inputs)
        assert getattr(first, part).rows.equal(getattr(again, part).rows)
    assert not first.train.rows.equal(other.train.rows)
    assert len(first.train.rows) == len(other.train.rows)


def test_the_training_rows_of_a_split_are_shuffled_across_classes():
    task = task_named("wine")
    targets = split(task, load(task), seed=0).train.targets
    assert int((targets.diff() < 0).sum()) > 10


def test_loading_and_splitting_leave_the_global_random_states_alone():
    before = torch.get_rng_state(), np.random.get_state()[1].tobytes()  # noqa: NPY002  the state under test
    load.cache_clear()
    for name in TASK_NAMES:
        task = task_named(name)
        split(task, load(task), seed=9)
    assert torch.get_rng_state().equal(before[0])
    assert np.random.get_state()[1].tobytes() == before[1]  # noqa: NPY002


@settings(max_examples=40, deadline=None)
@given(
    counts=st.lists(st.integers(5, 30), min_size=2, max_size=5),
    num_inputs=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_classes_of_at_least_five_rows_can_be_split(counts, num_inputs, seed):
    labels = np.repeat(np.arange(len(counts)), counts)
    x = np.arange(len(labels) * num_inputs, dtype=np.float64).reshape(len(labels), num_inputs)
    task = from_arrays(x, labels, name="property")
    parts = split(task, load(task), seed)
    rows = rows_of(task, parts)
    assert sorted(torch.cat(rows).tolist()) == list(range(len(labels)))
    for part in (parts.train, parts.validation, parts.test):
        assert set(part.targets.tolist()) == set(range(len(counts)))
        assert torch.isfinite(part.inputs).all()
        assert part.targets.tolist() == labels[part.rows.numpy()].tolist()
