"""What plans must see before they write: weights that are computed."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from exnihilo.errors import RecipeError
from exnihilo.plans.make import plan

X = torch.zeros(2, 8)


class Block(nn.Module):
    """x + down(relu(up(x))), with a tail behind down."""

    def __init__(self, down, tail=lambda h: h):
        super().__init__()
        self.up, self.down, self.tail = nn.Linear(8, 8), down, tail

    def forward(self, x):
        return x + self.tail(self.down(F.relu(self.up(x))))


def test_a_normalized_weight_is_not_zeroed_where_that_would_divide_by_zero():
    model = nn.Sequential(nn.Linear(8, 8), Block(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8))))
    with pytest.raises(RecipeError, match="its last weight is normalized or computed"):
        plan(model, "zero-residual", example=X)


def test_weight_normalization_is_closed_by_its_magnitude():
    model = nn.Sequential(nn.Linear(8, 8), Block(nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))))
    rows = plan(model, "zero-residual", example=X).by_name
    assert rows["1.down.weight.original0"].scheme == "zeros"
    assert rows["1.down.weight.original1"].action == "keep"


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (lambda h: h + 0.5, "no zero of a parameter makes zero"),
        (F.softplus, "ends in softplus, which is 0.6931 at 0"),
    ],
)
def test_a_branch_that_zeros_do_not_close_says_what_stands_in_the_way(tail, why):
    with pytest.raises(RecipeError, match=why):
        plan(nn.Sequential(nn.Linear(8, 8), Block(nn.Linear(8, 8), tail)), "zero-residual", example=X)


@pytest.mark.parametrize(
    ("activation", "gain"),
    [
        (nn.ReLU6(), 1.4142),
        (nn.Hardtanh(), 1.3920),
        (nn.SELU(), 1.0),
        (nn.LeakyReLU(0.3), 1.3546),
        (nn.ELU(3.0), 0.7444),
    ],
)
def test_the_gain_is_that_of_the_activation_that_really_follows(activation, gain):
    """The gains by a million standard normal draws, to three digits."""
    draws = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0))
    assert float(activation(draws).square().mean() ** -0.5) == pytest.approx(gain, rel=5e-3)
    model = nn.Sequential(nn.Linear(8, 64), activation, nn.Linear(64, 2))
    std = plan(model, "he", example=X).by_name["0.weight"].expected_std
    assert std == pytest.approx(gain / 8**0.5, rel=1e-3)


@pytest.mark.parametrize("module", [nn.LSTM, nn.GRU, nn.RNN])
def test_both_biases_of_a_recurrent_module_are_biases(module):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cells, self.head = module(8, 8), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.cells(x)[0])

    rows = plan(Recurrent(), "he", example=torch.zeros(5, 2, 8)).by_name
    assert {str(rows[f"cells.bias_{part}_l0"].scheme) for part in ("ih", "hh")} == {"zeros"}
