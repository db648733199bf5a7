"""What cancels is zero and leaves rounding; what is small is alive, however far below the largest gradient."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from exnihilo.probes.fates import learning_of
from exnihilo.probes.openings import LIVE, RESIDUE, ZERO, judged_pass
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial
from gated import Case, D, samples


def learned(model, batch=None):
    return learning_of(model, Question(batch=batch or samples(), criterion=nn.CrossEntropyLoss())).by_name


class Beside(nn.Module):
    """A map beside another one, given to the rest of the network by a function of both."""

    def __init__(self, joined):
        super().__init__()
        self.aside, self.map, self.head, self.joined = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 4), joined

    def forward(self, x):
        return self.head(self.joined(torch.tanh(self.map(x)), self.aside(x)))


# All of these are independent of the second argument in exact arithmetic, and in no other.
CANCELS = {
    "added and taken away": lambda x, y: (x + y) - y,
    "added and taken away far apart": lambda x, y: (1e3 * y + x) - 1e3 * y,
    "multiplied and divided": lambda x, y: x * (y * y + 1.0) / (y * y + 1.0),
    "sine and cosine": lambda x, y: x * (y.sin().square() + y.cos().square()),
    "exponential and logarithm": lambda x, y: x + (y.sigmoid() * 1.0).log() - F.logsigmoid(y),
    "the same for all, before a softmax": lambda x, y: F.softmax(x + y.mean(-1, keepdim=True), -1),
    "the same for all, before a norm": lambda x, y: F.layer_norm(x + y.sum(-1, keepdim=True), (D,)),
    "a weight of the whole, normalized": lambda x, y: x * (y.exp() / y.exp()),
}


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", CANCELS)
def test_what_cancels_never_opens(name, seed):
    torch.manual_seed(seed)
    found = learned(Beside(CANCELS[name]))
    assert (found["aside.weight"].fate, found["aside.bias"].fate) == ("invariant", "invariant")
    assert found["map.weight"].fate == "opens"


@pytest.mark.parametrize("size", [1e-5, 1e-8, 1e-12, 1e-16, 1e-20, 1e-30, 1e-60, 1e-150])
def test_what_is_small_opens_at_once(size):
    """The path to the map is a factor on a separate product: nothing is added before it is small."""
    torch.manual_seed(0)
    found = learned(Beside(lambda x, y: x + size * torch.tanh(y)))
    assert (found["aside.weight"].fate, found["aside.weight"].step) == ("opens", 1)
    assert found["aside.weight"].num_of("opens") == D


@pytest.mark.parametrize("size", [1e-8, 1e-14])
def test_what_is_small_and_what_cancels_are_told_apart_at_one_size(size):
    """In the first model a map of this size is alive; in the second one it is taken away again."""
    torch.manual_seed(0)
    alive = learned(Beside(lambda x, y: x + size * y))
    cancels = learned(Beside(lambda x, y: (x + size * y) - size * y))
    assert alive["aside.weight"].fate == "opens"
    assert cancels["aside.weight"].fate == "invariant"


def test_units_of_one_map_are_judged_one_by_one():
    """Of four units one is large, one small, one cancels and one is multiplied by zero."""

    class Apart(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.head = nn.Linear(D, 4), nn.Linear(4, 4)

        def forward(self, x):
            y = self.map(x)
            large, small, cancels, zero = y.split(1, -1)
            cancels = x[:, :1] + cancels.sigmoid().log() - F.logsigmoid(cancels)
            return self.head(torch.cat([large, 1e-12 * small, cancels, 0.0 * zero], -1))

    torch.manual_seed(0)
    trial = Trial(Apart(), Question(batch=samples(), criterion=nn.CrossEntropyLoss()), samples=None)
    verdicts = judged_pass(trial).verdicts["map.weight"].tolist()
    assert verdicts == [LIVE, LIVE, RESIDUE, ZERO]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_the_dtype_of_a_model_changes_no_verdict(dtype):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(D, D), nn.LayerNorm(D), nn.Tanh(), nn.Linear(D, 4)).to(dtype)
    nn.init.zeros_(model[3].weight)
    x, y = samples()
    found = learned(model, (x.to(dtype), y))
    assert [found[n].step for n in ("0.weight", "1.weight", "3.weight", "3.bias")] == [2, 2, 1, 1]


@pytest.mark.parametrize("depth, gain", [(50, 0.5), (100, 0.5), (100, 0.1), (60, 2.0)])
def test_depth_makes_gradients_small_or_large_and_no_dead_end(depth, gain):
    torch.manual_seed(0)
    layers = [nn.Linear(D, D) for _ in range(depth)]
    for layer in layers:
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(*(m for layer in layers for m in (layer, nn.Tanh())), nn.Linear(D, 4))
    found = learned(model)
    assert {o.fate for o in found.values()} == {"opens"}
    first, last = found["0.bias"].gradient, found[f"{2 * depth - 2}.bias"].gradient
    if gain < 1:  # each layer in between multiplies what comes back by its gain, near the origin
        assert math.log10(first / last) == pytest.approx((depth - 1) * math.log10(gain), rel=0.02)


def test_a_gradient_is_that_of_autograd():
    torch.manual_seed(0)
    case = Case(nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 4)), samples(8), nn.CrossEntropyLoss())
    found = learned(case.model, case.batch)
    case.criterion(case.model(case.batch[0]), case.batch[1]).backward()
    for name, parameter in case.model.named_parameters():
        assert found[name].gradient == pytest.approx(float(parameter.grad.square().mean().sqrt()), rel=1e-5)
