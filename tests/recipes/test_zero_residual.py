"""zero-residual: what makes each branch's output zero, and which branches it must leave."""

import copy
from dataclasses import replace

import pytest
import torch
from built_structures import mlp_branch, parameter, schemes, structure
from torch import nn

import exnihilo as xn
from exnihilo.errors import RecipeError
from exnihilo.layouts import Layout
from exnihilo.plans.apply import initialize
from exnihilo.recipes.zero_residual import ZeroResidual
from exnihilo.schemes import Constant, Zeros
from exnihilo.structure.records import Role, Slice

STEM = parameter("stem.weight", Role.STEM)


def assigned(parameters, *branches):
    return ZeroResidual().assign(structure(STEM, *parameters, branches=branches))


def test_the_last_map_and_its_bias_are_zero_and_all_else_is_kept():
    parameters, branch = mlp_branch("b")
    found = assigned(parameters, branch)
    assert schemes(found) == {"b.fc2.weight": Zeros(), "b.fc2.bias": Zeros()}
    assert set(found) == {"stem.weight", *(p.name for p in parameters)}


def test_the_norm_behind_the_last_map_is_closed_and_the_map_is_kept():
    norm = [parameter("b.n.weight", Role.NORM_SCALE), parameter("b.n.bias", Role.NORM_SHIFT, follows="b.n.weight")]
    parameters, branch = mlp_branch("b", behind=norm, outputs=("b.n.weight",), output_biases=("b.n.bias",))
    assert schemes(assigned(parameters, branch)) == {"b.n.weight": Zeros(), "b.n.bias": Zeros()}


def test_a_norm_that_multiplies_by_one_plus_its_weight_gets_minus_one():
    norm = [parameter("b.n.weight", Role.NORM_SCALE, offset=1.0)]
    parameters, branch = mlp_branch("b", behind=norm, outputs=("b.n.weight",), output_biases=())
    assert schemes(assigned(parameters, branch)) == {"b.n.weight": Constant(value=-1.0)}


def test_a_scale_behind_the_branch_is_zero_and_the_map_is_kept():
    gamma = [parameter("b.gamma", Role.BRANCH_SCALE)]
    parameters, branch = mlp_branch("b", behind=gamma, outputs=("b.gamma",), output_biases=(), scales=("b.gamma",))
    assert schemes(assigned(parameters, branch)) == {"b.gamma": Zeros()}


def test_a_branch_gated_by_a_condition_is_closed_by_its_gate_alone():
    gate = [
        parameter("b.ada.weight", Role.MODULATION, activation="linear"),
        parameter("b.ada.bias", Role.BIAS, follows="b.ada.weight"),
    ]
    parameters, branch = mlp_branch("b", modulated_by=("b.ada.weight",))
    found = assigned([*parameters, *gate], branch)
    assert schemes(found) == {"b.ada.weight": Zeros(), "b.ada.bias": Zeros()}
    assert found["b.fc2.weight"].reason == "the gate of its branch is zero; one zero is enough"


def test_a_gate_behind_a_sigmoid_is_no_zero_so_that_the_map_is_closed():
    gate = [parameter("b.ada.weight", Role.MODULATION, activation="sigmoid")]
    parameters, branch = mlp_branch("b", modulated_by=("b.ada.weight",))
    assert set(schemes(assigned([*parameters, *gate], branch))) == {"b.fc2.weight", "b.fc2.bias"}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"ends_in": "relu"}, "it ends in relu, whose gradient at 0 is 0: it would stay zero for ever"),
        ({"ends_in": "sigmoid"}, "it ends in sigmoid, which is 0.5 at 0"),
        ({"ends_in": "softmax"}, "it ends in softmax, which is never 0"),
        ({"ends_in": "odd"}, "it ends in odd, whose gradient at 0 is not known"),
        ({"outputs": (), "output_biases": ()}, "it ends in something without parameters"),
        ({"outputs": (), "output_biases": (), "ends_in": "softplus"}, "it ends in softplus, which is 0.6931 at 0"),
    ],
)
def test_a_branch_that_zeros_would_not_close_or_never_open_is_left_with_the_reason(change, why):
    parameters, branch = mlp_branch("b", 1, **change)
    others, fine = mlp_branch("a", 0)
    found = assigned([*others, *parameters], fine, branch)
    assert set(schemes(found)) == {"a.fc2.weight", "a.fc2.bias"}
    assert found["b.fc2.weight"].reason == f"its branch stays open: {why}"


@pytest.mark.parametrize("ends_in", ["tanh", "gelu", "silu", "linear", None])
def test_a_branch_is_closed_before_an_activation_that_lets_zeros_and_gradients_pass(ends_in):
    parameters, branch = mlp_branch("b", ends_in=ends_in)
    assert "b.fc2.weight" in schemes(assigned(parameters, branch))


@pytest.mark.parametrize("fact", ["frozen", "detached"])
def test_a_branch_that_no_gradient_would_open_is_left(fact):
    parameters, branch = mlp_branch("b")
    parameters[2] = replace(parameters[2], **{fact: True})
    others, fine = mlp_branch("a", 1)
    found = assigned([*parameters, *others], branch, fine)
    assert found["b.fc2.weight"].reason == "its branch stays open: no gradient would ever open it"


def test_where_every_branch_must_be_left_the_recipe_is_refused_with_the_reasons():
    parameters, branch = mlp_branch("b", ends_in="relu")
    with pytest.raises(RecipeError) as caught:
        assigned(parameters, branch)
    assert caught.value.fact == "Recipe 'zero-residual' closes none of the 1 residual branches of Net."
    (line,) = caught.value.context
    assert line.startswith("'b.fc2.weight': its branch stays open: it ends in relu, whose gradient at 0 is 0")


def test_without_a_branch_the_recipe_is_refused():
    with pytest.raises(RecipeError, match="Net has no residual branch"):
        assigned([])


def test_a_map_that_several_branches_end_in_is_closed_once():
    parameters, first = mlp_branch("b", 0)
    found = assigned(parameters, first, replace(first, index=1))
    assert set(schemes(found)) == {"b.fc2.weight", "b.fc2.bias"}


def test_a_tied_end_is_written_under_its_owner():
    parameters, branch = mlp_branch("b")
    owner = parameter("a.weight", Role.RESIDUAL_OUT)
    parameters[2] = replace(parameters[2], tied_to="a.weight")
    found = assigned([owner, *parameters], branch)
    assert "a.weight" in schemes(found)
    assert "b.fc2.weight" not in found


@pytest.mark.parametrize("role", [Role.EMBEDDING, Role.HEAD])
def test_a_tensor_that_is_something_else_elsewhere_is_not_erased(role):
    parameters, branch = mlp_branch("b")
    tied = parameter("other.weight", role, tied_to="b.fc2.weight")
    others, fine = mlp_branch("a", 1)
    found = assigned([*parameters, tied, *others], branch, fine)
    assert f"is {role} too" in found["b.fc2.weight"].reason


def test_a_packed_tensor_of_which_only_a_part_ends_the_branch_is_not_erased():
    parameters, branch = mlp_branch("b")
    slices = (Slice(role=Role.RESIDUAL_OUT, ranges=((0, 4),)), Slice(role=Role.HIDDEN, ranges=((4, 8),)))
    parameters[2] = replace(parameters[2], slices=slices)
    others, fine = mlp_branch("a", 1)
    assert "is HIDDEN too" in assigned([*parameters, *others], branch, fine)["b.fc2.weight"].reason


def test_a_tensor_that_another_branch_uses_inside_is_not_erased_but_one_of_an_enclosing_branch_is():
    parameters, branch = mlp_branch("b", 0)
    others, other = mlp_branch("a", 1)
    other = replace(other, members=(*other.members, "b.fc2.weight"))
    assert "another branch uses" in assigned([*parameters, *others], branch, other)["b.fc2.weight"].reason
    enclosed = replace(branch, parent=1)
    assert "b.fc2.weight" in schemes(assigned([*parameters, *others], enclosed, other))


class Mirrored(nn.Module):
    """A branch whose last map is its first one transposed."""

    def __init__(self):
        super().__init__()
        self.u, self.block, self.head = nn.Parameter(torch.randn(8, 6)), nn.Linear(6, 6), nn.Linear(6, 2)

    def forward(self, x):
        x = x + nn.functional.linear(torch.relu(nn.functional.linear(x, self.u)), self.u.t())
        return self.head(x + self.block(x))


def test_a_tensor_that_its_own_branch_uses_inside_too_is_not_made_two_zeros_of_one_product():
    rows = xn.plan(Mirrored(), "zero-residual", example=torch.zeros(1, 6)).by_name
    assert (rows["u"].action, rows["block.weight"].scheme) == ("keep", "zeros")
    assert "its last tensor is used before relu too" in rows["u"].reason


# Real modules: the promise is seen by running them.


class Block(nn.Module):
    def __init__(self, width, behind=None, offset=0.0):
        super().__init__()
        self.up, self.down = nn.Linear(width, 12), nn.Linear(12, width)
        self.behind = behind

    def forward(self, x):
        y = self.down(torch.relu(self.up(x)))
        return x + (self.behind(y) if self.behind is not None else y)


class Offset(nn.Module):
    """A norm that multiplies by 1 + w, as Gemma's."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * (1 + self.weight)


class Scale(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((width,), 1e-5))

    def forward(self, x):
        return x * self.gamma


class Gated(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.up, self.down, self.ada = nn.Linear(width, 12), nn.Linear(12, width), nn.Linear(width, 3 * width)

    def forward(self, x, c):
        shift, scale, gate = self.ada(torch.nn.functional.silu(c)).chunk(3, dim=-1)
        return x + gate * self.down(torch.relu(self.up(self.norm(x) * (1 + scale) + shift)))


class Net(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.stem, self.blocks, self.head = (
            nn.Linear(6, 6),
            nn.Sequential(*[copy.deepcopy(block) for _ in range(3)]),
            nn.Linear(6, 2),
        )

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


REAL = {
    "plain": Block(6),
    "layer norm": Block(6, nn.LayerNorm(6)),
    "batch norm": Block(6, nn.BatchNorm1d(6)),
    "layer scale": Block(6, Scale(6)),
    "one plus w": Block(6, Offset(6)),
}


@pytest.mark.parametrize("name", REAL)
def test_real_blocks_start_as_the_identity_and_every_parameter_of_theirs_learns(name):
    torch.manual_seed(0)
    model, x = Net(REAL[name]), torch.randn(5, 6)
    initialize(model, "zero-residual", x, seed=0)
    h = model.stem(x)
    assert torch.equal(model.blocks(h), h)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(4):
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()
    still = [name for name, p in model.named_parameters() if torch.equal(p, before[name])]
    assert still == []


def test_a_gated_block_starts_as_the_identity_and_its_gate_opens_first():
    torch.manual_seed(0)
    model, x, c = Gated(), torch.randn(5, 6), torch.randn(5, 6)
    plan = xn.plan(model, "zero-residual", example=(x, c))
    assert {row.parameter for row in plan.rows if row.action == "assign"} == {"ada.weight", "ada.bias"}
    xn.apply(plan, model, seed=0)
    assert torch.equal(model(x, c), x)
    model(x, c).square().sum().backward()
    assert model.ada.weight.grad.any() and not model.down.weight.grad.any()


def test_a_branch_whose_map_the_model_itself_made_zero_is_not_closed_twice():
    model, x = Net(Block(6, nn.LayerNorm(6))), torch.randn(5, 6)
    for block in model.blocks:
        nn.init.zeros_(block.down.weight)
    with pytest.raises(RecipeError) as caught:
        xn.plan(model, "zero-residual", example=x)
    assert "'blocks.0.behind.weight' is planned zero, and 'blocks.0.down.weight', which is kept, is zero" in str(
        caught.value
    )
    plan = xn.plan(model, "zero-residual", example=x, overrides={"blocks.*.down.weight": "lecun_normal"})
    xn.apply(plan, model, seed=0)
    model(x).square().sum().backward()
    assert all(block.behind.weight.grad.any() for block in model.blocks)


def test_a_bias_before_a_scale_keeps_a_zero_map_alive():
    model, x = Net(Block(6, Scale(6))), torch.randn(5, 6)
    for block in model.blocks:
        nn.init.zeros_(block.down.weight)
    xn.plan(model, "zero-residual", example=x)
    for block in model.blocks:
        nn.init.zeros_(block.down.bias)
    with pytest.raises(RecipeError, match="closed twice"):
        xn.plan(model, "zero-residual", example=x)


def test_layouts_do_not_matter_for_zeros():
    parameters, branch = mlp_branch("b")
    parameters[2] = replace(parameters[2], layout=Layout.conv(8, 8, (3, 3)), shape=(8, 8, 3, 3))
    assert "b.fc2.weight" in schemes(assigned(parameters, branch))
