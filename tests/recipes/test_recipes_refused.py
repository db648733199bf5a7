"""What a gating, depth or width recipe cannot do is one clear error, and leaves the model bit for bit as it was."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import exnihilo as xn
from exnihilo.errors import ExnihiloError, GateError, RecipeError
from exnihilo.gates.attach import gates_of
from exnihilo.gates.records import Gate
from gated_networks import Images, Residual, pictures, vectors

WIDTH, HEADS = 16, 2
X = vectors()[0]


def plain():
    return nn.Sequential(nn.Linear(8, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 4))


def encoder(*, norm_first=False, layers=2, width=WIDTH, heads=HEADS):
    layer = nn.TransformerEncoderLayer(width, heads, 32, batch_first=True, dropout=0.0, norm_first=norm_first)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of nested tensors, where norms come first
        return nn.TransformerEncoder(layer, layers)


def tokens(width=WIDTH):
    return torch.zeros(2, 5, width)


def tied(recipe_width=WIDTH):
    """Residual maps of which the last is one tensor with the stem of another block."""
    model = Residual(width=recipe_width)
    model.blocks[0].last.weight = model.blocks[1].last.weight
    return model


class Reused(Residual):
    """The same block again and again."""

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = self.blocks[0](x)
        return self.head(x)


class Activated(Residual):
    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block.last(block.first(x)))
        return self.head(x)


def gated():
    model = Residual()
    xn.initialize(model, "rezero(epsilon=0.3)", X, seed=0)
    return model


def closed():
    """Gated at zero, and fused: each last map is zero now."""
    model = Residual()
    xn.initialize(model, "rezero", X, seed=0)
    xn.fuse(model)
    return model


GATING = ("rezero", "skipinit", "layerscale", "fixup")
DEEP = ("deepnorm", "admin", "t-fixup", "sub-ln", "depth-scaled", "zero-residual", "gpt2")
# The recipe, the model, what it is called with, and words of the message.
CASES = {
    **{f"{recipe} without a branch": (recipe, plain, X, "nothing to do") for recipe in (*GATING, *DEEP)},
    **{
        f"{recipe} of a gated model": (recipe, gated, X, r"gated already: it has 'blocks.0.last.branch_gate' and 5")
        for recipe in GATING
    },
    **{f"{recipe} of a block that is used again": (recipe, Reused, X, "no place for a gate") for recipe in GATING},
    **{f"{recipe} of a bare activation": (recipe, Activated, X, "no place for a gate") for recipe in GATING},
    "rezero of a fused model": ("rezero", closed, X, "closed twice"),
    "deepnorm with norms in front": ("deepnorm", lambda: encoder(norm_first=True), tokens(), "norms behind the sums"),
    "admin with norms in front": ("admin", lambda: encoder(norm_first=True), tokens(), "norms behind the sums"),
    "fixup with norms": ("fixup", encoder, tokens(), "without norms"),
    "t-fixup with norms": ("t-fixup", encoder, tokens(), "without norms"),
    "t-fixup without attention": ("t-fixup", Residual, X, "for transformers"),
    "sub-ln without attention": ("sub-ln", Residual, X, "for transformers"),
    "adaln-zero without modulation": ("adaln-zero", Residual, X, "no modulation"),
    "mup by its name": ("mup", Residual, X, "has no base"),
    "mup by its name, with options": ("mup(zero_head=false)", Residual, X, "has no base"),
}


def state(model):
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    return {name: value.clone() for name, value in model.state_dict().items()}, hooks


def assert_as_it_was(model, before):
    after, hooks = state(model)
    assert list(after) == list(before[0])
    assert all(torch.equal(after[name], value) for name, value in before[0].items())
    assert hooks == before[1]


@pytest.mark.parametrize("name", CASES)
def test_it_is_one_error_and_the_model_is_left_as_it_was(name):
    recipe, make, example, words = CASES[name]
    torch.manual_seed(0)
    model = make()
    before = state(model)
    with pytest.raises(ExnihiloError, match=words) as caught:
        xn.initialize(model, recipe, example, seed=0)
    assert caught.value.fix
    assert "\n  Fix: " in str(caught.value)
    assert_as_it_was(model, before)


class Layered(nn.Module):
    """A stem that is a linear map or a convolution, under one name."""

    def __init__(self, stem, width=WIDTH):
        super().__init__()
        self.stem, self.head = stem, nn.Linear(8 * width, 4)

    def forward(self, x):
        return self.head(self.stem(x[:, None] if isinstance(self.stem, nn.Conv1d) else x).flatten(1))


class Longer(Residual):
    def __init__(self, **options):
        super().__init__(**options)
        self.extra = nn.Linear(options["width"], options["width"])

    def forward(self, x):
        return self.head(self.extra(self.blocks(self.stem(x))))


def convolved(kernel=3, width=WIDTH):
    return Layered(nn.Conv1d(1, width, kernel, padding=kernel // 2), width)


# The base, the model, and words of the message.
BASES = {
    "more blocks": (lambda: Residual(blocks=3), lambda: Residual(blocks=2, width=32), "2 maps differ"),
    "fewer blocks": (lambda: Residual(blocks=2), lambda: Residual(blocks=3, width=32), "2 maps differ"),
    "another layer": (lambda: Longer(width=16), lambda: Residual(width=32), "1 map differs"),
    "another kind of map": (lambda: Layered(nn.Linear(8, 8 * WIDTH)), convolved, "1 map differs"),
    "another kernel": (convolved, lambda: convolved(kernel=5, width=32), "1 map differs"),
    "a wider base": (lambda: Residual(width=32), Residual, "base of recipe 'mup' is wider than Residual"),
}


@pytest.mark.parametrize("name", BASES)
def test_a_base_of_another_architecture_is_refused(name):
    base, make, words = BASES[name]
    model = make()
    before = state(model)
    with pytest.raises(RecipeError, match=words) as caught:
        xn.initialize(model, xn.mup(base(), X), X, seed=0)
    assert caught.value.fix
    assert_as_it_was(model, before)


def test_wider_heads_are_refused_and_more_of_them_are_not():
    base = xn.mup(encoder(), tokens())
    with pytest.raises(RecipeError, match="16 wide, and 8 in the base") as caught:
        xn.plan(encoder(width=32), base, example=tokens(32))
    assert "heads of 8" in caught.value.fix
    assert xn.plan(encoder(width=32, heads=4), base, example=tokens(32)).rows


def test_the_base_itself_is_planned_at_its_own_rates():
    """So the base is tuned by the law that its wider selves are given."""
    model = Residual()
    assert {row.rate for row in xn.plan(model, xn.mup(model, X), example=X).rows} == {1.0}


@pytest.mark.parametrize("recipe", ["deepnorm", "admin", "sub-ln"])
def test_one_layer_is_deep_enough(recipe):
    model = encoder(layers=1, heads=WIDTH)
    xn.initialize(model, recipe, tokens(), seed=0)
    assert all(torch.isfinite(value).all() for value in model.state_dict().values())


@pytest.mark.parametrize("recipe", GATING)
def test_one_branch_of_one_map_is_enough(recipe):
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.map, self.head = nn.Linear(8, 4), nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, x):
            x = self.stem(x)
            return self.head(x + self.map(F.relu(x)))

    model = One()
    xn.initialize(model, recipe, X, seed=0)
    assert torch.isfinite(model(X)).all()


def test_a_last_map_that_is_tied_takes_its_gate_where_its_module_is_called():
    torch.manual_seed(0)
    model, ones = tied(), tied()
    model.load_state_dict(ones.state_dict())
    xn.initialize(model, "rezero(epsilon=0.5)", X, seed=0)
    block, x = ones.blocks[0], torch.randn(3, WIDTH)
    expected = x + 0.5 * block.last(torch.relu(block.first(x)))
    torch.testing.assert_close(model.blocks[0](x), expected)
    assert "blocks.0.last.branch_gate" in dict(xn.fuse(model).left)


# What is done with a model that was planned for ReZero, and words of the error.
GATE_ERRORS = {
    "attached twice": (lambda model, gates: (xn.attach(model, gates), xn.attach(model, gates)), "it is gated"),
    "one gate twice": (lambda model, gates: xn.attach(model, [*gates, gates[0]]), "added twice"),
    "no gates": (lambda model, gates: xn.attach(model, ["blocks.0.last"]), "is no gate"),
    "a text": (lambda model, gates: xn.attach(model, "blocks.0.last"), "is no gate"),
    "another model's gates": (lambda model, gates: xn.attach(plain(), gates), "has no parameter"),
    "a module that is not there": (
        lambda model, gates: xn.attach(model, [Gate(module="blocks.9", parameter="stem.weight")]),
        "has no module 'blocks.9'",
    ),
    "fused without gates": (lambda model, gates: xn.fuse(model), "no gates"),
}


@pytest.mark.parametrize("name", GATE_ERRORS)
def test_gates_are_added_whole_or_not_at_all(name):
    act, words = GATE_ERRORS[name]
    model = Residual()
    gates = xn.plan(model, "rezero", example=X).gates
    expected = copy.deepcopy(model)
    with pytest.raises(GateError, match=words) as caught:
        act(model, gates)
    assert caught.value.fix
    if name != "attached twice":
        assert not gates_of(model)
    assert torch.equal(model(X), expected(X))


def test_a_weight_of_whole_numbers_takes_no_gate():
    model = Residual()
    model.blocks[3].last.weight = nn.Parameter(torch.zeros(16, 32, dtype=torch.int8), requires_grad=False)
    names = [f"blocks.{i}.last" for i in range(4)]
    with pytest.raises(GateError, match=r"holds torch\.int8"):
        xn.attach(model, [Gate(module=name, parameter=f"{name}.weight") for name in names])
    assert not gates_of(model)


def test_the_same_plan_applies_again_and_another_model_is_refused():
    model = Residual()
    plan = xn.plan(model, "rezero", example=X)
    xn.apply(plan, model, seed=0)
    xn.apply(plan, model, seed=0)
    other = Images()
    before = state(other)
    with pytest.raises(ExnihiloError, match="was made for another"):
        xn.apply(plan, other, seed=0)
    assert_as_it_was(other, before)
    assert torch.isfinite(other(pictures()[0])).all()
