"""`exnihilo apply`: the file that it writes, and how it refuses."""

import json
import os
import re
import sys
from pathlib import Path

import pytest
import torch

from exnihilo.cli import outputs, weights
from exnihilo.cli.models import model_named
from exnihilo.cli.weights import unshared
from exnihilo.errors import OutputError
from exnihilo.plans.apply import apply
from exnihilo.plans.files import load


@pytest.fixture
def planned(net, ask):
    assert ask("plan", "net.py:build", "--recipe", "gpt2", "--out", "plan.json")[0] == 0
    return net


def expected(seed):
    model = model_named("net.py:build").model
    apply(load("plan.json"), model, seed)
    return model.state_dict()


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_the_file_holds_what_apply_writes_in_python_and_keeps_ties(planned, ask):
    code, out, err = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.pt")
    state = torch.load("w.pt")
    assert (code, err) == (0, "")
    assert same(state, expected(3)) and not same(state, expected(4))
    assert state["head.weight"].data_ptr() == state["embed.weight"].data_ptr()
    assert out.startswith("gpt2 applied to Net under seed 3\n15 written, 0 kept, 1 tied\n")
    assert re.search(r"blocks\.\{0-1\}\.down\.weight +Normal\(std=0\.01414\) +0\.01414 ", " ".join(out.split()))
    assert 'model.load_state_dict(torch.load("w.pt"))' in out


def test_equal_seeds_give_equal_files(planned, ask):
    for name in ("a.pt", "b.pt"):
        ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", name)
    assert same(torch.load("a.pt"), torch.load("b.pt"))


def test_json_is_what_was_written(planned, ask):
    _, out, _ = ask("apply", "plan.json", "net.py:loud", "--seed", "3", "--out", "w.pt", "--json")
    answer = json.loads(out)
    assert (answer["seed"], answer["file"], answer["num_tied"], len(answer["written"])) == (3, "w.pt", 1, 15)


def test_a_file_that_is_there_gives_way_only_by_force(planned, ask):
    Path("w.pt").write_text("mine")
    code, _, err = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.pt")
    assert (code, Path("w.pt").read_text()) == (2, "mine")
    assert "w.pt exists already; nothing was written." in err
    assert ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.pt", "--force")[0] == 0
    assert same(torch.load("w.pt"), expected(3))


def test_a_write_that_fails_leaves_the_old_file_and_no_part_of_a_new_one(planned, ask, monkeypatch):
    def full(state, path):
        Path(path).write_bytes(b"half")
        raise RuntimeError("no space left")

    Path("w.pt").write_text("mine")
    monkeypatch.setattr(weights.torch, "save", full)
    code, _, err = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.pt", "--force")
    assert (code, Path("w.pt").read_text()) == (2, "mine")
    assert "w.pt cannot be written: RuntimeError: no space left" in err
    assert not list(planned.glob(".*.part"))


def test_a_file_has_its_name_only_once_it_is_whole_and_the_mode_of_others(tmp_path):
    path, seen = tmp_path / "w", []

    def write(aside):
        seen.append(path.exists())
        aside.write_text("all")
        aside.chmod(0o600)

    outputs.written_whole(path, write)
    (tmp_path / "other").touch()
    assert (seen, path.read_text()) == ([False], "all")
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_an_interrupt_leaves_no_part_of_a_file(tmp_path):
    def write(aside):
        aside.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        outputs.written_whole(tmp_path / "w", write)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_refused_before_anything_is_computed(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="is read-only"):
        outputs.require_folder(tmp_path / "w")


def test_tensors_without_shared_memory_have_the_values_of_the_state():
    whole = torch.arange(6.0)
    state = {"a": whole, "tied": whole, "part": whole[2:4], "turned": whole.view(2, 3).t(), "none": torch.zeros(0)}
    state["other_none"] = torch.zeros(0)
    tensors, others = unshared(state)
    assert others == {"tied": "a"}
    assert list(tensors) == ["a", "part", "turned", "none", "other_none"]
    assert all(torch.equal(value, state[name]) and value.is_contiguous() for name, value in tensors.items())
    pointers = [value.untyped_storage().data_ptr() for value in tensors.values() if value.numel()]
    assert len(set(pointers)) == len(pointers)


def test_safetensors_hold_one_of_tied_tensors_and_load_into_the_model(planned, ask):
    safetensors = pytest.importorskip("safetensors", reason="needs safetensors: pip install safetensors")
    from safetensors.torch import load_model

    code, out, _ = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.safetensors")
    assert code == 0
    assert "head.weight is embed.weight: one tensor, in the file once" in out
    with safetensors.safe_open("w.safetensors", "pt") as file:
        header, names = file.metadata(), set(file.keys())
    assert header.keys() == {"format", "head.weight", "exnihilo"} and header["head.weight"] == "embed.weight"
    assert "head.weight" not in names and "embed.weight" in names
    model = model_named("net.py:build").model
    load_model(model, "w.safetensors")
    assert same(model.state_dict(), expected(3))
    assert model.head.weight is model.embed.weight


APPLY = ("apply", "plan.json", "net.py:build", "--seed")
ONTO = ("apply", "plan.json")
REFUSED = [
    ((*APPLY, "1", "--out", "w.npz"), "--out is 'w.npz'; it must end in .safetensors or .pt.", "--out w.safetensors"),
    ((*APPLY, "1", "--out", "none/w.pt"), "none/w.pt cannot be written: 'none' is no folder.", "mkdir -p none"),
    ((*APPLY, "-1", "--out", "w.pt"), "seed is -1; it must be in [0, 2**63).", "seed"),
    ((*APPLY, "1", "--out", "w.pt", "--size", "depth=3"), "The plan was made for another Net", "give each --size"),
    (("apply", "none.json", "net.py:build", "--seed=1", "--out=w.pt"), "none.json cannot be read", "exnihilo plan"),
    (("apply", "net.py", "net.py:build", "--seed=1", "--out=w.pt"), "net.py is no plan", "--out plan.json"),
    ((*ONTO, "net.py:failing", "--seed=1", "--out=w.pt"), "Factory 'failing' of 'net.py' failed", "mend it"),
    ((*ONTO, "net.py:on_meta", "--seed=1", "--out=w.pt"), "'embed.weight' is on the meta device", "with memory"),
]


@pytest.mark.parametrize(("arguments", "fact", "fix"), REFUSED)
def test_bad_input_gets_one_clear_error_and_writes_no_file(planned, ask, arguments, fact, fix):
    before = {path.name for path in planned.iterdir()}
    code, out, err = ask(*arguments)
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert fact in first
    assert any(line.startswith("  Fix: ") and fix in line for line in rest)
    assert {path.name for path in planned.iterdir()} - {"__pycache__"} == before


@pytest.mark.parametrize("missing", ["--seed", "--out"])
def test_what_is_needed_is_asked_for(planned, ask, missing):
    options = {"--seed": "1", "--out": "w.pt"}
    given = [word for name, value in options.items() if name != missing for word in (name, value)]
    code, _, err = ask("apply", "plan.json", "net.py:build", *given)
    assert code == 2 and missing in err


def test_safetensors_that_are_not_installed_are_asked_for(planned, ask, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    code, _, err = ask("apply", "plan.json", "net.py:build", "--seed", "1", "--out", "w.safetensors")
    assert code == 2
    assert err.splitlines()[0] == "Writing w.safetensors needs safetensors, which is not installed."
    assert "pip install safetensors   or --out w.pt" in err


def test_a_state_that_is_no_tensor_needs_pytorchs_own_format(net, ask, monkeypatch):
    monkeypatch.setattr(weights, "is_installed", lambda module: True)
    ask("plan", "net.py:remembering", "--recipe", "zeros", "--out", "plan.json")
    code, _, err = ask("apply", "plan.json", "net.py:remembering", "--seed", "1", "--out", "w.safetensors")
    assert (code, err.splitlines()[0]) == (
        2,
        "'_extra_state' of the model's state is a dict, which .safetensors cannot hold.",
    )
    assert ask("apply", "plan.json", "net.py:remembering", "--seed", "1", "--out", "w.pt")[0] == 0
    assert torch.load("w.pt")["_extra_state"] == {"calls": 3}


def test_a_file_with_gates_says_how_it_is_loaded(net, ask):
    assert ask("plan", "net.py:build", "--recipe", "rezero", "--out", "plan.json")[0] == 0
    code, out, _ = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.pt")
    assert code == 0
    said = " ".join(out.split())
    assert "exnihilo.attach(model, exnihilo.plans.files.load('plan.json').gates)" in said
    assert any(name.endswith("branch_gate") for name in torch.load("w.pt"))
