"""materialize: the values of apply, in memory that was not there before, and nothing else about the model changed."""

import copy

import pytest
import torch
from planned_models import TOKENS, Net, same, state
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, StalePlanError


def on_meta(build):
    with torch.device("meta"):
        return build()


class Recurrent(nn.Module):
    """Tied ends around a recurrent map, which keeps a second list of its weights."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(23, 12)
        self.memory = nn.LSTM(12, 12, batch_first=True)
        self.head = nn.Linear(12, 23, bias=False)
        self.head.weight = self.table.weight

    def forward(self, tokens):
        return self.head(self.memory(self.table(tokens))[0])


BATCH = torch.zeros(2, 5, dtype=torch.long)


def image_net():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4))


FROZEN = {Net: "blocks.1.up.bias"}  # a recipe keeps what is frozen; without memory there is nothing to keep


def planned(build, recipe, example):
    return xn.plan(build(), recipe, example=example, overrides={FROZEN[build]: "zeros"} if build in FROZEN else {})


@pytest.mark.parametrize("build, example", [(Net, TOKENS), (Recurrent, BATCH), (image_net, torch.zeros(1, 3, 8, 8))])
@pytest.mark.parametrize("recipe", ["he", "orthogonal", "lecun"])
def test_the_values_are_those_of_apply(build, example, recipe):
    plan = planned(build, recipe, example)
    applied = build()
    xn.apply(plan, applied, seed=7)
    made = xn.materialize(on_meta(build), plan, seed=7)
    assert same(dict(applied.named_parameters()), dict(made.named_parameters()))
    assert not any(tensor.is_meta for tensor in made.state_dict().values())


def test_the_model_itself_is_returned_and_trains():
    meta = on_meta(Recurrent)
    made = xn.materialize(meta, planned(Recurrent, "he", BATCH), seed=0)
    assert made is meta
    made(BATCH).sum().backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_ties_frozen_parameters_and_attributes_stay():
    def build():
        model = Recurrent()
        model.memory.bias_ih_l0.requires_grad_(False)
        model.table.weight.kind = "shared"
        return model

    plan = xn.plan(build(), "he", example=BATCH, overrides={"memory.bias_ih_l0": "zeros"})
    made = xn.materialize(on_meta(build), plan, seed=0)
    assert made.head.weight is made.table.weight
    assert made.table.weight.kind == "shared"
    assert not made.memory.bias_ih_l0.requires_grad
    assert type(made.table.weight) is nn.Parameter


class Weight(nn.Parameter):
    """A class of a user's own."""


class Hooked(nn.Module):
    """Hooks and a class on parameters, and one buffer in two modules and beside them."""

    def __init__(self):
        super().__init__()
        self.up = nn.Linear(4, 3)
        self.scale = Weight(torch.ones(3))
        self.removable = self.up.weight.register_hook(lambda gradient: gradient * 0)
        self.reached = []
        self.up.bias.register_post_accumulate_grad_hook(self.reached.append)
        self.first, self.second = nn.Identity(), nn.Identity()
        self.places = torch.arange(3.0)
        for holder in (self.first, self.second):
            holder.register_buffer("places", self.places)

    def forward(self, x):
        return self.up(x) * self.scale


def test_hooks_and_classes_of_parameters_and_ties_of_buffers_stay():
    model, plan = xn.record(Hooked)
    xn.materialize(model, plan, seed=0)
    assert type(model.scale) is Weight
    assert model.first.places is model.second.places is model.places
    model(torch.ones(2, 4)).sum().backward()
    assert not model.up.weight.grad.any() and len(model.reached) == 1
    model.removable.remove()
    model(torch.ones(2, 4)).sum().backward()
    assert model.up.weight.grad.any()
    assert xn.rebuild(xn.manifest(model, plan, 0), Hooked).is_exact


class Counting(nn.BatchNorm1d):
    """A norm that holds more than its statistics."""

    def __init__(self, width, tracks):
        super().__init__(width, track_running_stats=tracks)
        self.register_buffer("extra", torch.full((width,), 7.0))


@pytest.mark.parametrize("tracks", [True, False])
def test_a_buffer_that_a_norm_has_beside_its_statistics_is_named(tracks):
    def build():
        return nn.Sequential(nn.Linear(3, 4), Counting(4, tracks))

    plan = xn.plan(build(), "he", example=torch.zeros(2, 3))
    with pytest.raises(InvalidValueError, match=r"1 buffer is on the meta device(.|\n)*1\.extra"):
        xn.materialize(on_meta(build), plan, seed=0)


@pytest.mark.parametrize("device", ["nowhere", "cuda:99"])
def test_a_device_that_is_not_there_is_refused_and_nothing_changes(device):
    meta = on_meta(image_net)
    plan = xn.plan(image_net(), "he", example=torch.zeros(1, 3, 8, 8))
    with pytest.raises(InvalidValueError, match=f"There is no device '{device}' here"):
        xn.materialize(meta, plan, seed=0, device=device)
    assert all(tensor.is_meta for tensor in meta.state_dict().values())


def test_statistics_of_a_batch_norm_start_as_they_do_when_it_is_built():
    made = xn.materialize(on_meta(image_net), planned(image_net, "he", torch.zeros(1, 3, 8, 8)), seed=0)
    assert same(dict(image_net().named_buffers()), dict(made.named_buffers()))


def test_what_has_values_already_keeps_them():
    def build():
        model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        model[0].register_buffer("table", torch.arange(3.0))
        return model

    model = build()
    model[1].to("meta")
    before = copy.deepcopy(model[0].state_dict())
    plan = xn.plan(build(), "he", example=torch.zeros(1, 4), keep=["0.*"])
    made = xn.materialize(model, plan, seed=0)
    assert same(before, made[0].state_dict())
    assert made[1].weight.std() > 0.1


def test_gates_that_the_plan_has_are_added():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.up, self.down = nn.LayerNorm(8), nn.Linear(8, 16), nn.Linear(16, 8)

        def forward(self, x):
            return x + self.down(torch.relu(self.up(self.norm(x))))

    def build():
        return nn.Sequential(nn.Linear(8, 8), Block(), Block())

    plan = xn.plan(
        build(), "rezero", example=torch.zeros(1, 8), overrides={"*.weight": "normal(std=0.1)", "*.bias": "zeros"}
    )
    applied = build()
    xn.apply(plan, applied, seed=0)
    made = xn.materialize(on_meta(build), plan, seed=0)
    assert plan.gates
    assert same(applied.state_dict(), made.state_dict())
    x = torch.ones(3, 8)
    assert torch.equal(applied(x), made(x))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_hold_the_rounded_values(dtype):
    def build():
        return Net().to(dtype)

    plan = xn.plan(build(), "he", example=TOKENS, overrides={FROZEN[Net]: "zeros"})
    made = xn.materialize(on_meta(build), plan, seed=1)
    single = xn.materialize(on_meta(Net), planned(Net, "he", TOKENS), seed=1)
    for name, parameter in made.named_parameters():
        assert torch.equal(parameter, single.get_parameter(name).to(dtype)), name


def test_a_buffer_without_values_is_named_and_nothing_changes():
    def build():
        model = nn.Sequential(nn.Linear(4, 4))
        model[0].register_buffer("angles", torch.arange(4.0))
        return model

    meta = on_meta(build)
    plan = xn.plan(build(), "he", example=torch.zeros(1, 4))
    with pytest.raises(InvalidValueError, match="1 buffer is on the meta device") as raised:
        xn.materialize(meta, plan, seed=0)
    assert "0.angles" in str(raised.value)
    assert all(parameter.is_meta for parameter in meta.parameters())


def test_a_parameter_that_is_kept_without_values_is_named():
    plan = xn.plan(Net(), "he", example=TOKENS, keep=["norm.*"])
    meta = on_meta(Net)
    with pytest.raises(InvalidValueError, match="have no values") as raised:
        xn.materialize(meta, plan, seed=0)
    assert "norm." in str(raised.value)
    assert all(parameter.is_meta for parameter in meta.parameters())


def test_a_plan_of_another_model_and_a_seed_out_of_range_are_refused():
    plan = xn.plan(nn.Linear(4, 2), "he", example=torch.zeros(1, 4))
    with pytest.raises(StalePlanError):
        xn.materialize(on_meta(lambda: nn.Linear(4, 3)), plan, seed=0)
    with pytest.raises(InvalidValueError, match="seed"):
        xn.materialize(on_meta(lambda: nn.Linear(4, 2)), plan, seed=-1)


def test_a_failure_half_way_leaves_the_model_on_meta(monkeypatch):
    import exnihilo.plans.writing as module

    write, count = module._write_here, 0

    def failing(draw):
        nonlocal count
        count += 1
        if count == 3:
            raise MemoryError
        write(draw)

    monkeypatch.setattr(module, "_write_here", failing)
    meta = on_meta(Net)
    names = list(meta.state_dict())
    with pytest.raises(MemoryError):
        xn.materialize(meta, planned(Net, "he", TOKENS), seed=0)
    assert count == 3
    assert list(meta.state_dict()) == names
    assert all(parameter.is_meta for parameter in meta.parameters())


def test_the_global_random_state_is_neither_read_nor_moved():
    plan = planned(Net, "he", TOKENS)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = state(xn.materialize(on_meta(Net), plan, seed=0))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(1)
    assert same(first, state(xn.materialize(on_meta(Net), plan, seed=0)))
