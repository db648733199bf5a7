"""When each parameter opens, against steps taken by hand and against training that the probes know nothing of."""

import copy

import pytest
import torch
from torch import nn

from checked_models import (
    CRITERION,
    Adapted,
    Attention,
    Chain,
    ResNet,
    Routed,
    images,
    mlp,
    vectors,
    words,
    zero,
)
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question


def openings(model, batch, criterion=CRITERION):
    return learning_of(model, Question(batch=batch, criterion=criterion)).by_name


def steps_of(model, batch):
    return {name: opening.step for name, opening in openings(model, batch).items()}


def moved_by(model, batch, optimizer, steps=30):
    """The parameters that some steps of an optimizer move, in float64: the probes share nothing with it."""
    twin = copy.deepcopy(model).double()
    x, y = batch
    x = x.double() if x.is_floating_point() else x
    before = {name: p.detach().clone() for name, p in twin.named_parameters()}
    taking = optimizer(twin.parameters())
    for _ in range(steps):
        taking.zero_grad()
        CRITERION(twin(x), y).backward()
        taking.step()
    return {n for n, p in twin.named_parameters() if float((p.detach() - before[n]).abs().max()) > 1e-9}


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_each_zero_in_a_row_opens_one_step_behind_the_next(depth):
    found = steps_of(Chain(depth), vectors())
    assert [found[f"maps.{i}.weight"] for i in range(depth)] == list(range(depth, 0, -1))
    assert found["stem.weight"] == found["head.weight"] == 1


def test_a_zero_head_opens_at_once_and_the_trunk_behind_it():
    model = mlp()
    zero(model[5].weight, model[5].bias)
    found = steps_of(model, vectors())
    assert (found["5.weight"], found["3.weight"], found["0.weight"]) == (1, 2, 2)


def test_one_zero_of_an_adapter_is_healthy_and_two_are_stuck():
    assert steps_of(Adapted(["up"]), vectors())["down.weight"] == 2
    assert steps_of(Adapted(["down"]), vectors())["up.weight"] == 2
    both = openings(Adapted(["up", "down"]), vectors())
    assert {both[n].fate for n in ("up.weight", "down.weight")} == {"stuck"}
    assert both["base.weight"].step == 1


def test_zero_gamma_opens_with_a_shortcut_and_is_stuck_before_relu_without():
    healthy = steps_of(ResNet(), images())
    assert (healthy["norm2.weight"], healthy["conv2.weight"], healthy["conv1.weight"]) == (1, 2, 1)
    broken = openings(ResNet(skip=False), images())
    assert broken["norm2.weight"].fate == "stuck"
    assert broken["conv1.weight"].fate == "stuck"


def test_zero_query_and_key_are_stuck_and_one_of_them_is_not():
    model = Attention()
    zero(model.query.weight, model.query.bias)
    assert steps_of(model, words())["key.weight"] == 2
    zero(model.key.weight, model.key.bias)
    found = openings(model, words())
    assert {found[n].fate for n in ("query.weight", "key.weight", "query.bias")} == {"stuck"}
    assert found["value.weight"].step == 1


def test_a_key_bias_does_not_matter_and_says_so():
    assert openings(Attention(), words())["key.bias"].fate == "invariant"


@pytest.mark.parametrize("seed", range(20))
def test_a_bias_before_batch_norm_does_not_matter(seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 4))
    found = openings(model, vectors())
    assert (found["0.bias"].fate, found["0.weight"].fate, found["1.bias"].fate) == ("invariant", "opens", "opens")


def test_a_router_whose_only_weight_is_normalized_never_matters():
    assert openings(Routed(normalized=True), vectors())["router.weight"].fate == "invariant"
    assert openings(Routed(normalized=False), vectors())["router.weight"].fate == "opens"


def test_a_layer_that_a_bias_switches_off_is_dead_and_not_stuck():
    model = mlp()
    nn.init.constant_(model[3].bias, -100.0)
    found = openings(model, vectors())
    assert {found[n].fate for n in ("0.weight", "3.weight", "3.bias", "5.weight")} == {"dead"}
    assert found["5.bias"].step == 1


def test_what_is_detached_is_told_from_what_is_unused():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.spare = nn.Linear(16, 8), nn.Linear(16, 8), nn.Linear(3, 3)
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            with torch.no_grad():
                aside = self.b(x)
            return self.head(torch.relu(self.a(x) + aside))

    found = openings(Net(), vectors())
    assert [found[n].fate for n in ("a.weight", "b.weight", "spare.weight")] == ["opens", "detached", "unused"]


@pytest.mark.parametrize("depth", [60, 120])
def test_gradients_that_float32_cannot_hold_are_alive(depth):
    layers = [layer for _ in range(depth) for layer in (nn.Linear(16, 16), nn.Tanh())]
    model = nn.Sequential(*layers, nn.Linear(16, 4))
    for module in model:
        if isinstance(module, nn.Linear):
            nn.init.orthogonal_(module.weight, gain=0.1 if module.out_features == 16 else 1.0)
    found = openings(model, vectors())
    assert {opening.fate for opening in found.values()} == {"opens"}


def test_rows_that_the_batch_does_not_look_up_are_not_used_and_the_table_opens():
    model = nn.Sequential(nn.Embedding(50, 8, padding_idx=0), nn.Flatten(), nn.Linear(40, 4))
    found = openings(model, (torch.arange(1, 41).reshape(8, 5), torch.arange(8) % 4))["0.weight"]
    assert (found.fate, found.use, found.num_of("unused")) == ("opens", "table", 10)


def test_units_that_only_other_samples_reach_are_seen_on_the_whole_batch():
    model = mlp()
    nn.init.constant_(model[3].bias, -100.0)
    x, y = vectors()
    x[20] = 1e4
    assert openings(model, (x, y))["3.weight"].fate == "opens"


BROKEN = {
    "healthy": mlp,
    "zero hidden": lambda: zeroed(mlp(), 3),
    "zero first": lambda: zeroed(mlp(), 0),
    "zero all": lambda: zeroed(zeroed(zeroed(mlp(), 0), 3), 5),
    "zero hidden of GELU": lambda: zeroed(mlp(nn.GELU), 3),
    "zero hidden of tanh": lambda: zeroed(mlp(nn.Tanh), 3),
    "zero and zero of tanh": lambda: zeroed(zeroed(mlp(nn.Tanh), 3), 5),
    "both zero": lambda: Adapted(["up", "down"]),
    "one zero": lambda: Adapted(["up"]),
    "chain": lambda: Chain(3),
    "no shortcut": lambda: ResNet(skip=False),
    "normalized router": lambda: Routed(normalized=True),
}


def zeroed(model, place):
    zero(model[place].weight, model[place].bias)
    return model


@pytest.mark.parametrize("case", BROKEN)
def test_what_never_opens_is_what_training_never_moves(case):
    model = BROKEN[case]()
    batch = images() if isinstance(model, ResNet) else vectors()
    found = {name for name, opening in openings(model, batch).items() if opening.step is not None}
    # Adam turns rounding residues into steps of full size, and plain descent does not.
    assert found == moved_by(model, batch, lambda p: torch.optim.SGD(p, lr=0.5))
