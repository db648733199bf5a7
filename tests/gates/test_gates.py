"""Gates: attached without a change of function, trained, saved, loaded, compiled, sharded, and folded in again."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

import exnihilo as xn
from exnihilo.errors import ExnihiloError, GateError, RecipeError
from exnihilo.gates.attach import detach, gates_of
from exnihilo.gates.records import Gate
from gated_networks import CRITERION, Block, Images, Residual, pictures, vectors


def residual(**options):
    torch.manual_seed(0)
    return Residual(**options)


def trained(model, batch, steps=5, **options):
    taking = torch.optim.SGD(model.parameters(), lr=0.05, **options)
    for _ in range(steps):
        taking.zero_grad()
        CRITERION(model(batch[0]), batch[1]).backward()
        taking.step()
    return model


def test_attached_gates_change_nothing():
    model, (x, _) = residual(), vectors()
    before = model(x)
    plan = xn.plan(model, "rezero", example=x)
    added = xn.attach(model, plan.gates)
    assert added == tuple(f"blocks.{i}.last.branch_gate" for i in range(6))
    assert torch.equal(model(x), before)


def test_rezero_makes_every_branch_the_identity_and_opens_it():
    model, batch = residual(), vectors()
    applied = xn.initialize(model, "rezero", batch[0], seed=0)
    assert len(applied.added) == 6
    assert xn.certify(model, batch[0]).exact
    found = xn.check(model, batch, criterion=CRITERION)
    assert found.ok
    assert {found.opening_step[name] for name in applied.added} == {1}
    assert found.opening_step["blocks.3.first.weight"] == 2


def test_the_rest_of_a_model_keeps_its_bits():
    model, (x, _) = residual(), vectors()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    xn.initialize(model, "rezero", x, seed=0)
    assert all(torch.equal(model.state_dict()[name], value) for name, value in before.items())


def test_a_hundred_blocks_train_save_load_and_fuse(tmp_path):
    model, batch = residual(blocks=100), vectors()
    xn.initialize(model, "rezero", batch[0], seed=0)
    start = CRITERION(model(batch[0]), batch[1]).item()
    trained(model, batch, 80)
    assert CRITERION(model(batch[0]), batch[1]).item() < 0.5 * start
    torch.save(model.state_dict(), tmp_path / "model.pt")
    other = residual(blocks=100)
    xn.attach(other, xn.plan(other, "rezero", example=batch[0]).gates)
    other.load_state_dict(torch.load(tmp_path / "model.pt"))
    assert torch.equal(other(batch[0]), model(batch[0]))
    expected = model(batch[0])
    fused = xn.fuse(model)
    assert (len(fused.folded), fused.left) == (100, ())
    assert not gates_of(model)
    torch.testing.assert_close(model(batch[0]), expected, atol=1e-5, rtol=1e-5)
    residual(blocks=100).load_state_dict(model.state_dict())


def test_safetensors_keep_gates(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    model, (x, _) = residual(), vectors()
    xn.initialize(model, "rezero(epsilon=0.25)", x, seed=0)
    safetensors.save_model(model, str(tmp_path / "model.safetensors"))
    other = residual()
    xn.attach(other, xn.plan(other, "rezero", example=x).gates)
    safetensors.load_model(other, str(tmp_path / "model.safetensors"))
    assert torch.equal(other(x), model(x))


def test_a_plain_checkpoint_loads_with_the_gates_open():
    plain, (x, _) = residual(), vectors()
    gated = residual()
    xn.initialize(gated, "rezero", x, seed=0)
    gated.load_state_dict(plain.state_dict())
    assert torch.equal(gated(x), plain(x))


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("how", COPIES)
def test_copies_have_gates_of_their_own(how):
    model, (x, _) = residual(), vectors()
    xn.initialize(model, "rezero(epsilon=0.5)", x, seed=0)
    other = COPIES[how](model)
    assert torch.equal(other(x), model(x))
    with torch.no_grad():
        other.blocks[0].last.branch_gate.zero_()
    assert model.blocks[0].last.branch_gate.item() == 0.5
    assert not torch.equal(other(x), model(x))


def test_a_compiled_graph_is_whole():
    model, (x, _) = residual(), vectors()
    xn.initialize(model, "layerscale(value=0.1)", x, seed=0)
    whole = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(whole(x), model(x))


def test_autocast_and_foreach_and_fused_steps():
    model, batch = residual(), vectors()
    xn.initialize(model, "rezero(epsilon=0.1)", batch[0], seed=0)
    with torch.autocast("cpu", torch.bfloat16):
        CRITERION(model(batch[0]), batch[1]).backward()
    gate = model.blocks[0].last.branch_gate
    assert gate.grad is not None
    assert gate.dtype == torch.float32
    trained(model, batch, foreach=True)
    assert gate.item() != 0.1


@pytest.mark.parametrize("recipe", ["rezero(epsilon=0.3)", "layerscale(value=0.3)"])
@pytest.mark.parametrize("kind", ["linear", "convolution", "batch norm", "transposed", "grouped transposed"])
def test_gates_of_any_module_fold_in(recipe, kind):
    """The oracle: the gated model's own outputs."""
    torch.manual_seed(0)
    last = {
        "linear": lambda: nn.Linear(8, 8),
        "convolution": lambda: nn.Conv2d(8, 8, 3, padding=1),
        "batch norm": lambda: nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)),
        "transposed": lambda: nn.ConvTranspose2d(8, 8, 3, padding=1),
        "grouped transposed": lambda: nn.ConvTranspose2d(8, 8, 3, padding=1, groups=2),
    }[kind]()

    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(8, 8) if kind == "linear" else nn.Conv2d(8, 8, 1)
            self.last = last

        def forward(self, x):
            return x + self.last(torch.relu(self.first(x)))

    model, x = One(), torch.randn(4, 8) if kind == "linear" else torch.randn(4, 8, 5, 5)
    xn.initialize(model, recipe, x, seed=0)
    with torch.no_grad():
        for module, _ in gates_of(model).values():
            module.branch_gate.copy_(torch.randn_like(module.branch_gate))
    expected = model(x)
    assert xn.fuse(model).left == ()
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-4)


def test_gates_of_a_normalized_weight_fold_into_its_length():
    model, (x, _) = residual(), vectors()
    for block in model.blocks:
        parametrizations.weight_norm(block.last)
    xn.initialize(model, "rezero(epsilon=-0.3)", x, seed=0)
    expected = model(x)
    assert xn.fuse(model).left == ()
    torch.testing.assert_close(model(x), expected, atol=1e-5, rtol=1e-5)


def test_gates_of_a_spectral_norm_stay():
    model = residual(blocks=1)
    parametrizations.spectral_norm(model.blocks[0].last)
    xn.attach(model, [Gate(module="blocks.0.last", parameter="blocks.0.last.weight")])
    ((name, why),) = xn.fuse(model).left
    assert name == "blocks.0.last.branch_gate"
    assert "computed from others" in why


def test_fixup_adds_its_numbers_and_says_what_cannot_be_folded():
    torch.manual_seed(0)
    model, batch = Images(), pictures()
    plan = xn.plan(model, "fixup", example=batch[0])
    xn.apply(plan, model, seed=0)
    assert xn.certify(model, batch[0]).exact
    trained(model, batch)
    expected = model(batch[0])
    fused = xn.fuse(model)
    assert {name.rpartition(".")[2] for name in fused.folded} == {"branch_gate"}
    reasons = {why for _, why in fused.left}
    assert any("padded convolution" in why for why in reasons)
    assert any("no bias" in why for why in reasons)
    torch.testing.assert_close(model(batch[0]), expected, atol=1e-6, rtol=1e-5)


def test_fixup_of_unpadded_maps_with_biases_folds_whole():
    torch.manual_seed(0)
    model, batch = Images(bias=True, padding=0), pictures()
    xn.initialize(model, "fixup", batch[0], seed=0)
    trained(model, batch)
    with torch.no_grad():
        for module, kind in gates_of(model).values():
            if kind == "shift_in":
                module.shift_in.fill_(0.3)
    expected = model(batch[0])
    assert xn.fuse(model).left == ()
    torch.testing.assert_close(model(batch[0]), expected, atol=1e-5, rtol=1e-4)


def test_fixup_scales_by_hand():
    """4 branches of 2 maps: He's fan-out law times 4 ** (-1/2)."""
    plan = xn.plan(Images(), "fixup", example=pictures()[0])
    rows = plan.by_name
    assert rows["first.0.weight"].expected_std == pytest.approx((2 / (8 * 9)) ** 0.5 / 2)
    assert rows["stem.weight"].expected_std == pytest.approx((2 / (8 * 9)) ** 0.5)
    assert rows["last.0.weight"].scheme == rows["head.weight"].scheme == "zeros"
    assert rows["last.0.branch_gate"].scheme == "ones"
    assert rows["first.0.shift_in"].rate == 0.1
    assert not rows["last.0.branch_gate"].decay


def test_detached_gates_leave_no_trace():
    model, (x, _) = residual(), vectors()
    plain = residual()
    gates = xn.plan(model, "layerscale", example=x).gates
    xn.attach(model, gates)
    detach(model, gates)
    assert sorted(model.state_dict()) == sorted(plain.state_dict())
    assert not gates_of(model)
    plain.load_state_dict(model.state_dict())


class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(8, 16), nn.Linear(16, 16), nn.Linear(16, 4)

    def forward(self, x):
        x = self.stem(x)
        for _ in range(3):
            x = x + self.block(torch.relu(x))
        return self.head(x)


class Ending(Residual):
    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = x + torch.relu(block.last(torch.relu(block.first(x))))
        return self.head(x)


REFUSED = {
    "no residual branch": (lambda: nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), "rezero", RecipeError),
    "a map that is used again": (Shared, "rezero", RecipeError),
    "an activation at the end": (Ending, "rezero", RecipeError),
    "norms under fixup": (lambda: nn.Sequential(nn.Linear(8, 16), nn.LayerNorm(16), Block(16)), "fixup", RecipeError),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_for_a_gate_is_refused_untouched(name):
    make, recipe, error = REFUSED[name]
    torch.manual_seed(0)
    model = make()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(error) as caught:
        xn.initialize(model, recipe, vectors()[0], seed=0)
    assert caught.value.fix
    assert list(model.state_dict()) == list(before)
    assert all(torch.equal(model.state_dict()[key], value) for key, value in before.items())


def test_a_model_is_gated_once_and_fused_once():
    model, (x, _) = residual(), vectors()
    plan = xn.plan(model, "rezero", example=x)
    xn.apply(plan, model, seed=0)
    with pytest.raises(RecipeError, match="gated already"):
        xn.plan(model, "rezero", example=x)
    with pytest.raises(GateError, match="gated"):
        xn.attach(model, plan.gates)
    xn.apply(plan, model, seed=0)  # the plan itself applies again
    xn.fuse(model)
    with pytest.raises(GateError, match="no gates"):
        xn.fuse(model)


def test_a_gate_of_another_model_is_refused():
    with pytest.raises(GateError, match="has no parameter"):
        xn.attach(nn.Linear(2, 2), [Gate(module="blocks.0.last", parameter="blocks.0.last.weight")])


def test_a_failed_apply_takes_its_gates_off_again():
    model, (x, _) = residual(), vectors()
    plan = xn.plan(model, "rezero", example=x)
    with pytest.raises(ExnihiloError):
        xn.apply(plan, model, seed=-1)
    model.head.weight.requires_grad_(False)
    with pytest.raises(ExnihiloError):
        xn.apply(plan, model, seed=0)
    assert not gates_of(model)


def test_a_plan_with_gates_survives_a_file(tmp_path):
    from exnihilo.plans.files import load, save

    model, (x, _) = residual(), vectors()
    plan = xn.plan(model, "fixup", example=x)
    save(plan, tmp_path / "plan.json")
    assert load(tmp_path / "plan.json") == plan
