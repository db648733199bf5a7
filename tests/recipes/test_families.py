"""The recipes that give every parameter a law: against PyTorch's own init, tables by hand, and real models."""

import math

import pytest
import torch
from built_structures import mlp_branch, parameter, schemes, structure
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, RecipeError, UnassignedError, UnknownNameError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.recipes.depth_scaled import DepthScaled
from exnihilo.recipes.gpt2 import GPT2
from exnihilo.recipes.he import He
from exnihilo.recipes.laws import MapLaw, by_role, keep
from exnihilo.recipes.lecun import LeCun
from exnihilo.recipes.named import RECIPES, recipe_named, recipe_text, recipes
from exnihilo.recipes.orthogonal import OrthogonalMaps
from exnihilo.recipes.records import Recipe
from exnihilo.recipes.xavier import Xavier
from exnihilo.recipes.zero_bias import ZeroBias
from exnihilo.recipes.zero_head import ZeroHead
from exnihilo.schemes import Normal, Ones, Orthogonal, VarianceScaling, Zeros, he_normal, lecun_normal
from exnihilo.structure.records import Attention, Role


def mlp(activation=nn.ReLU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(300, 400), activation(), nn.Linear(400, 500), activation(), nn.Linear(500, 200))


EXAMPLE = torch.zeros(1, 300)


def stds(plan):
    return {row.parameter: row.expected_std for row in plan.rows if row.parameter.endswith("weight")}


@pytest.mark.parametrize(
    ("recipe", "draw"),
    [
        ("he", lambda w, f: nn.init.kaiming_normal_(w, nonlinearity=f)),
        ("he(distribution=uniform)", lambda w, f: nn.init.kaiming_uniform_(w, nonlinearity=f)),
        ("he(mode=fan_out)", lambda w, f: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity=f)),
        ("xavier", lambda w, f: nn.init.xavier_uniform_(w, nn.init.calculate_gain(f))),
        ("xavier(distribution=normal)", lambda w, f: nn.init.xavier_normal_(w, nn.init.calculate_gain(f))),
        ("orthogonal", lambda w, f: nn.init.orthogonal_(w, nn.init.calculate_gain(f))),
    ],
)
def test_a_plain_relu_network_gets_what_pytorchs_own_init_delivers(recipe, draw):
    model = mlp()
    expected = stds(xn.plan(model, recipe, example=EXAMPLE))
    for name, follows in (("0.weight", "relu"), ("2.weight", "relu"), ("4.weight", "linear")):
        delivered = draw(model.get_parameter(name), follows).std(correction=0).item()
        assert math.isclose(expected[name], delivered, rel_tol=0.01), name


@pytest.mark.parametrize(
    ("activation", "gain"), [(nn.GELU, 1.5335), (nn.SiLU, 1.6765), (nn.Tanh, 1.5925), (nn.Mish, 1.4868)]
)
def test_the_gain_is_that_of_the_activation_that_really_follows(activation, gain):
    expected = stds(xn.plan(mlp(activation), "he", example=EXAMPLE))
    assert expected["0.weight"] == pytest.approx(gain / math.sqrt(300), rel=1e-4)
    assert expected["4.weight"] == pytest.approx(1.0 / math.sqrt(500))


def test_the_backward_gain_goes_with_fan_out():
    expected = stds(xn.plan(mlp(nn.Tanh), "he(mode=fan_out)", example=EXAMPLE))
    assert expected["0.weight"] == pytest.approx(1.4674 / math.sqrt(400), rel=1e-4)


def test_lecun_has_no_gain_whatever_follows():
    expected = stds(xn.plan(mlp(nn.GELU), "lecun", example=EXAMPLE))
    assert expected == pytest.approx({"0.weight": 300**-0.5, "2.weight": 400**-0.5, "4.weight": 500**-0.5})


def test_a_relu_network_under_he_keeps_its_mean_square_through_every_layer():
    model = nn.Sequential(*[layer for _ in range(10) for layer in (nn.Linear(512, 512), nn.ReLU())])
    x = torch.randn(256, 512, generator=torch.Generator().manual_seed(0))
    plan = xn.plan(model, "he", example=x)
    # The last map is the head to read, and yet a ReLU follows it.
    xn.apply(plan, model, seed=0)
    h = model[:-2](x)
    assert 0.7 < (h.square().mean() / x.square().mean()).item() < 1.4


ROLES = [
    parameter("token", Role.EMBEDDING, Layout.vector(1, 1, 8)),
    parameter("embedding", Role.EMBEDDING, Layout.embedding(30, 8)),
    parameter("position", Role.POSITION, Layout.embedding(20, 8)),
    parameter("hidden", Role.HIDDEN, activation="relu"),
    parameter("bias", Role.BIAS),
    parameter("norm", Role.NORM_SCALE),
    parameter("gemma", Role.NORM_SCALE, offset=1.0),
    parameter("shift", Role.NORM_SHIFT),
    parameter("layer_scale", Role.BRANCH_SCALE),
    parameter("temperature", Role.SCALE),
    parameter("lora", Role.ADAPTER, Layout.linear(8, 2)),
    parameter("recurrent", Role.RECURRENT, Layout.recurrent(8, 8, 4)),
    parameter("router", Role.ROUTER, activation="softmax"),
    parameter("modulation", Role.MODULATION, activation="linear"),
    parameter("grouped", Role.HIDDEN, Layout.conv(8, 8, (3, 3), groups=4), activation="relu"),
    parameter("packed", Role.QUERY, Layout.packed(8, 8, 3), activation="linear"),
    parameter("frozen", Role.HIDDEN, frozen=True),
    parameter("unused", Role.UNKNOWN, used=False),
    parameter("head", Role.HEAD, activation="sigmoid"),
]


def test_every_role_has_its_law_and_none_is_left_out():
    found = He().assign(structure(*ROLES))
    assert schemes(found) == {
        "token": Normal(std=0.02),
        "embedding": Normal(std=0.02),
        "position": Normal(std=0.02),
        "hidden": he_normal(),
        "bias": Zeros(),
        "norm": Ones(),
        "gemma": Zeros(),
        "shift": Zeros(),
        "recurrent": lecun_normal(),
        "router": lecun_normal(),
        "modulation": lecun_normal(),
        "grouped": he_normal(),
        "packed": lecun_normal(),
        "head": lecun_normal(),
    }
    kept = {name: entry.reason for name, entry in found.items() if entry.scheme is None}
    assert set(kept) == {"layer_scale", "temperature", "lora", "frozen", "unused"}
    assert set(found) == {p.name for p in ROLES}


def test_fans_are_those_of_one_group_and_of_one_packed_matrix():
    found = Xavier(distribution="normal").assign(structure(*ROLES))
    by_name = {p.name: p.layout for p in ROLES}
    # By hand: a group maps 2 channels of 9 positions to 2; a packed matrix maps 8 to 8.
    assert found["grouped"].scheme.expected_std(by_name["grouped"]) == pytest.approx(math.sqrt(2.0 * 2 / (18 + 18)))
    assert found["packed"].scheme.expected_std(by_name["packed"]) == pytest.approx(math.sqrt(2.0 / 16))


def test_an_embedding_that_is_the_head_too_is_small():
    tied = structure(
        parameter("wte", Role.EMBEDDING, Layout.embedding(30, 8)),
        parameter("head", Role.HEAD, Layout.linear(30, 8), tied_to="wte"),
    )
    found = He().assign(tied)
    assert schemes(found) == {"wte": Normal(std=0.02)}
    assert "read as the head" in found["wte"].reason


def test_a_parameter_of_unknown_role_is_named_with_shape_role_and_evidence():
    class Powers(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.exponent = nn.Linear(4, 2), nn.Parameter(torch.ones(2))

        def forward(self, x):
            return self.map(x).abs() ** self.exponent

    with pytest.raises(UnassignedError) as caught:
        xn.plan(Powers(), "he", example=torch.zeros(1, 4))
    assert caught.value.context == ("exponent: shape (2,), role UNKNOWN: read by pow",)
    plan = xn.plan(Powers(), "he", example=torch.zeros(1, 4), keep=["role:UNKNOWN"])
    assert plan.by_name["exponent"].action == "keep"


# Recipes that keep most.


def test_default_keeps_everything():
    assert schemes(recipe_named("default").assign(structure(*ROLES))) == {}


@pytest.mark.parametrize(
    ("text", "value"), [("zeros", 0.0), ("constant(value=0.5)", 0.5), ("zeros+noise(std=0.0)", 0.0)]
)
def test_one_law_for_all_leaves_out_frozen_parameters_alone(text, value):
    found = schemes(recipe_named(text).assign(structure(*ROLES)))
    assert set(found) == {p.name for p in ROLES} - {"frozen"}
    assert all((scheme.sample(Layout.vector(3), Key(0, "w")) == value).all() for scheme in found.values())


def test_noise_around_zero_has_its_std():
    (scheme,) = schemes(recipe_named("zeros+noise(std=0.3)").assign(structure(ROLES[3]))).values()
    assert scheme.expected_std(Layout.linear(3, 3)) == pytest.approx(0.3)


def test_zero_bias_zeroes_biases_and_shifts_alone():
    found = ZeroBias().assign(structure(*ROLES, parameter("frozen_bias", Role.BIAS, frozen=True)))
    assert schemes(found) == {"bias": Zeros(), "shift": Zeros()}
    with pytest.raises(RecipeError, match="has no bias and no shift"):
        ZeroBias().assign(structure(ROLES[3]))


def head(**facts):
    layout = Layout.linear(3, 8)
    return [
        parameter("head.weight", Role.HEAD, layout, activation=facts.pop("activation", "linear"), **facts),
        parameter("head.bias", Role.BIAS, Layout.vector(3), follows="head.weight"),
    ]


def test_zero_head_zeroes_the_head_and_its_bias_alone():
    found = ZeroHead().assign(structure(ROLES[3], ROLES[4], *head()))
    assert schemes(found) == {"head.weight": Zeros(), "head.bias": Zeros()}


def test_a_head_of_zeros_with_a_prior_starts_at_the_entropy_of_the_prior():
    model, x = mlp(), torch.randn(64, 300)
    model[4] = nn.Linear(500, 3)
    counts = (5.0, 3.0, 2.0)
    prior = tuple(c / 10.0 for c in counts)
    xn.apply(xn.plan(model, f"zero-head(class_prior={prior})", example=x), model, seed=0)
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    entropy = -sum(p * math.log(p) for p in prior)
    assert nn.functional.cross_entropy(model(x[:10]), labels).item() == pytest.approx(entropy, rel=1e-6)
    xn.apply(xn.plan(model, "zero-head", example=x), model, seed=0)
    assert nn.functional.cross_entropy(model(x[:10]), labels).item() == pytest.approx(math.log(3), rel=1e-6)


def test_a_logistic_head_starts_at_its_one_prior():
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))
    xn.apply(xn.plan(model, "zero-head(class_prior=0.01)", example=torch.ones(1, 4)), model, seed=0)
    torch.testing.assert_close(torch.sigmoid(model(torch.ones(1, 4))), torch.full((1, 5), 0.01))


@pytest.mark.parametrize(
    ("parameters", "why"),
    [
        ([ROLES[3]], "Net has no head"),
        (head(frozen=True), "receives no gradient"),
        (head(detached=True), "receives no gradient"),
        (head(activation="relu"), "ends in relu, whose gradient at 0 is 0"),
        (head(tied_to="wte"), "shares its tensor with 'wte'"),
        ([*head(), parameter("wte", Role.EMBEDDING, tied_to="head.weight")], "shares its tensor with 'wte'"),
        (
            [parameter("wte", Role.EMBEDDING), parameter("h", Role.EMBEDDING, tied_to="wte")],
            "'h' is the embedding 'wte'",
        ),
    ],
)
def test_a_head_that_zeros_would_break_is_refused(parameters, why):
    with pytest.raises(RecipeError) as caught:
        ZeroHead().assign(structure(*parameters))
    assert why in str(caught.value)


@pytest.mark.parametrize("prior", [(0.5, 0.5), (0.2, 0.3, 0.4, 0.1)])
def test_a_prior_needs_a_bias_of_its_size(prior):
    with pytest.raises(RecipeError, match="needs a head with a bias of"):
        ZeroHead(class_prior=prior).assign(structure(*head()))


def test_a_prior_is_normalized():
    found = schemes(ZeroHead(class_prior=(0.5, 0.5, 0.25)).assign(structure(*head())))
    assert [math.exp(value) for value in found["head.bias"].values] == pytest.approx([0.4, 0.4, 0.2])


@pytest.mark.parametrize("prior", [0.0, 1.0, (0.5, 0.0), (0.5, -0.5)])
def test_a_prior_is_made_of_probabilities(prior):
    with pytest.raises(InvalidValueError, match=r"each must be in \(0, 1\)"):
        ZeroHead(class_prior=prior)


# Depth.


def layers(num, parts=("attn", "mlp")):
    """Branches of ``num`` layers, and their parameters, in the order of execution."""
    parameters, branches, attentions = [], [], []
    for i in range(num):
        for part in parts:
            made, branch = mlp_branch(f"{i}.{part}", len(branches))
            parameters += made
            branches.append(branch)
            if part != "mlp":
                attentions.append(Attention(query=(), key=(), value=(), out=branch.maps))
    return structure(*parameters, branches=branches, attentions=tuple(attentions))


def divided(built, recipe):
    """By map: by what its std is divided, beside LeCun's for 8 inputs."""
    found = schemes(recipe.assign(built))
    return {name: 8**-0.5 / scheme.expected_std(Layout.linear(8, 8)) for name, scheme in found.items()}


def test_the_last_maps_are_divided_by_the_root_of_twice_the_layers():
    expected = {f"{i}.{part}.fc2.weight": math.sqrt(2 * 3) for i in range(3) for part in ("attn", "mlp")}
    assert divided(layers(3), DepthScaled()) == pytest.approx(expected)


def test_per_layer_the_last_maps_are_divided_by_the_root_of_twice_the_layers_so_far():
    expected = {f"{i}.{part}.fc2.weight": math.sqrt(2 * (i + 1)) for i in range(3) for part in ("attn", "mlp")}
    assert divided(layers(3), DepthScaled(per="layer")) == pytest.approx(expected)


def test_a_decoders_cross_attention_is_of_the_layer_of_its_self_attention():
    parts = ("attn", "cross", "mlp")
    expected = {f"{i}.{part}.fc2.weight": math.sqrt(3 * (i + 1)) for i in range(2) for part in parts}
    assert divided(layers(2, parts), DepthScaled(per="layer")) == pytest.approx(expected)


@pytest.mark.parametrize("part", ["mlp", "attn"])
def test_where_each_layer_is_one_branch_the_branches_are_counted(part):
    expected = {f"{i}.{part}.fc2.weight": math.sqrt(i + 1) for i in range(4)}
    assert divided(layers(4, (part,)), DepthScaled(per="layer")) == pytest.approx(expected)


def test_branches_inside_a_branch_are_counted_among_themselves():
    outer, first = mlp_branch("o", 0)
    inner, second = mlp_branch("i", 1, parent=0)
    others, third = mlp_branch("j", 2, parent=0)
    built = structure(*outer, *inner, *others, branches=(first, second, third))
    expected = {"o.fc2.weight": 1.0, "i.fc2.weight": math.sqrt(2), "j.fc2.weight": math.sqrt(2)}
    assert divided(built, DepthScaled()) == pytest.approx(expected)


def test_the_base_law_is_what_is_divided():
    found = schemes(DepthScaled(base=Normal(std=0.02)).assign(layers(2)))
    assert set(found.values()) == {Normal(std=0.01)}


def test_a_map_before_a_norm_is_kept_since_the_norm_would_undo_the_factor():
    norm = [parameter("b.n.weight", Role.NORM_SCALE)]
    parameters, branch = mlp_branch("b", 0, behind=norm, outputs=("b.n.weight",), norm="sandwich")
    others, free = mlp_branch("a", 1)
    found = DepthScaled().assign(structure(*parameters, *others, branches=(branch, free)))
    assert set(schemes(found)) == {"a.fc2.weight"}
    assert found["b.fc2.weight"].reason == "a norm behind it would take a factor out again"
    with pytest.raises(RecipeError, match="no branch of Net ends in a map whose scale matters"):
        DepthScaled().assign(structure(*parameters, branches=(branch,)))


def test_a_norm_without_parameters_behind_the_map_undoes_the_factor_too():
    parameters, branch = mlp_branch("b", 0, norm="sandwich")
    with pytest.raises(RecipeError, match="whose scale matters"):
        DepthScaled().assign(structure(*parameters, branches=(branch,)))


@pytest.mark.parametrize("recipe", [DepthScaled(), GPT2()])
def test_recipes_by_depth_need_a_branch(recipe):
    with pytest.raises(RecipeError, match="has no residual branch"):
        recipe.assign(structure(*ROLES))


def test_depth_scaling_options_are_checked_when_they_are_given():
    with pytest.raises(UnknownNameError, match="Did you mean 'layer'"):
        DepthScaled(per="layers")
    with pytest.raises(InvalidValueError, match="cannot be scaled"):
        recipe_named("depth-scaled(base=torch_default)")


class Attend(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        q, k, v = self.c_attn(x).chunk(3, dim=-1)
        return self.c_proj(nn.functional.scaled_dot_product_attention(q, k, v))


class Layer(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(width), Attend(width), nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class SmallGPT(nn.Module):
    def __init__(self, num_layers=3, width=16):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(40, width), nn.Embedding(12, width)
        self.h = nn.Sequential(*[Layer(width) for _ in range(num_layers)])
        self.ln_f, self.lm_head = nn.LayerNorm(width), nn.Linear(width, 40, bias=False)
        self.lm_head.weight = self.wte.weight

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1]))
        return self.lm_head(self.ln_f(self.h(x)))


def test_gpt2s_rule_as_it_is_written_by_hand_for_gpt2():
    """The rule as nanoGPT writes it: by class, and by names that end in ``c_proj.weight``."""
    model = SmallGPT()
    expected = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            ends = name.endswith(("c_proj", "mlp.2"))
            expected[f"{name}.weight"] = 0.02 / math.sqrt(2 * 3) if ends else 0.02
    plan = xn.plan(model, "gpt2", example=torch.zeros(1, 8, dtype=torch.long))
    found = {row.parameter: row.expected_std for row in plan.rows if row.parameter in expected and row.action != "tied"}
    assert found == pytest.approx({name: std for name, std in expected.items() if name != "lm_head.weight"})
    others = [row for row in plan.rows if row.parameter not in expected]
    assert {row.scheme for row in others if row.role is Role.NORM_SCALE} == {"ones"}
    assert {row.scheme for row in others if row.role is not Role.NORM_SCALE} == {"zeros"}
    assert plan.by_name["lm_head.weight"].tied_to == "wte.weight"


# The list.


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_listed_documented_and_reads_back_from_its_text(name):
    recipe = RECIPES[name]()
    assert isinstance(recipe, Recipe)
    assert (recipe.name, recipe_named(recipe_text(recipe))) == (name, recipe)
    doc = type(recipe).__doc__
    assert all(part in doc for part in ("Rule:", "Promise:", "Fails when:", "Example:"))
    assert name == "default" or "References:" in doc
    assert xn.recipes()[name] == recipes()[name] == doc.partition("\n")[0]


@pytest.mark.parametrize(
    "recipe",
    [
        He(mode="fan_out", distribution="uniform"),
        DepthScaled(base=Normal(std=0.02), per="layer"),
        ZeroHead(class_prior=(0.25, 0.75)),
        ZeroHead(class_prior=0.125),
    ],
)
def test_options_of_a_recipe_read_back_from_its_text(recipe):
    assert recipe_named(recipe_text(recipe)) == recipe


def test_the_nearest_recipe_is_suggested():
    with pytest.raises(UnknownNameError, match="Did you mean 'zero-residual'"):
        recipe_named("zero_residual")


def test_each_recipe_has_a_file_of_its_own():
    homes = [type(build()).__module__ for build in RECIPES.values()]
    assert len(set(homes)) == len(homes)


def test_a_law_for_maps_is_all_that_a_new_family_needs():
    law: MapLaw = lambda parameter: keep(parameter.name)  # noqa: E731
    found = by_role(structure(*ROLES), law)
    assert found["hidden"].reason == "hidden"


def test_the_families_differ_as_they_should():
    built = structure(ROLES[3])
    found = [recipe.assign(built)["hidden"].scheme for recipe in (He(), LeCun(), Xavier(), OrthogonalMaps())]
    assert found == [
        he_normal(),
        VarianceScaling(),
        VarianceScaling(scale=math.sqrt(2.0) ** 2, mode="fan_avg", distribution="uniform"),
        Orthogonal(gain=math.sqrt(2.0)),
    ]
