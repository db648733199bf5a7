"""Gates on modules that give out what a branch adds, where no weight of its own ends it."""

import pytest
import torch
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecipeError
from exnihilo.gates.attach import gates_of
from gated_networks import CRITERION, pictures, vectors
from torchvision_shim import define_missing_operators

_OPERATORS = define_missing_operators()
WIDTH = 8


class SqueezeExcite(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Conv2d(WIDTH, WIDTH, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.map(x.mean((2, 3), keepdim=True)))


class Drop(nn.Module):
    """Drops a branch for some of the samples."""

    def forward(self, x):
        kept = torch.rand(len(x), *[1] * (x.dim() - 1)) < 0.8
        return x * kept / 0.8 if self.training else x


class Shift(nn.Module):
    def __init__(self):
        super().__init__()
        self.shift = nn.Parameter(torch.ones(WIDTH))

    def forward(self, x):
        return x + self.shift


class Pool(nn.Module):
    def forward(self, x):
        return nn.functional.avg_pool2d(x, 3, 1, 1) - x


class Standardized(nn.Linear):
    def forward(self, x):
        weight = (self.weight - self.weight.mean(1, keepdim=True)) / self.weight.std(1, keepdim=True)
        return nn.functional.linear(x, weight, self.bias)


class Added(nn.Module):
    """Residual blocks around whatever makes a branch: with maps for vectors, convolutions for images."""

    def __init__(self, make, *, images=False, blocks=2):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, WIDTH, 3, padding=1) if images else nn.Linear(8, WIDTH)
        self.branches, self.head = nn.ModuleList(make() for _ in range(blocks)), nn.Linear(WIDTH, 4)

    def forward(self, x, factor=1.0):
        x = self.stem(x)
        for branch in self.branches:
            x = x + factor * branch(x)
        return self.head(x.mean((2, 3)) if x.dim() == 4 else x)


def maps(*behind):
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), *behind)


def convolutions(*behind):
    return nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm2d(WIDTH), *behind)


# What makes a branch, whether it is one of images, and where its gate stands.
ENDS = {
    "an activation": (lambda: maps(nn.ReLU()), False, "branches.0"),
    "one with a weight": (lambda: maps(nn.PReLU()), False, "branches.0"),
    "one in place": (lambda: maps(nn.ReLU(inplace=True)), False, "branches.0"),
    "squeeze and excitation": (lambda: convolutions(SqueezeExcite()), True, "branches.0"),
    "an activation, then drop path": (lambda: convolutions(nn.GELU(), Drop()), True, "branches.0"),
    "a pool": (lambda: nn.Sequential(nn.GroupNorm(1, WIDTH), Pool()), True, "branches.0.0"),
    "a norm without a scale": (lambda: maps(nn.LayerNorm(WIDTH, elementwise_affine=False)), False, "branches.0"),
    "a standardized weight": (lambda: nn.Sequential(maps(nn.ReLU()), Standardized(WIDTH, WIDTH)), False, "branches.0"),
    "a number added behind": (lambda: maps(Shift()), False, "branches.0"),
    "drop path alone": (lambda: maps(Drop()), False, "branches.0.2"),
}


def made(name):
    make, images, place = ENDS[name]
    return Added(make, images=images), (pictures() if images else vectors()), place


def stepped(model, batch):
    taking = torch.optim.SGD(model.parameters(), lr=0.1)
    CRITERION(model(batch[0]), batch[1]).backward()
    taking.step()


@pytest.mark.parametrize("name", ENDS)
def test_rezero_closes_such_branches_exactly_and_a_step_opens_them(name):
    model, batch, place = made(name)
    plan = xn.plan(model, "rezero", example=batch[0])
    assert plan.gates[0].module == place
    xn.apply(plan, model, seed=0)
    model.eval()
    assert torch.equal(model(batch[0]), model(batch[0], factor=0.0))
    assert xn.certify(model, batch[0]).exact
    model.train()
    stepped(model, batch)
    assert all(module.branch_gate.item() != 0.0 for module, _ in gates_of(model).values())


@pytest.mark.parametrize("recipe", ["rezero(epsilon=0.3)", "layerscale(value=0.3)"])
@pytest.mark.parametrize("name", ENDS)
def test_a_factor_of_the_gate_is_one_of_the_branch(name, recipe):
    """The oracle: the plain model, whose branches are multiplied where they are added."""
    plain, gated, (x, _) = made(name)[0].eval(), made(name)[0].eval(), made(name)[1]
    xn.initialize(gated, recipe, x, seed=0)
    torch.testing.assert_close(gated(x), plain(x, factor=0.3), atol=1e-5, rtol=1e-5)
    if recipe.startswith("layerscale"):
        assert {module.branch_gate.numel() for module, _ in gates_of(gated).values()} == {WIDTH}
        with torch.no_grad():
            for module, _ in gates_of(gated).values():
                module.branch_gate.copy_(torch.arange(WIDTH))
        shape = (WIDTH, 1, 1) if x.dim() == 4 else (WIDTH,)
        expected = plain(x, factor=torch.arange(WIDTH).reshape(shape))
        torch.testing.assert_close(gated(x), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name, (*_, place) in ENDS.items() if place == "branches.0"])
def test_what_cannot_be_folded_stays_and_is_told(name):
    model, (x, _), _ = made(name)
    model.eval()
    xn.initialize(model, "rezero(epsilon=0.3)", x, seed=0)
    expected = model(x)
    fused = xn.fuse(model)
    assert fused.folded == ()
    assert all("no weight makes what its module" in why for _, why in fused.left)
    assert torch.equal(model(x), expected)


@pytest.mark.parametrize("name", ENDS)
def test_their_states_come_back(name):
    model, batch, _ = made(name)
    plain, again = made(name)[0], made(name)[0]
    xn.initialize(model, "layerscale(value=0.1)", batch[0], seed=0)
    stepped(model, batch)
    xn.attach(again, xn.plan(again, "layerscale", example=batch[0]).gates)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(batch[0]), model.eval()(batch[0]))
    model.load_state_dict(plain.state_dict())  # a checkpoint of the plain model loads with the gates open
    assert torch.equal(model.eval()(batch[0]), plain.eval()(batch[0]))


class Raw(nn.Module):
    """Holds weights of its own, and gives out the stream with the branch added."""

    def __init__(self):
        super().__init__()
        self.first, self.last = (nn.Parameter(torch.randn(WIDTH, WIDTH)) for _ in range(2))

    def forward(self, x):
        return x + torch.tanh(x @ self.first) @ self.last


class Borrowing(nn.Module):
    """Maps by the weight of a module that it does not call."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x):
        return x + nn.functional.linear(torch.tanh(self.first(x)), self.last.weight, self.last.bias)


class Activated(Borrowing):
    def forward(self, x):
        return x + torch.relu(self.last(torch.tanh(self.first(x))))


class ForItsEffect(Borrowing):
    """Writes with an activation into what it adds, and throws away what that gives out."""

    def __init__(self):
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.last(torch.tanh(self.first(x)))
        self.act(y)
        return x + y


class OneActivation(Borrowing):
    def __init__(self):
        super().__init__()
        self.act = nn.ReLU()

    def forward(self, x):
        return x + self.act(self.last(self.act(self.first(x))))


class Again(Borrowing):
    def forward(self, x):
        return x + self.last(torch.tanh(self.last(torch.tanh(self.first(x)))))


class Elsewhere(Borrowing):
    def forward(self, x):
        return self.last(x + self.last(torch.tanh(self.first(x))))


REFUSED = {
    "weights of the block itself": (Raw, "gives out something else"),
    "a weight without its module": (Borrowing, "gives out something else"),
    "an activation without a module": (Activated, "ends in relu"),
    "an activation whose result is thrown away": (ForItsEffect, "ends in relu"),
    "an activation that is used twice": (OneActivation, "ends in relu"),
    "a map that is used twice on the branch": (Again, "used elsewhere"),
    "a map that is used behind the branch": (Elsewhere, "used elsewhere"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_where_no_module_gives_out_the_branch_it_is_refused(name):
    make, words = REFUSED[name]
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, WIDTH), make(), nn.Linear(WIDTH, 4))
    keys = list(model.state_dict())
    with pytest.raises(RecipeError, match=words) as caught:
        xn.initialize(model, "rezero", vectors()[0], seed=0)
    assert "no module of its own" in str(caught.value)
    assert list(model.state_dict()) == keys
    assert not gates_of(model)


def test_a_weight_that_is_read_elsewhere_is_not_what_the_gate_is_folded_into():
    class Tied(Borrowing):
        def forward(self, x):
            return (x + self.last(torch.tanh(self.first(x)))) @ self.last.weight.T

    model, (x, _) = Tied(), (torch.randn(4, WIDTH), None)
    xn.initialize(model, "rezero(epsilon=0.3)", x, seed=0)
    expected = model(x)
    assert xn.fuse(model).folded == ()
    assert torch.equal(model(x), expected)


TIMM = {
    "seresnet18": ("layer1.0.se", {"zero_init_last": False}),
    "cspdarknet53": ("stages.0.blocks.0.conv2", {"zero_init_last": False}),
    "efficientnet_lite0": ("blocks.1.1.bn3", {}),
    "mobilenetv3_small_050": ("blocks.1.1.bn3", {}),
}


@pytest.mark.parametrize("name", TIMM)
def test_networks_of_timm_start_at_their_shortcuts_and_open(name):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    place, options = TIMM[name]
    model = timm.create_model(name, num_classes=4, **options)
    batch = torch.randn(4, 3, 64, 64), torch.arange(4)
    plan = xn.plan(model, "rezero", example=batch[0])
    assert plan.gates[0].module == place
    xn.apply(plan, model, seed=0)
    assert xn.certify(model, batch[0]).exact
    stepped(model, batch)
    assert all(module.branch_gate.item() != 0.0 for module, _ in gates_of(model).values())
    again = timm.create_model(name, num_classes=4, **options)
    xn.attach(again, plan.gates)
    again.load_state_dict(model.state_dict())
    assert torch.equal(again.eval()(batch[0]), model.eval()(batch[0]))


@pytest.mark.parametrize("name", ["resnet18", "seresnet18"])
def test_a_gate_at_zero_behind_a_scale_at_zero_is_refused(name):
    """timm starts the last scale of each of the eight branches at zero: neither that nor the gate would ever move."""
    timm = pytest.importorskip("timm")
    model, x = timm.create_model(name, num_classes=4), torch.zeros(2, 3, 32, 32)
    with pytest.raises(
        RecipeError, match=r"'layer1.0.\w+.branch_gate' is planned zero, and 'layer1.0.bn2.weight'"
    ) as told:
        xn.initialize(model, "rezero", x, seed=0)
    assert "So would 7 more." in str(told.value)
    assert not gates_of(model)
    given = eval(told.value.fix.removeprefix("overrides="))  # the fix is to be pasted
    assert len(xn.initialize(model, "rezero(epsilon=0.1)", x, seed=0).added) == 8  # opens all at once
    xn.fuse(model)
    plan = xn.plan(timm.create_model(name, num_classes=4), "rezero", example=x, overrides=given)
    assert plan.by_name["layer1.0.bn2.weight"].scheme == "ones"


def test_a_last_shift_keeps_a_gate_before_a_scale_at_zero_alive():
    torch.manual_seed(0)
    model, batch = Added(convolutions, images=True), pictures()
    for branch in model.branches:
        nn.init.zeros_(branch[1].weight)
        nn.init.ones_(branch[1].bias)
    xn.initialize(model, "rezero", batch[0], seed=0)
    stepped(model, batch)
    assert all(module.branch_gate.item() != 0.0 for module, _ in gates_of(model).values())
