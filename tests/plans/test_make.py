"""A plan has one row for every parameter, and says no to what it cannot hold."""

import pytest
import torch
from planned_models import REFUSING, TOKENS, Net, same, state
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, LayoutError, ReadError, RecipeError, StalePlanError, UnknownNameError
from exnihilo.plans.live import live_parameters
from exnihilo.recipes.default import Default
from exnihilo.recipes.he import He
from exnihilo.recipes.named import RECIPES
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Normal, Zeros
from exnihilo.structure.folding import folded


@pytest.fixture(scope="module")
def structure():
    return xn.read(Net(), TOKENS)


def planned(structure, recipe="default", **options):
    return xn.plan(Net(), recipe, structure=structure, **options)


@pytest.mark.parametrize("recipe", sorted(set(RECIPES) - REFUSING))
def test_every_parameter_has_exactly_one_row_and_nothing_is_written(recipe):
    model = Net()
    before = state(model)
    plan = xn.plan(model, recipe, example=TOKENS)
    names = [name for name, _ in model.named_parameters(remove_duplicate=False)]
    assert [row.parameter for row in plan.rows] == [*names, *(gate.name for gate in plan.gates)]
    assert sum(plan.counts.values()) == len(plan.rows)
    assert plan.by_name["head.weight"].action == "tied"
    assert plan.by_name["head.weight"].tied_to == "embed.weight"
    assert same(before, state(model))


@pytest.mark.parametrize("recipe", sorted(REFUSING))
def test_recipes_without_a_place_refuse_and_say_what_to_do(recipe):
    with pytest.raises(RecipeError) as caught:
        xn.plan(Net(), recipe, example=TOKENS)
    assert caught.value.fix


def test_a_row_says_what_its_scheme_promises(structure):
    row = planned(structure, "he").by_name["blocks.0.up.weight"]
    assert (row.action, row.scheme, row.shape, row.dtype) == ("assign", "he_normal", (16, 8), "float32")
    assert row.expected_std == pytest.approx(0.5)


def test_a_meta_model_is_planned_and_the_plan_applies_to_the_real_one():
    with torch.device("meta"):
        made = xn.plan(Net(), "zero-residual", example=TOKENS.to("meta"))
    model = Net()
    xn.apply(made, model, seed=0)
    assert not model.blocks[0].down.weight.any()


def test_overrides_beat_the_recipe_by_name_and_by_role(structure):
    overrides = {"blocks.0.*": Zeros(), "role:NORM_SCALE": "constant(value=2)"}
    rows = planned(structure, "default", overrides=overrides).by_name
    assert {name: row.scheme for name, row in rows.items() if row.scheme} == {
        "blocks.0.norm.weight": "Constant(value=2.0)",
        "blocks.1.norm.weight": "Constant(value=2.0)",
        "norm.weight": "Constant(value=2.0)",
        **{f"blocks.0.{name}": "zeros" for name in ("norm.bias", "up.weight", "up.bias", "down.weight", "down.bias")},
    }
    assert rows["norm.weight"].reason == "override 'role:NORM_SCALE'"


def test_of_overlapping_overrides_the_last_holds(structure):
    for first, second, expected in (("*", "blocks.0.up.weight", "ones"), ("blocks.0.up.weight", "blocks.*", "ones")):
        overrides = {first: Zeros(), second: "ones"}
        if second == "blocks.*":  # then the first has no effect at all, which is most likely a mistake
            with pytest.raises(InvalidValueError, match=r"'blocks\.0\.up\.weight' has no effect"):
                planned(structure, overrides=overrides)
        else:
            rows = planned(structure, overrides=overrides).by_name
            assert (rows[second].scheme, rows["norm.weight"].scheme) == (expected, "zeros")


def test_keep_beats_recipe_and_overrides(structure):
    rows = planned(structure, "he", overrides={"blocks.*": Zeros()}, keep="blocks.1.*").by_name
    assert rows["blocks.0.up.weight"].scheme == "zeros"
    assert {row.action for name, row in rows.items() if name.startswith("blocks.1")} == {"keep"}
    with pytest.raises(InvalidValueError, match="has no effect"):
        planned(structure, "he", overrides={"blocks.1.up.*": Zeros()}, keep=["blocks.1.*"])


def test_a_tied_tensor_is_meant_by_any_of_its_names(structure):
    rows = planned(structure, overrides={"head.weight": Normal(std=0.5)}).by_name
    assert (rows["embed.weight"].scheme, rows["head.weight"].action) == ("Normal(std=0.5)", "tied")
    assert planned(structure, "he", keep=["head.*"]).by_name["embed.weight"].action == "keep"


@pytest.mark.parametrize("option", ["overrides", "keep"])
def test_a_pattern_that_means_nothing_is_an_error_with_the_nearest_names(structure, option):
    value = {"block.0.up.weight": Zeros()} if option == "overrides" else ["block.0.up.weight"]
    with pytest.raises(UnknownNameError) as caught:
        planned(structure, **{option: value})
    assert caught.value.fact == "Pattern 'block.0.up.weight' matches no parameter of Net."
    assert caught.value.context[0].startswith("nearest names: blocks.0.up.weight")


def test_roles_that_do_not_exist_or_do_not_occur_are_named(structure):
    with pytest.raises(UnknownNameError, match="Did you mean 'RESIDUAL_OUT'"):
        planned(structure, keep=["role:RESIDUAL"])
    with pytest.raises(UnknownNameError, match="'role:ROUTER' matches no parameter"):
        planned(structure, keep=["role:ROUTER"])


@pytest.mark.parametrize("scheme", [Zeros, 0.5, None])
def test_an_override_must_be_a_scheme(structure, scheme):
    with pytest.raises(InvalidValueError, match=r"override of 'norm\.weight' is .*must be a scheme"):
        planned(structure, overrides={"norm.weight": scheme})


@pytest.mark.parametrize("recipe", [He, 3])
def test_a_recipe_must_be_a_name_or_a_recipe(structure, recipe):
    with pytest.raises(InvalidValueError, match="must be a recipe"):
        planned(structure, recipe)


def test_a_scheme_that_does_not_fit_names_the_parameter(structure):
    with pytest.raises(LayoutError, match=r"'norm\.weight' cannot be he_normal \(override 'norm\.\*'\)"):
        planned(structure, overrides={"norm.*": "he_normal"})


def test_the_structure_of_another_model_is_refused(structure):
    with pytest.raises(StalePlanError, match="made for another Net"):
        xn.plan(Net(width=16), "he", structure=structure)


def test_a_dtype_without_real_numbers_is_kept_by_recipes_and_refused_as_an_override():
    class Counted(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 2)
            self.count = nn.Parameter(torch.ones(2, dtype=torch.int64), requires_grad=False)

        def forward(self, x):
            return self.map(x) * self.count

    plan = xn.plan(Counted(), "zeros", example=torch.zeros(1, 4))
    assert (plan.by_name["count"].action, plan.by_name["map.weight"].action) == ("keep", "assign")
    with pytest.raises(InvalidValueError, match="int64 holds no real numbers"):
        xn.plan(Counted(), "zeros", example=torch.zeros(1, 4), overrides={"count": Zeros()})


class Padded(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.map = nn.Embedding(5, 4, padding_idx=2), nn.Linear(4, 2)

    def forward(self, tokens):
        return self.map(self.embed(tokens))


def test_the_padding_row_of_an_embedding_stays_zero():
    model, tokens = Padded(), torch.zeros(1, 3, dtype=torch.long)
    plan = xn.plan(model, "he", example=tokens)
    row = plan.by_name["embed.weight"]
    assert (row.scheme, row.reason[-16:]) == ("ZeroRow(base=Normal(std=0.02), row=2)", "row 2 is padding")
    assert row.expected_std == pytest.approx(0.02 * (4 / 5) ** 0.5)
    xn.apply(plan, model, seed=0)
    assert model.embed.weight.any(dim=1).tolist() == [True, True, False, True, True]
    assert xn.plan(model, "zeros", example=tokens).by_name["embed.weight"].scheme == "zeros"
    given = xn.plan(model, "he", example=tokens, overrides={"embed.*": "ones"})
    assert given.by_name["embed.weight"].scheme == "ones"


def test_the_padding_row_stays_zero_where_the_table_is_owned_under_another_name():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.embed = nn.Linear(4, 5, bias=False), nn.Embedding(5, 4, padding_idx=2)
            self.embed.weight = self.head.weight

        def forward(self, tokens):
            return self.head(self.embed(tokens))

    model, tokens = Tied(), torch.zeros(1, 3, dtype=torch.long)
    plan = xn.plan(model, "constant(value=2)", example=tokens)
    assert plan.by_name["embed.weight"].tied_to == "head.weight"
    xn.apply(plan, model, seed=0)
    assert model.head.weight[:, 0].tolist() == [2, 2, 0, 2, 2]
    assert plan.by_name["head.weight"].expected_std == pytest.approx(0.8)  # of 2, 2, 0, 2, 2 by hand


def test_a_recipe_of_someone_else_is_as_good_as_ours(structure):
    class Halves:
        name = "halves"

        def assign(self, structure):
            return {p.name: Assignment(scheme=Normal(std=0.5), reason="mine") for p in structure.parameters}

    plan = planned(structure, Halves())
    assert plan.recipe == "halves"
    assert plan.by_name["embed.weight"].scheme == "Normal(std=0.5)"


def test_equal_plans_have_one_id_and_others_another(structure):
    assert planned(structure, "he").id == planned(structure, He()).id
    assert planned(structure, "he").id != planned(structure, "he", keep=["norm.*"]).id


def test_wrapped_models_have_the_plan_of_the_model_itself():
    inner = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    example = torch.zeros(1, 4)
    plain = xn.plan(inner, "he", example=example)
    assert xn.plan(torch.compile(inner, backend="eager"), "he", example=example).rows == plain.rows
    assert list(live_parameters(nn.DataParallel(inner))) == [row.parameter for row in plain.rows]


def test_two_parameters_that_share_memory_are_refused_with_the_way_to_tie_them():
    model = Net()
    model.head.weight = nn.Parameter(torch.zeros(11, 8))
    made = xn.plan(model, "zero-head", example=TOKENS)
    model.head.weight.data = model.embed.weight.data
    before = state(model)
    with pytest.raises(InvalidValueError, match=r"'embed\.weight' and 'head\.weight' .* share memory") as caught:
        xn.plan(model, "zero-head", example=TOKENS)
    assert caught.value.fix == "model.head.weight = model.embed.weight"
    with pytest.raises(InvalidValueError, match="share memory"):
        xn.apply(made, model, seed=0)
    assert same(before, state(model))


def test_parameters_that_lie_side_by_side_in_one_storage_are_no_tie():
    model, flat = nn.Sequential(nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)), torch.zeros(32)
    model[0].weight = nn.Parameter(flat[:16].view(4, 4))
    model[1].weight = nn.Parameter(flat[16:].view(4, 4))
    assert xn.initialize(model, "constant(value=1)", torch.zeros(1, 4), seed=0).num_tied == 0
    assert flat.all()
    model[1].weight = nn.Parameter(flat[15:31].view(4, 4))
    with pytest.raises(InvalidValueError, match="share memory") as caught:
        xn.plan(model, "zeros", example=torch.zeros(1, 4))
    assert caught.value.fix == "model[1].weight = model[0].weight"


def test_two_parameters_of_one_canonical_name_are_refused_with_both_names():
    class Odd(nn.Linear):
        def __init__(self):
            super().__init__(4, 4)
            self.add_module("_orig_mod", nn.Linear(4, 4))

        def forward(self, x):
            return self._orig_mod(super().forward(x))

    with pytest.raises(ReadError, match=r"'weight' and '_orig_mod\.weight' of Odd have one canonical name, 'weight'"):
        xn.plan(Odd(), "he", example=torch.zeros(1, 4))


def test_a_name_that_stands_in_the_model_means_itself_whatever_its_brackets_say():
    model = nn.Sequential()
    model.add_module("up[0]", nn.Linear(4, 4))
    model.add_module("up0", nn.Linear(4, 4))
    rows = xn.plan(model, "default", example=torch.zeros(1, 4), overrides={"up[0].weight": "zeros"}).by_name
    assert [name for name, row in rows.items() if row.scheme] == ["up[0].weight"]


# The table.


def test_the_table_folds_names_that_differ_in_their_numbers_alone(structure):
    text = str(planned(structure, "zero-residual")).splitlines()
    assert text[0] == "zero-residual for Net: 16 parameters: 4 assigned, 11 kept, 1 tied"
    assert text[1].split() == ["parameter", "role", "law", "std", "why"]
    (line,) = [line for line in text if "down.weight" in line]
    assert line.split()[:4] == ["blocks.{0-1}.down.weight", "RESIDUAL_OUT", "zeros", "0"]


@pytest.mark.parametrize(
    ("names", "patterns"),
    [
        (["a.0", "a.1", "a.2"], ["a.{0-2}"]),
        (["a.0", "a.2", "a.3"], ["a.{0,2-3}"]),
        (["a.0.b.0", "a.0.b.1", "a.1.b.0", "a.1.b.1"], ["a.{0-1}.b.{0-1}"]),
        (["a.0.b.0", "a.0.b.1", "a.1.b.0"], ["a.0.b.{0-1}", "a.1.b.0"]),
        (["conv1.w", "conv2.w"], ["conv1.w", "conv2.w"]),
        (["0.w", "1.w"], ["{0-1}.w"]),
    ],
)
def test_a_pattern_says_its_names_and_no_others(names, patterns):
    assert [pattern for pattern, _, _ in folded(names, str, lambda _: 0)] == patterns


def test_a_plan_of_a_model_without_parameters_to_fold_is_a_table_too():
    text = str(xn.plan(nn.Linear(2, 2), Default(), example=torch.zeros(1, 2)))
    assert "weight" in text and "as the model made it" in text
