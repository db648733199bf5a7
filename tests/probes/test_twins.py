"""Which units stay equal for ever, against derivations by hand and against training that compares them itself."""

import itertools

import moving
import pytest
import torch
import twins
from torch import nn

from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question


def widths(case):
    question = Question(batch=case.batch, loss=case.loss, criterion=case.criterion)
    return {width.parameter: width for width in learning_of(case.model, question).widths}


@pytest.mark.parametrize("name", twins.TWINS)
@pytest.mark.parametrize("seed", [0, 1])
def test_classes_are_those_of_a_derivation_by_hand(name, seed):
    torch.manual_seed(seed)
    case, classes = twins.TWINS[name]()
    found = widths(case)
    assert {n: sorted(width.classes) for n, width in found.items() if width.classes} == classes
    for n, groups in classes.items():
        assert found[n].effective == found[n].units - sum(len(group) - 1 for group in groups)


@pytest.mark.parametrize("name", twins.TRANSIENT)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_training_tells_apart_is_no_class(name, seed):
    torch.manual_seed(seed)
    found = widths(twins.TRANSIENT[name]())
    assert all(width.effective == width.units and not width.classes for width in found.values())


def rows_of(value, width):
    """One row a unit, as the record counts units: along the last dim of a stack of experts."""
    if value.dim() == 3:
        return value.movedim(-1, 1).reshape(width.units, -1)
    return value.reshape(width.units, -1)


SAME, DIFFERENT = 1e-9, 1e-6


def optimizers():
    yield "SGD", lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9)
    yield "Adam", lambda p: torch.optim.AdamW(p, lr=1e-2)


@pytest.mark.parametrize("optimizer", dict(optimizers()))
@pytest.mark.parametrize("name", twins.TWINS)
def test_after_fifty_steps_units_are_equal_within_classes_and_differ_across(name, optimizer):
    torch.manual_seed(0)
    case, classes = twins.TWINS[name]()
    found = widths(case)
    pairs = moving.trained(case, dict(optimizers())[optimizer], steps=50)
    for n, groups in classes.items():
        before, after = (rows_of(value, found[n]) for value in pairs[n])
        classes_of_units = {unit: group for group in groups for unit in group}
        for i, j in itertools.combinations(range(found[n].units), 2):
            apart = float((after[i] - after[j]).abs().max())
            together = j in classes_of_units.get(i, ())
            if together and torch.equal(before[i], before[j]):  # others agree in sums only
                assert apart < SAME
            elif not together:
                assert apart > DIFFERENT


# From a batch that lacks a class or a word, training would keep what is zero for it as it is.
FROM_EVERY_BATCH = set(twins.TRANSIENT) - {
    "a zero head and classes that the batch lacks",
    "a zero language model's head",
    "a zero table",
}


@pytest.mark.parametrize("name", sorted(FROM_EVERY_BATCH))
def test_after_fifty_steps_units_that_were_equal_differ(name):
    torch.manual_seed(0)
    case = twins.TRANSIENT[name]()
    found = widths(case)
    pairs = moving.trained(case, lambda p: torch.optim.SGD(p, lr=0.2, momentum=0.9), steps=50)
    for n, width in found.items():
        before, after = (rows_of(value, width) for value in pairs[n])
        for i, j in itertools.combinations(range(width.units), 2):
            if torch.equal(before[i], before[j]):
                assert float((after[i] - after[j]).abs().max()) > DIFFERENT


@pytest.mark.parametrize("width", [14, 26, 54, 130])
def test_the_ragged_end_of_a_product_hides_no_twins(width):
    """Kernels sum the last columns in another order than those in whole vectors."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(17, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, 4))
    twins.half_and_half(model[0], model[2])
    found = widths(twins.Case(model, twins.samples(d=17), nn.CrossEntropyLoss()))
    assert found["0.weight"].effective == width // 2


def test_twins_that_the_first_samples_switch_off_are_seen_on_more():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4))
    with torch.no_grad():
        model[0].weight[0] = torch.eye(8)[0]
        model[0].bias[0] = 0.0
    twins.half_and_half(model[0], model[2])
    x, y = twins.samples(32)
    x[:8, 0] = -1.0
    found = widths(twins.Case(model, (x, y), nn.CrossEntropyLoss()))
    assert (0, 4) in found["0.weight"].classes


def test_dropout_that_tells_twins_apart_is_told():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4))
    twins.half_and_half(model[0], model[3])
    case = twins.Case(model, twins.samples(), nn.CrossEntropyLoss())
    assert widths(case)["0.weight"].dropout
    model[2].p = 0.0
    assert not widths(case)["0.weight"].dropout


def test_what_is_dead_is_nobodys_twin():
    torch.manual_seed(0)
    model = twins.mlp(nn.ReLU)
    nn.init.constant_(model[0].weight, 0.1)
    nn.init.constant_(model[0].bias, -100.0)
    assert not any(
        width.classes for width in widths(twins.Case(model, twins.samples(), nn.CrossEntropyLoss())).values()
    )
