"""Recurrent starts: PyTorch's own modules run with them, and chrono's law against draws from its definition."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Chrono

HIDDEN = 32


class Reader(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.over, self.head = kind(8, HIDDEN, **options), nn.Linear(HIDDEN, 4)

    def forward(self, x):
        return self.head(self.over(x)[0][-1])


def started(recipe, kind=nn.LSTM, **options):
    torch.manual_seed(0)
    model = Reader(kind, **options)
    xn.initialize(model, recipe, torch.zeros(5, 2, 8), seed=0)
    return model


def test_an_lstm_keeps_what_its_forget_bias_says():
    """The oracle: PyTorch's own LSTM on zeros, whose cell shrinks by sigmoid(forget bias) a step."""
    for bias in (1.0, 3.0):
        over = started(f"recurrent(forget_bias={bias})").over
        with torch.no_grad():
            over.weight_hh_l0.zero_()
            _, (_, cell) = over(torch.zeros(4, 1, 8), (torch.zeros(1, 1, HIDDEN), torch.ones(1, 1, HIDDEN)))
        expected = (1 / (1 + math.exp(-bias))) ** 4
        torch.testing.assert_close(cell, torch.full_like(cell, expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("layers", [1, 2])
def test_each_gate_is_orthogonal(kind, layers):
    over = started("recurrent", kind, num_layers=layers).over
    for layer in range(layers):
        for gate in getattr(over, f"weight_hh_l{layer}").split(HIDDEN):
            torch.testing.assert_close(gate @ gate.T, torch.eye(HIDDEN), atol=1e-5, rtol=1e-5)
        incoming = getattr(over, f"weight_ih_l{layer}")
        bound = (6 / (HIDDEN + incoming.shape[1])) ** 0.5
        assert incoming.abs().max() <= bound
        assert incoming.abs().max() > 0.9 * bound


def test_the_head_is_kept():
    torch.manual_seed(0)
    kept = Reader(nn.LSTM).head.weight
    assert torch.equal(started("recurrent").head.weight, kept)


def test_an_identity_keeps_its_state():
    over = started("recurrent(identity=true)", nn.RNN, nonlinearity="relu").over
    state = torch.rand(1, 3, HIDDEN)
    with torch.no_grad():
        torch.testing.assert_close(over(torch.zeros(50, 3, 8), state)[1], state)


def test_chrono_draws_from_its_definition():
    drawn = Chrono(horizon=50.0).sample(Layout.vector(4 * 20_000), Key(0, "bias"))
    rest, forget = drawn[:20_000].numpy(), drawn[20_000:40_000].numpy()
    np.testing.assert_array_equal(rest, -forget)
    defined = np.log(np.random.default_rng(1).uniform(1, 49, 20_000))
    assert ks_2samp(forget, defined).pvalue > 1e-3
    assert ks_2samp(forget, np.log(np.random.default_rng(1).uniform(1, 60, 20_000))).pvalue < 1e-3
    assert Chrono(horizon=50.0).expected_std(Layout.vector(80_000)) == pytest.approx(drawn.std().item(), rel=0.02)


def test_chrono_in_an_lstm():
    over = started("recurrent(chrono=100)").over
    assert (over.bias_ih_l0[HIDDEN : 2 * HIDDEN] > 0).all()
    assert not over.bias_hh_l0.any()


def test_bad_input():
    with pytest.raises(RecipeError, match="no recurrent module"):
        xn.plan(nn.Linear(8, 4), "recurrent", example=torch.zeros(2, 8))
    with pytest.raises(RecipeError, match="no LSTM"):
        started("recurrent(chrono=10)", nn.GRU)
    with pytest.raises(RecipeError, match="of one gate"):
        started("recurrent(identity=true)")
    with pytest.raises(InvalidValueError, match=r"recurrent\.chrono is 1"):
        started("recurrent(chrono=1)")
    with pytest.raises(InvalidValueError, match=r"Chrono\.horizon"):
        Chrono(horizon=2.0)
