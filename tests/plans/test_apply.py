"""apply writes what was planned, all or nothing, and nothing else."""

import copy
import random

import numpy as np
import pytest
import torch
from planned_models import TOKENS, Net, same, state
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import weight_norm

import exnihilo as xn
from exnihilo.errors import InvalidValueError, StalePlanError
from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Normal, he_normal

X = torch.zeros(1, 4)


def mlp():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


@pytest.fixture
def plan():
    return xn.plan(Net(), "he", example=TOKENS)


def test_what_is_written_is_the_schemes_draw_under_seed_and_name(plan):
    model = Net()
    xn.apply(plan, model, seed=7)
    expected = he_normal().sample(Layout.linear(16, 8), Key(7, "blocks.0.up.weight"))
    assert torch.equal(model.blocks[0].up.weight, expected)


def test_one_seed_gives_equal_bits_and_another_gives_others(plan):
    first, second, third = Net(), Net(), Net()
    for model, seed in ((first, 3), (second, 3), (third, 4)):
        xn.apply(plan, model, seed)
    xn.apply(plan, first, 3)
    assert torch.equal(first.embed.weight, second.embed.weight)
    assert not torch.equal(first.embed.weight, third.embed.weight)


def test_the_order_of_the_parameters_does_not_matter():
    class Turned(nn.Module):
        def __init__(self, names):
            super().__init__()
            for name in names:
                setattr(self, name, nn.Linear(4, 4))

        def forward(self, x):
            return self.b(torch.relu(self.a(x)))

    models = [Turned("ab"), Turned("ba")]
    for model in models:
        xn.initialize(model, "he", X, seed=0)
    assert torch.equal(models[0].a.weight, models[1].a.weight)
    assert torch.equal(models[0].b.weight, models[1].b.weight)


def test_only_assigned_tensors_are_touched():
    model = Net()
    before = state(model)
    xn.apply(xn.plan(model, "zero-residual", example=TOKENS), model, seed=0)
    changed = {name for name, value in state(model).items() if not torch.equal(value, before[name])}
    assert changed == {f"blocks.{i}.down.{leaf}" for i in (0, 1) for leaf in ("weight", "bias")}


def test_identity_gradients_flags_modes_and_buffers_stay(plan):
    model = Net()
    model(TOKENS).sum().backward()
    model.eval()
    model.norm.train()
    parameters = dict(model.named_parameters())
    gradients = {name: p.grad.clone() for name, p in parameters.items() if p.grad is not None}
    flags = {name: (id(p), p.requires_grad, p.data_ptr(), p.is_leaf) for name, p in parameters.items()}
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    modes = {name: m.training for name, m in model.named_modules()}
    xn.apply(plan, model, seed=0)
    after = dict(model.named_parameters())
    assert {name: (id(p), p.requires_grad, p.data_ptr(), p.is_leaf) for name, p in after.items()} == flags
    assert all(torch.equal(after[name].grad, gradient) for name, gradient in gradients.items())
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert {name: m.training for name, m in model.named_modules()} == modes
    assert model.head.weight is model.embed.weight


def test_the_global_random_states_are_neither_read_nor_written(plan):
    def states():
        return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002

    before, model = states(), Net()
    first = states()
    xn.apply(plan, model, seed=0)
    assert states() == first
    with torch.random.fork_rng():
        torch.manual_seed(99)
        other = Net()
        xn.apply(plan, other, seed=0)
    assert torch.equal(model.embed.weight, other.embed.weight)
    assert before is not first


def test_applying_under_inference_mode_or_with_gradients_on_is_the_same(plan):
    model, other = Net(), Net()
    with torch.inference_mode():
        xn.apply(plan, model, seed=0)
    xn.apply(plan, other, seed=0)
    assert torch.equal(model.embed.weight, other.embed.weight)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_values_are_drawn_as_float32_and_rounded_or_widened(dtype):
    model = mlp()
    plan = xn.plan(model, "he", example=X)
    xn.apply(plan, model, seed=0)
    cast = mlp().to(dtype)
    applied = xn.initialize(cast, "he", X.to(dtype), seed=0)
    assert torch.equal(cast[0].weight, model[0].weight.to(dtype))
    assert applied.written[0].dtype == str(dtype).removeprefix("torch.")
    assert xn.survived(applied, cast).intact


def test_frozen_parameters_are_written_where_an_override_says_so():
    model = Net()
    xn.apply(xn.plan(model, "default", example=TOKENS, overrides={"blocks.1.up.bias": "ones"}), model, seed=0)
    assert (model.blocks[1].up.bias == 1).all()
    assert not model.blocks[1].up.bias.requires_grad


def test_a_parameter_that_is_not_contiguous_gets_the_same_values():
    model, turned = nn.Linear(6, 4), nn.Linear(6, 4)
    turned.weight = nn.Parameter(torch.zeros(6, 4).t())
    plan = xn.plan(model, "he", example=torch.zeros(1, 6))
    first, second = xn.apply(plan, model, seed=0), xn.apply(plan, turned, seed=0)
    assert not turned.weight.is_contiguous()
    assert torch.equal(model.weight, turned.weight)
    assert first == second
    assert xn.survived(second, turned).intact


def test_a_scalar_parameter_is_written():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.alpha = nn.Linear(4, 4), nn.Parameter(torch.tensor(3.0))

        def forward(self, x):
            return x + self.alpha * self.map(x).relu()

    model = Scaled()
    xn.initialize(model, "zero-residual", X, seed=0)
    assert (model.alpha.shape, model.alpha.item()) == ((), 0.0)
    assert model.map.weight.any()


def compiled(model):
    return torch.compile(model, backend="eager")


def test_wrapped_models_get_the_values_of_the_model_itself():
    plain = mlp()
    plan = xn.plan(plain, "he", example=X)
    xn.apply(plan, plain, seed=0)
    for wrap in (compiled, nn.DataParallel, lambda inner: compiled(nn.DataParallel(inner))):
        inner = mlp()
        applied = xn.apply(plan, wrap(inner), seed=0)
        assert torch.equal(inner[0].weight, plain[0].weight)
        assert applied.written[0].parameter == "0.weight"
        assert xn.survived(applied, inner).intact


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def test_the_original_of_a_parametrized_weight_is_written():
    model, plain = mlp(), mlp()
    plan = xn.plan(plain, "he", example=X)
    parametrize.register_parametrization(model[0], "weight", Doubled())
    assert {row.parameter for row in xn.plan(model, "he", example=X).rows} == {row.parameter for row in plan.rows}
    made = xn.plan(model, "he", example=X)
    xn.apply(made, model, seed=0)
    assert torch.equal(
        model[0].parametrizations.weight.original, he_normal().sample(Layout.linear(8, 4), Key(0, "0.weight"))
    )


def test_a_weight_of_two_originals_has_two_names():
    model = nn.Sequential(weight_norm(nn.Linear(4, 8)), nn.ReLU(), nn.Linear(8, 2))
    plan = xn.plan(model, "default", example=X)
    assert {"0.weight.original0", "0.weight.original1"} <= set(plan.by_name)


# What was written, and whether it stands.


def test_applied_records_what_the_tensors_hold(plan):
    model = Net()
    applied = xn.apply(plan, model, seed=5)
    parameters = dict(model.named_parameters())
    assert [entry.parameter for entry in applied.written] == [r.parameter for r in plan.rows if r.action == "assign"]
    for entry in applied.written:
        values = parameters[entry.parameter].detach().double()
        assert entry.std == pytest.approx(values.std(correction=0).item(), abs=1e-12)
        assert entry.mean == pytest.approx(values.mean().item(), abs=1e-12)
        assert entry.max_abs == values.abs().max().item()
        assert entry.expected_std == plan.by_name[entry.parameter].expected_std
    assert (applied.plan, applied.seed, applied.num_tied) == (plan.id, 5, 1)
    assert str(applied).splitlines()[0] == "he applied to Net under seed 5: 14 written, 1 kept, 1 tied"


def test_what_is_overwritten_later_is_found_and_named():
    model = Net()
    applied = xn.initialize(model, "zero-residual", TOKENS, seed=0)
    assert xn.survived(applied, model).intact

    def post_init(module):
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)

    model.blocks[1].apply(post_init)
    survival = xn.survived(applied, model)
    (entry,) = survival.overwritten
    assert not survival.intact
    assert (entry.parameter, entry.scheme) == ("blocks.1.down.weight", "zeros")
    assert entry.found.startswith("std 0.0")
    assert str(survival).splitlines()[0] == "3 as written, 1 overwritten, 0 gone"
    assert "  blocks.1.down.weight was zeros, now std 0.0" in str(survival)


def test_a_tensor_that_is_gone_or_cast_is_named():
    model = mlp()
    applied = xn.initialize(model, "he", X, seed=0)
    model[2] = nn.Identity()
    model.half()
    nn.init.constant_(model[0].bias, 0.5)
    survival = xn.survived(applied, model)
    assert (survival.gone, survival.cast) == (("2.weight", "2.bias"), ("0.weight",))
    assert [entry.found for entry in survival.overwritten] == ["float16 and no longer float32, of other values"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_what_was_only_cast_is_intact_and_said_to_be_cast(dtype):
    model = mlp()
    applied = xn.initialize(model, "he", X, seed=3)
    survival = xn.survived(applied, model.to(dtype))
    assert survival.intact
    assert survival.cast == ("0.weight", "0.bias", "2.weight", "2.bias")
    assert str(survival).splitlines()[0] == "0 as written, 4 as written but cast, 0 overwritten, 0 gone"
    with torch.no_grad():
        model[0].weight[0, 0] += 1
    assert [entry.parameter for entry in xn.survived(applied, model).overwritten] == ["0.weight"]


def test_a_negative_zero_is_not_a_zero_that_was_written():
    model = mlp()
    applied = xn.initialize(model, "zero-head", X, seed=0)
    with torch.no_grad():
        model[2].bias.neg_()
    assert [entry.parameter for entry in xn.survived(applied, model).overwritten] == ["2.bias"]


# Nothing, or all.


def test_a_failure_half_way_leaves_the_model_as_it_was(plan, monkeypatch):
    import exnihilo.plans.writing as module

    write, count = module._write_here, 0

    def failing(draw):
        nonlocal count
        count += 1
        if count == 4:
            draw.parameter.detach()[:1].zero_()  # a write that broke off
            raise RuntimeError("the device is gone")
        write(draw)

    model = Net()
    before = state(model)
    monkeypatch.setattr(module, "_write_here", failing)
    with pytest.raises(RuntimeError, match="the device is gone"):
        xn.apply(plan, model, seed=0)
    assert count == 4
    assert same(before, state(model))


def test_an_interrupt_leaves_the_model_as_it_was(plan, monkeypatch):
    import exnihilo.plans.writing as module

    write, count = module._write_here, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count == 3:
            raise KeyboardInterrupt
        write(*arguments)

    model = Net()
    before = state(model)
    monkeypatch.setattr(module, "_write_here", interrupted)
    with pytest.raises(KeyboardInterrupt):
        xn.apply(plan, model, seed=0)
    assert same(before, state(model))


def test_a_parameter_that_refuses_to_be_written_does_not_keep_others_from_their_old_values(monkeypatch):
    model = mlp()
    plan = xn.plan(model, "he", example=X)
    model[2].weight = nn.Parameter(torch.zeros(1, 8).expand(2, 8))
    before = state(model)
    # As if it knew not of this kind.
    monkeypatch.setattr("exnihilo.plans.writing._why_unwritable", lambda memory: None)
    with pytest.raises(InvalidValueError, match="several entries in one place"):
        xn.apply(plan, model, seed=0)
    assert same(before, state(model))


def under_inference_mode():
    with torch.inference_mode():
        return nn.Parameter(torch.zeros(2, 8))


UNWRITABLE = {
    "expanded": (lambda: nn.Parameter(torch.zeros(1, 8).expand(2, 8)), "'2.weight' is expanded"),
    "inference": (under_inference_mode, "'2.weight' was made under inference_mode"),
    "sparse": (lambda: nn.Parameter(torch.zeros(2, 8).to_sparse()), "'2.weight' has the layout sparse_coo"),
}


@pytest.mark.parametrize("kind", UNWRITABLE)
def test_a_parameter_that_cannot_be_written_is_named_before_the_first_write(kind, monkeypatch):
    make, words = UNWRITABLE[kind]
    model = mlp()
    plan = xn.plan(model, "he", example=X)
    model[2].weight = make()
    before = model[0].weight.detach().clone()
    monkeypatch.setattr("exnihilo.plans.writing._write_here", lambda draw: pytest.fail("it wrote"))
    with pytest.raises(InvalidValueError) as caught:
        xn.apply(plan, model, seed=0)
    assert caught.value.fact.startswith(words)
    assert torch.equal(model[0].weight, before)


def changed(change):
    model = mlp()
    change(model)
    return model


STALE = {
    "shape": (lambda m: m.__setitem__(0, nn.Linear(4, 9)), "0.weight: planned (8, 4) float32, now (9, 4) float32"),
    "dtype": (lambda m: m[0].half(), "0.weight: planned (8, 4) float32, now (8, 4) float16"),
    "frozen": (
        lambda m: m[0].weight.requires_grad_(False),
        "0.weight: planned (8, 4) float32, now (8, 4) float32 frozen",
    ),
    "missing": (lambda m: m.__setitem__(0, nn.Identity()), "0.weight: planned (8, 4) float32, now missing"),
    "added": (lambda m: m.append(nn.Linear(2, 1, bias=False)), "3.weight: not planned, now (1, 2) float32"),
    "tied": (
        lambda m: setattr(m[2], "bias", nn.Parameter(torch.zeros(2))) or m.append(m[2]),
        "3.weight: not planned, now (2, 8) float32 tied to '2.weight'",
    ),
}


@pytest.mark.parametrize("name", STALE)
def test_a_plan_for_a_model_that_changed_says_which_parameter_and_writes_nothing(name):
    change, line = STALE[name]
    plan, model = xn.plan(mlp(), "he", example=X), changed(change)
    before = state(model)
    with pytest.raises(StalePlanError) as caught:
        xn.apply(plan, model, seed=0)
    assert line in caught.value.context
    assert caught.value.fact.endswith("Nothing was written.")
    assert same(before, state(model))


def test_a_tie_that_was_cut_makes_a_plan_stale(plan):
    model = Net()
    model.head.weight = nn.Parameter(model.head.weight.detach().clone())
    with pytest.raises(StalePlanError) as caught:
        xn.apply(plan, model, seed=0)
    (line,) = caught.value.context
    assert line == "head.weight: planned (11, 8) float32 tied to 'embed.weight', now (11, 8) float32"


def test_a_model_on_the_meta_device_is_refused_with_the_way_out():
    with torch.device("meta"):
        model = mlp()
    plan = xn.plan(model, "he", example=torch.zeros(1, 4, device="meta"))
    with pytest.raises(InvalidValueError) as caught:
        xn.apply(plan, model, seed=0)
    assert "'0.weight' is on the meta device" in str(caught.value)
    assert "to_empty" in caught.value.fix
    xn.apply(plan, model.to_empty(device="cpu"), seed=0)
    assert torch.equal(model[0].weight, he_normal().sample(Layout.linear(8, 4), Key(0, "0.weight")))


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True])
def test_a_seed_out_of_range_is_refused_even_where_nothing_is_written(seed):
    with pytest.raises(InvalidValueError, match=r"Key\.seed"):
        xn.apply(xn.plan(mlp(), "default", example=X), mlp(), seed)


def test_a_deep_copy_and_the_model_get_equal_bits(plan):
    model = Net()
    other = copy.deepcopy(model)
    xn.apply(plan, model, seed=0)
    xn.apply(plan, other, seed=0)
    assert same(state(model), state(other))


@pytest.mark.slow
def test_zero_residual_trains_a_thousand_blocks_where_the_default_diverges():
    class Deep(nn.Module):
        def __init__(self, num=1000, width=8):
            super().__init__()
            self.blocks = nn.ModuleList(
                nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)) for _ in range(num)
            )
            self.head = nn.Linear(width, 1)

        def forward(self, x):
            for block in self.blocks:
                x = x + block(x)
            return self.head(x)

    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 8, generator=generator)
    y = x[:, :1] * x[:, 1:2]

    def losses(recipe):
        torch.manual_seed(0)
        model = Deep()
        xn.initialize(model, recipe, x, seed=0)
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
        found = []
        for _ in range(30):
            loss = (model(x) - y).square().mean()
            found.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return found

    he, zero = losses("he"), losses("zero-residual")
    assert zero[-1] < 0.9 * zero[0]
    assert not he[-1] < he[0] or he[0] > 1e6 * zero[0]


def test_the_values_of_a_law_are_shared_by_models_that_share_a_name():
    model = mlp()
    xn.apply(xn.plan(model, "default", example=X, overrides={"0.weight": Normal(std=2.0)}), model, seed=0)
    first = model[0].weight.detach().clone()
    xn.apply(xn.plan(model, "default", example=X, overrides={"0.weight": Normal(std=1.0)}), model, seed=0)
    assert torch.equal(first, 2 * model[0].weight)
