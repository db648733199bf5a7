"""The certificate says of each residual branch whether it adds nothing, as running the model by hand does."""

import pytest
import torch
from torch import nn

from exnihilo.errors import ReadError
from exnihilo.probes.identity import certify


class Block(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.tanh(self.up(x)))


class InPlace(Block):
    def forward(self, x):
        x = x * 1.0
        x += self.down(torch.tanh(self.up(x)))
        return x


class Projected(Block):
    def __init__(self):
        super().__init__()
        self.shortcut = nn.Linear(6, 6)

    def forward(self, x):
        return self.shortcut(x) + self.down(torch.tanh(self.up(x)))


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(6, 12), nn.Parameter(torch.randn(12, 6))

    def forward(self, x):
        return torch.addmm(x, torch.tanh(self.up(x)), self.down)


def zero(module):
    for parameter in [module] if isinstance(module, nn.Parameter) else module.parameters():
        nn.init.zeros_(parameter)


@pytest.mark.parametrize("kind", [Block, InPlace, Projected, Fused])
def test_a_branch_whose_last_map_is_zero_is_exactly_its_shortcut(kind):
    torch.manual_seed(0)
    model, x = kind(), torch.randn(5, 6)
    assert not certify(model, x).exact
    zero(model.down)
    (branch,) = certify(model, x).branches
    assert branch.exact
    assert branch.deviation == 0.0
    assert branch.shortcut == ("projection" if kind is Projected else "identity")


def test_the_deviation_is_the_largest_difference_that_a_run_by_hand_shows():
    torch.manual_seed(0)
    model, x = nn.Sequential(Block(), Block()), torch.randn(5, 6)
    zero(model[0].down)
    first, second = certify(model, x).branches
    added = (model(x) - x).detach().abs().max()
    assert first.exact
    assert not second.exact
    assert second.deviation == pytest.approx(float(added), rel=1e-6)
    assert second.relative == pytest.approx(float(added) / float(x.square().mean().sqrt()), rel=1e-6)


def test_an_added_bias_alone_breaks_the_identity():
    model = Block()
    zero(model.down)
    model.down.bias.data[0] = 1e-3
    assert certify(model, torch.zeros(2, 6)).deviation == pytest.approx(1e-3)


def test_branches_added_one_after_the_other_are_compared_with_the_first_shortcut():
    class LowRank(Block):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(12, 2, bias=False), nn.Linear(2, 6, bias=False)

        def forward(self, x):
            h = torch.tanh(self.up(x))
            return x + self.down(h) + self.b(self.a(h))

    model, x = LowRank(), torch.randn(5, 6)
    zero(model.down)
    assert not certify(model, x).exact
    zero(model.b)
    assert certify(model, x).exact


def test_dropout_and_left_out_layers_do_not_confuse_it():
    class Drops(Block):
        def forward(self, x):
            if self.training and torch.rand([]) < 0.99:
                return x
            return x + nn.functional.dropout(self.down(torch.tanh(self.up(x))), 0.5, self.training)

    model = nn.Sequential(*(Drops() for _ in range(4)))
    assert len(certify(model, torch.randn(3, 6)).branches) == 4
    for block in model:
        zero(block.down)
    assert certify(model, torch.randn(3, 6)).exact


def test_the_model_is_left_as_it_was():
    model, x = nn.Sequential(Block(), nn.BatchNorm1d(6)), torch.randn(5, 6)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    certify(model, x)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_model_without_values_is_refused():
    with pytest.raises(ReadError, match="has parameters on the meta device"):
        certify(Block().to("meta"), torch.zeros(1, 6))


def test_its_text_names_each_branch_that_deviates():
    torch.manual_seed(0)
    model = nn.Sequential(Block(), Block())
    zero(model[0].down)
    text = str(certify(model, torch.randn(5, 6)))
    assert text.startswith("Sequential: 1 of 2 residual branches are exactly their shortcut\n     1  1  deviates by ")
