"""`exnihilo rebuild`: proved in processes of its own, from files alone; and how it says what differs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import exnihilo as xn
from exnihilo.cli.models import model_named
from exnihilo.provenance.files import load, save


@pytest.fixture
def applied(net, ask):
    """The folder with a plan that keeps a part, the weights of seed 3 as .pt, and their manifest."""
    assert ask("plan", "net.py:build", "--recipe", "gpt2", "--keep", "norm.*", "--out", "plan.json")[0] == 0
    words = ("--seed", "3", "--out", "w.pt", "--manifest", "m.json")
    assert ask("apply", "plan.json", "net.py:build", *words)[0] == 0
    return net


def run(*words, **environment):
    """The command in a process of its own."""
    program = "from exnihilo.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        capture_output=True,
        text=True,
        env={**os.environ, "COLUMNS": "80", **environment},
        check=False,
    )


def test_another_process_rebuilds_the_start_by_either_way_of_drawing(applied):
    done = run("rebuild", "m.json", "net.py:build", "--checkpoint", "w.pt")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "gpt2 for Net under seed 3: rebuilt bit for bit",
        f"  fingerprint  {load('m.json').fingerprint}",
        "  13 of 13 equal  assigned by the plan",
        "  2 of 2 equal  kept as the factory makes them",
        "  15 of 15 equal  in the checkpoint",
    ]
    assert run("rebuild", "m.json", "net.py:build", EXNIHILO_FILLS="reference").stdout == done.stdout.replace(
        "  15 of 15 equal  in the checkpoint\n", ""
    )


def test_the_header_of_safetensors_holds_all_that_is_needed(applied, ask):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install safetensors")
    _, out, _ = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.safetensors")
    assert out.splitlines()[-2:] == [
        "The manifest is in its header. To prove that this start can be built again:",
        "  exnihilo rebuild w.safetensors net.py:build",
    ]
    assert load("w.safetensors") == load("m.json")
    Path("plan.json").unlink()
    done = run("rebuild", "w.safetensors", "net.py:build", "--checkpoint", "w.safetensors")
    assert (done.returncode, done.stderr) == (0, "")
    assert "rebuilt bit for bit" in done.stdout and "15 of 15 equal  in the checkpoint" in done.stdout


def test_the_fingerprint_of_the_loaded_weights_is_that_of_the_manifest(applied):
    model = model_named("net.py:build").model
    model.load_state_dict(torch.load("w.pt"))
    assert xn.fingerprint(model) == load("m.json").fingerprint


def test_apply_says_how_its_manifest_is_used(net, ask):
    ask("plan", "net.py:build", "--recipe", "gpt2", "--size", "depth=1", "--out", "plan.json")
    words = ("--seed", "3", "--out", "w.pt", "--manifest", "m.json", "--size", "depth=1")
    _, out, _ = ask("apply", "plan.json", "net.py:build", *words)
    assert out.splitlines()[-2:] == [
        "Manifest written to m.json. To prove that this start can be built again:",
        "  exnihilo rebuild m.json net.py:build --size depth=1",
    ]
    assert ask("rebuild", "m.json", "net.py:build", "--size", "depth=1")[0] == 0


def test_apply_answers_with_the_fingerprint_in_json(applied, ask):
    _, out, _ = ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "again.pt", "--json")
    answer = json.loads(out)
    assert (answer["fingerprint"], answer["manifest"]) == (str(load("m.json").fingerprint), None)


def test_tampered_weights_exit_with_1_and_are_named_with_how_far_they_are_off(applied, ask):
    state = torch.load("w.pt")
    for block in (0, 1):
        state[f"blocks.{block}.up.weight"][0, 0] += 0.5
    torch.save(state, "w.pt")
    code, out, err = ask("rebuild", "m.json", "net.py:build", "--checkpoint", "w.pt")
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == "gpt2 for Net under seed 3: rebuilt bit for bit, and the checkpoint differs"
    assert "  13 of 15 equal  in the checkpoint; values are off by 0.5 at most" in out.splitlines()
    assert "  blocks.{0-1}.up.weight  in the checkpoint: differs" in out.splitlines()


def test_a_factory_of_other_kept_values_exits_with_1(applied, ask):
    text = Path("net.py").read_text()
    Path("net.py").write_text(f"{text}\n\ndef other():\n    net = Net()\n    net.norm.bias.data += 1\n    return net\n")
    code, out, _ = ask("rebuild", "m.json", "net.py:other")
    assert code == 1
    lines = out.splitlines()
    assert lines[0] == "gpt2 for Net under seed 3: 1 of 15 tensors differs"
    assert "  13 of 13 equal  assigned by the plan" in lines
    assert "  1 of 2 equal  kept as the factory makes them" in lines
    assert "  norm.bias  kept: differs" in lines
    assert all(len(line) <= 80 for line in lines)


def test_json_is_what_was_compared(applied, ask):
    code, out, _ = ask("rebuild", "m.json", "net.py:loud", "--json")
    answer = json.loads(out)
    assert (code, answer["is_exact"], answer["seed"], answer["plan"]) == (0, True, 3, load("m.json").plan.id)
    tied = next(entry for entry in answer["tensors"] if "head.weight" in entry["names"])
    assert tied["names"] == ["embed.weight", "head.weight"] and tied["origin"] == "assigned"


def test_another_seed_in_the_manifest_exits_with_1(applied, ask):
    import dataclasses

    save(dataclasses.replace(load("m.json"), seed=4), "m.json")
    code, out, _ = ask("rebuild", "m.json", "net.py:build")
    assert (code, out.splitlines()[0]) == (1, "gpt2 for Net under seed 4: 5 of 15 tensors differ")


def changed(text, **fields):
    return json.dumps({**json.loads(text), **fields})


REFUSED = [
    (("none.json", "net.py:build"), "none.json cannot be read: No such file", "--manifest manifest.json"),
    (("none.safetensors", "net.py:build"), "none.safetensors cannot be read: No such file", "exnihilo apply"),
    (("net.py", "net.py:build"), "net.py is no manifest: it is no JSON.", "exnihilo apply"),
    (("plan.json", "net.py:build"), "plan.json is no manifest of version 1: its version is 4.", "exnihilo apply"),
    (("edited.json", "net.py:build"), "edited.json is no manifest: its plan is", "exnihilo apply"),
    (("old.json", "net.py:build"), "were drawn by specification 1 of draws", "pip install exnihilo=="),
    (("m.json", "net.py:plain"), "'net.py:plain' makes another model than the manifest's Net", "--size NAME=VALUE"),
    (("m.json", "net.py:build", "--size", "depth=3"), "makes another model than the manifest's", "--size"),
    (("m.json", "net.py:on_meta"), "'embed.weight' is on the meta device", "to_empty"),
    (("m.json", "net.py:failing"), "Factory 'failing' of 'net.py' failed", "mend it"),
    (("m.json", "net.py:none"), "Unknown factory in net.py 'none'", "use"),
    (("m.json", "net.py:build", "--checkpoint", "none.pt"), "none.pt cannot be read: No such file", "torch.save"),
    (("m.json", "net.py:build", "--checkpoint", "none.safetensors"), "none.safetensors cannot be read", "torch.save"),
    (("m.json", "net.py:build", "--checkpoint", "net.py"), "'net.py' must end in .safetensors or .pt.", ".safetensors"),
    (("m.json", "net.py:build", "--checkpoint", "text.pt"), "text.pt cannot be read: ", "torch.save"),
    (("m.json", "net.py:build", "--checkpoint", "nested.pt"), "but a dict with 'model', 'step'", "state_dict()"),
]


@pytest.mark.parametrize(("arguments", "fact", "fix"), REFUSED, ids=lambda given: str(given)[:40])
def test_what_cannot_be_compared_exits_with_2_and_one_clear_error(applied, ask, arguments, fact, fix):
    text = Path("m.json").read_text()
    plan = json.loads(text)["plan"]
    Path("edited.json").write_text(changed(text, plan={**plan, "recipe": "he"}))
    Path("old.json").write_text(changed(text, fills_version=1))
    Path("text.pt").write_text("no weights")
    torch.save({"model": {"w": torch.zeros(1)}, "step": 0}, "nested.pt")
    code, out, err = ask("rebuild", *arguments)
    assert (code, out) == (2, "")
    first, *rest = err.splitlines()
    assert fact in first
    assert any(line.startswith("  Fix: ") and fix in line for line in rest)


def test_safetensors_that_are_not_installed_are_asked_for_by_a_checkpoint_alone(applied, ask, monkeypatch):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install safetensors")
    ask("apply", "plan.json", "net.py:build", "--seed", "3", "--out", "w.safetensors")
    monkeypatch.setitem(sys.modules, "safetensors", None)
    assert ask("rebuild", "w.safetensors", "net.py:build")[0] == 0
    code, _, err = ask("rebuild", "w.safetensors", "net.py:build", "--checkpoint", "w.safetensors")
    assert (code, err.splitlines()[0]) == (2, "Reading w.safetensors needs safetensors, which is not installed.")


MANIFESTS = [
    ("m.pt", "--manifest is 'm.pt'; it must end in .json.", "--manifest m.json"),
    ("none/m.json", "none/m.json cannot be written: 'none' is no folder.", "mkdir -p none"),
    ("plan.json", "plan.json exists already; nothing was written.", "--force"),
]


@pytest.mark.parametrize(("path", "fact", "fix"), MANIFESTS)
def test_a_manifest_that_cannot_be_written_is_refused_before_the_weights_are(applied, ask, path, fact, fix):
    words = ("--seed", "3", "--out", "other.pt", "--manifest", path)
    code, _, err = ask("apply", "plan.json", "net.py:build", *words)
    assert (code, err.splitlines()[0]) == (2, fact)
    assert any(line.startswith("  Fix: ") and fix in line for line in err.splitlines())
    assert not Path("other.pt").exists()


def test_a_manifest_that_is_there_gives_way_by_force(applied, ask):
    words = ("--seed", "5", "--out", "w.pt", "--manifest", "m.json", "--force")
    assert ask("apply", "plan.json", "net.py:build", *words)[0] == 0
    assert load("m.json").seed == 5
