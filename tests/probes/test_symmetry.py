"""Which units stay twins, against training that compares them itself."""

import copy

import pytest
import torch
from torch import nn

from checked_models import CRITERION, Recurrent, filled, mlp, vectors, words, zero
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question


def widths(model, batch):
    found = learning_of(model, Question(batch=batch, criterion=CRITERION)).widths
    return {width.parameter: width for width in found}


def duplicated(model):
    """The second half of the first map's units is the first half once more, on both sides."""
    with torch.no_grad():
        model[0].weight[16:] = model[0].weight[:16]
        model[0].bias[16:] = model[0].bias[:16]
        model[3].weight[:, 16:] = model[3].weight[:, :16]
    return model


def equal_in_sums():
    """Units of the second map that agree only in their sums over twins of the first; all numbers are exact."""
    model = mlp(nn.Tanh)
    with torch.no_grad():
        for layer in (model[0], model[3], model[5]):
            layer.weight.copy_((layer.weight * 64).round() / 64)
            zero(layer.bias)
        first, second, third = model[0].weight, model[3].weight, model[5].weight
        first[16:] = first[:16]
        left, right = second[:16, :16].clone(), second[:16, 16:].clone()
        second[16:, :16], second[16:, 16:] = right, left
        third[:, 16:] = third[:, :16]
    return model


def trained(model, batch, steps=40):
    twin = copy.deepcopy(model).double().train()
    taking = torch.optim.Adam(twin.parameters(), lr=1e-2)
    for _ in range(steps):
        taking.zero_grad()
        CRITERION(twin(batch[0].double()), batch[1]).backward()
        taking.step()
    return twin


def distinct(rows):
    return len({tuple(row) for row in (rows.detach() * 1e9).round().tolist()})


def test_a_constant_pair_has_one_unit_for_ever():
    model = mlp(nn.Tanh)
    filled(0.1, model[0], model[3])
    assert widths(model, vectors())["0.weight"].effective == 1
    assert distinct(trained(model, vectors())[0].weight) == 1


def test_a_constant_layer_in_front_of_a_random_one_is_told_apart():
    model = mlp(nn.Tanh)
    filled(0.1, model[0])
    found = widths(model, vectors())["0.weight"]
    assert (found.effective, found.transient, found.classes) == (32, 32, ())
    assert distinct(trained(model, vectors())[0].weight) == 32


def test_units_that_are_copied_on_both_sides_stay_copies():
    model = duplicated(mlp(nn.Tanh))
    found = widths(model, vectors())["0.weight"]
    assert found.effective == 16
    assert sorted(found.classes)[0] == (0, 16)
    assert distinct(trained(model, vectors())[0].weight) == 16


def test_units_that_agree_only_in_sums_over_twins_stay_equal():
    model = equal_in_sums()
    found = widths(model, vectors())
    assert (found["0.weight"].effective, found["3.weight"].effective) == (16, 16)
    after = trained(model, vectors())
    hidden = after[:5](vectors()[0].double())
    assert torch.allclose(hidden[:, :16], hidden[:, 16:], atol=1e-9)


def test_a_constant_lstm_has_one_unit():
    found = widths(Recurrent(0.1), words())
    assert found["rnn.weight_ih_l0"].effective == 4  # one of each gate
    assert widths(Recurrent(), words()) == {}


def test_constant_convolutions_have_one_channel():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4))
    filled(0.1, model[0], model[2])
    batch = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
    assert widths(model, batch)["0.weight"].effective == 1


def test_classes_that_the_batch_lacks_are_no_twins_of_a_zero_head():
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 100))
    zero(model[2].weight, model[2].bias)
    assert widths(model, vectors())["2.weight"].effective == 100


@pytest.mark.parametrize("start", [nn.init.dirac_, nn.init.ones_])
def test_equal_filters_on_different_inputs_are_no_twins(start):
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), depthwise, nn.ReLU(), nn.Flatten(), nn.Linear(512, 4))
    start(depthwise.weight)
    batch = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 4
    found = widths(model, batch)
    assert all(width.effective == width.units for width in found.values())


def test_dropout_on_twins_is_said_to_tell_them_apart():
    for dropout in (0.0, 0.5):
        model = mlp(nn.Tanh, dropout=dropout)
        filled(0.1, model[0], model[3])
        assert widths(model, vectors())["0.weight"].dropout == (dropout > 0)


def test_a_random_start_needs_no_second_look():
    assert widths(mlp(), vectors()) == {}
