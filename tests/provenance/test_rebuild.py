"""A start is rebuilt bit for bit, and what is not the same is named."""

import dataclasses

import pytest
import torch
from started import TOKENS, Net, build, started
from torch import nn

import exnihilo as xn
from exnihilo.errors import InvalidValueError, ManifestError, StalePlanError
from exnihilo.fills import FILLS_VERSION
from exnihilo.provenance.files import from_json, to_json


def origins(rebuilt):
    """How many tensors of each origin there are, and how many are equal."""
    found = {}
    for entry in rebuilt.tensors:
        equal, count = found.get(entry.origin, (0, 0))
        found[entry.origin] = (equal + entry.is_equal, count + 1)
    return found


def unequal(rebuilt):
    return [entry.names for entry in rebuilt.tensors if not entry.is_equal]


def test_a_start_is_rebuilt_from_its_manifest_and_the_code_alone():
    model, manifest = started()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)  # as if it had been trained: the manifest is of what it was
    rebuilt = xn.rebuild(from_json(to_json(manifest)), build)
    assert rebuilt.is_exact and rebuilt.recorded == rebuilt.rebuilt == str(manifest.fingerprint)
    assert origins(rebuilt) == {"assigned": (5, 5), "buffer": (4, 4)}
    assert str(rebuilt).splitlines() == [
        "he for Net under seed 3: rebuilt bit for bit",
        f"  fingerprint  {manifest.fingerprint}",
        "  5 of 5 equal  assigned by the plan",
        "  4 of 4 equal  buffers, as the factory makes them",
    ]


def test_the_global_random_state_plays_no_part_and_is_left():
    _, manifest = started()
    torch.manual_seed(5)
    before = torch.get_rng_state()
    assert xn.rebuild(manifest, build).is_exact
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_gives_another_start():
    _, manifest = started(seed=3)
    rebuilt = xn.rebuild(dataclasses.replace(manifest, seed=4), build)
    assert not rebuilt.is_exact
    # Zeros and ones follow from no seed.
    assert unequal(rebuilt) == [("embed.weight", "head.weight"), ("up.weight",)]
    assert "he for Net under seed 4: 2 of 9 tensors differ" in str(rebuilt)
    assert "  up.weight  he_normal: differs" in str(rebuilt)


def test_another_specification_of_draws_is_refused_before_anything_is_built():
    _, manifest = started()
    old = dataclasses.replace(manifest, fills_version=FILLS_VERSION - 1, exnihilo="0.0.9")

    def untouched():
        raise AssertionError("built")

    with pytest.raises(ManifestError) as raised:
        xn.rebuild(old, untouched)
    assert f"specification {FILLS_VERSION - 1} of draws, and this version has {FILLS_VERSION}" in raised.value.fact
    assert raised.value.fix == "pip install exnihilo==0.0.9"


def test_kept_values_are_compared_and_told_apart():
    def seeded(seed):
        torch.manual_seed(seed)
        return Net()

    with torch.random.fork_rng():
        _, manifest = started(keep="up.*", make=lambda: seeded(1))
    again = xn.rebuild(manifest, lambda: seeded(1))
    assert again.is_exact and origins(again) == {"assigned": (3, 3), "kept": (2, 2), "buffer": (4, 4)}
    other = xn.rebuild(manifest, lambda: seeded(2))
    assert not other.is_exact and origins(other) == {"assigned": (3, 3), "kept": (0, 2), "buffer": (4, 4)}
    assert "Kept parameters and buffers follow from the factory alone" in str(other)


def test_a_buffer_that_differs_or_is_new_or_gone_is_named():
    _, manifest = started()

    def other():
        model = Net()
        model.seen += 1
        del model.norm.num_batches_tracked
        model.register_buffer("more", torch.zeros(1))
        return model

    rebuilt = xn.rebuild(manifest, other)
    assert unequal(rebuilt) == [("more",), ("norm.num_batches_tracked",), ("seen",)]
    said = str(rebuilt)
    assert "  more  buffer: not in the manifest" in said
    assert "  norm.num_batches_tracked  buffer: not in the model" in said
    assert "  seen  buffer: differs" in said


def test_a_digest_that_was_forged_with_its_hash_is_found():
    _, manifest = started()
    forged = [
        dataclasses.replace(entry, digest="0" * 32) if "up.weight" in entry.names else entry
        for entry in manifest.fingerprint.tensors
    ]
    text = to_json(dataclasses.replace(manifest, fingerprint=xn.Fingerprint(tensors=tuple(forged))))
    assert unequal(xn.rebuild(from_json(text), build)) == [("up.weight",)]


def test_the_factory_of_another_model_is_refused():
    _, manifest = started()
    with pytest.raises(StalePlanError, match="6 parameters differ"):
        xn.rebuild(manifest, lambda: Net(width=6))


@pytest.mark.parametrize(("made", "what"), [(3, "int"), (None, "NoneType")])
def test_a_factory_that_makes_no_module_is_refused(made, what):
    _, manifest = started()
    with pytest.raises(InvalidValueError, match=f"The factory makes a {what}"):
        xn.rebuild(manifest, lambda: made)


def test_a_model_without_memory_is_refused():
    _, manifest = started()

    def on_meta():
        with torch.device("meta"):
            return Net()

    with pytest.raises(InvalidValueError, match="meta device"):
        xn.rebuild(manifest, on_meta)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_dtypes_are_rebuilt(dtype):
    _, manifest = started(make=lambda: Net(dtype=dtype))
    assert xn.rebuild(from_json(to_json(manifest)), lambda: Net(dtype=dtype)).is_exact
    with pytest.raises(StalePlanError):
        xn.rebuild(manifest, build)


def test_a_plan_with_gates_is_rebuilt():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.down = nn.Linear(4, 4)

        def forward(self, x):
            return x + self.down(torch.relu(x))

    def blocks():
        return nn.Sequential(nn.Linear(4, 4), Block(), Block(), nn.Linear(4, 2))

    with torch.random.fork_rng():
        torch.manual_seed(0)  # the state in which a rebuild calls its factory; all but the gates is kept
        model = blocks()
    plan = xn.plan(model, "rezero", example=torch.zeros(1, 4))
    xn.apply(plan, model, seed=0)
    rebuilt = xn.rebuild(from_json(to_json(xn.manifest(model, plan, seed=0))), blocks)
    assert rebuilt.is_exact
    assert ("1.down.branch_gate",) in [entry.names for entry in rebuilt.tensors if entry.origin == "assigned"]


def test_a_wrapped_model_has_the_manifest_of_the_plain_one():
    model, manifest = started()
    wrapped = torch.compile(model, backend="eager")
    assert xn.manifest(wrapped, manifest.plan, seed=3) == manifest
    assert xn.rebuild(manifest, lambda: torch.compile(Net(), backend="eager")).is_exact


def test_an_empty_model_is_rebuilt():
    empty = xn.plans.Plan(recipe="he", model="ReLU", rows=())
    manifest = xn.manifest(nn.ReLU(), empty, seed=0)
    assert xn.rebuild(from_json(to_json(manifest)), nn.ReLU).is_exact


PREFIXES = {
    "plain": str,
    "compiled": lambda name: f"_orig_mod.{name}",
    "distributed": lambda name: f"module.{name}",
    "both": lambda name: f"module._orig_mod.{name}",
    "checkpointed": lambda name: name.replace("up.", "up._checkpoint_wrapped_module."),
}


@pytest.mark.parametrize("wrapper", PREFIXES)
def test_a_checkpoint_of_step_0_is_equal_whatever_wrapped_the_model(wrapper):
    model, manifest = started()
    weights = {PREFIXES[wrapper](name): value for name, value in model.state_dict().items()}
    rebuilt = xn.rebuild(manifest, build, weights)
    assert rebuilt.is_exact and {entry.stored for entry in rebuilt.tensors} == {"equal"}
    assert str(rebuilt).endswith("  9 of 9 equal  in the checkpoint")


def test_a_tie_may_be_in_the_checkpoint_once():
    model, manifest = started()
    weights = model.state_dict()
    del weights["embed.weight"]
    assert xn.rebuild(manifest, build, weights).is_exact


def test_what_differs_in_a_checkpoint_is_named_with_how_far_it_is_off():
    model, manifest = started()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    weights["up.weight"][2, 3] += 0.25
    weights["up.bias"] = weights["up.bias"].bfloat16()
    weights["norm.weight"] = torch.ones(7)
    weights["head.weight"] = weights["head.weight"] + 0.125  # under its other name it is as it was
    del weights["norm.bias"]
    weights["optimizer.step"] = torch.zeros(1)
    rebuilt = xn.rebuild(manifest, build, weights)
    found = {entry.names[0]: (entry.stored, entry.distance) for entry in rebuilt.tensors if entry.stored != "equal"}
    off = found["up.weight"][1]
    assert off == pytest.approx(0.25, abs=1e-6)
    assert found == {
        "embed.weight": ("differs", pytest.approx(0.125, abs=1e-6)),
        "norm.bias": ("missing", None),
        "norm.weight": ("of shape (7,)", None),
        "up.bias": ("bfloat16", 0.0),
        "up.weight": ("differs", off),
    }
    assert rebuilt.surplus == ("optimizer.step",) and not rebuilt.is_exact and unequal(rebuilt) == []
    said = str(rebuilt)
    assert "rebuilt bit for bit, and the checkpoint differs" in said
    assert "  4 of 9 equal  in the checkpoint; values are off by 0.25 at most" in said
    assert "  optimizer.step  in the checkpoint, not in the model" in said


def test_a_surplus_alone_is_no_equal_checkpoint():
    model, manifest = started()
    assert not xn.rebuild(manifest, build, {**model.state_dict(), "more": torch.zeros(1)}).is_exact
    assert xn.rebuild(manifest, build, {**model.state_dict(), "_extra_state": {"calls": 3}}).is_exact


def test_values_that_are_not_finite_have_no_distance():
    model, manifest = started()
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    weights["up.weight"][0] = torch.nan
    entry = next(e for e in xn.rebuild(manifest, build, weights).tensors if e.names == ("up.weight",))
    assert (entry.stored, entry.distance) == ("differs", None)


def test_another_platform_is_said_where_written_values_differ():
    _, manifest = started()
    there = dataclasses.replace(manifest, seed=4, platform="Plan9 mips DEFAULT")
    assert "Plan9 mips DEFAULT; rebuilt with torch" in str(xn.rebuild(there, build))
    assert "Plan9" not in str(xn.rebuild(dataclasses.replace(there, seed=3), build))
    here = str(xn.rebuild(dataclasses.replace(manifest, seed=4), build))
    assert "differ" in here and "Recorded with" not in here


def test_the_module_itself_is_left_as_it_was_by_its_fingerprint():
    model, _ = started()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    versions = {name: parameter._version for name, parameter in model.named_parameters()}
    xn.fingerprint(model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert versions == {name: parameter._version for name, parameter in model.named_parameters()}
    assert model(TOKENS).shape == (2, 4, 11)
