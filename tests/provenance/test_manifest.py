"""Manifests: what they hold, that they read back, and how a broken one is told."""

import json
import struct

import pytest
import torch
from started import TOKENS, Net, build, edited, started

import exnihilo as xn
from exnihilo.errors import InvalidValueError, ManifestError, OutputError, StalePlanError
from exnihilo.fills import FILLS_VERSION
from exnihilo.provenance import files
from exnihilo.provenance.files import from_json, load, save, to_json
from exnihilo.version import __version__

MODEL, MANIFEST = started(keep="up.bias")


def test_it_holds_all_that_the_start_follows_from():
    assert (MANIFEST.exnihilo, MANIFEST.fills_version, MANIFEST.seed) == (__version__, FILLS_VERSION, 3)
    assert MANIFEST.plan == xn.plan(MODEL, "he", example=TOKENS, keep="up.bias")
    assert MANIFEST.fingerprint == xn.fingerprint(MODEL)
    assert MANIFEST.torch == torch.__version__


def test_it_reads_back_equal(tmp_path):
    MANIFEST.save(tmp_path / "m.json")
    assert xn.Manifest.load(tmp_path / "m.json") == MANIFEST
    assert load(str(tmp_path / "m.json")).plan.id == MANIFEST.plan.id


def test_its_file_says_the_hashes():
    data = json.loads(to_json(MANIFEST))
    assert list(data) == ["version", "exnihilo", "fills_version", "seed", "plan", "fingerprint", "torch", "platform"]
    assert (data["plan"]["id"], data["fingerprint"]["hex"]) == (MANIFEST.plan.id, str(MANIFEST.fingerprint))
    digests = {entry["names"][0]: entry["digest"] for entry in data["fingerprint"]["tensors"]}
    assert digests["up.weight"] == MANIFEST.fingerprint.by_name["up.weight"].digest


def test_it_is_saved_in_the_header_of_safetensors_beside_other_metadata(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch", reason="needs safetensors: pip install safetensors")
    path = tmp_path / "w.safetensors"
    state = {name: value.clone() for name, value in MODEL.state_dict().items()}
    safetensors.save_file(state, path, metadata={"format": "pt", "step": "0", **MANIFEST.metadata})
    assert load(path) == MANIFEST
    assert safetensors.load_file(path).keys() == state.keys()


def test_a_header_is_read_without_the_package(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(raw(json.dumps({"__metadata__": MANIFEST.metadata}).encode()))
    assert load(tmp_path / "w.safetensors") == MANIFEST


def test_a_header_longer_than_the_format_allows_is_not_read(tmp_path, monkeypatch):
    header = json.dumps({"__metadata__": MANIFEST.metadata}).encode()
    (tmp_path / "w.safetensors").write_bytes(raw(header))
    monkeypatch.setattr(files, "_LONGEST_HEADER", len(header) - 1)
    with pytest.raises(ManifestError, match="it is no safetensors file"):
        load(tmp_path / "w.safetensors")


def raw(header):
    return struct.pack("<Q", len(header)) + header


NO_MANIFESTS = {
    "empty": (b"", "it is no safetensors file"),
    "short": (b"abc", "it is no safetensors file"),
    "a length beyond the file": (struct.pack("<Q", 10**6) + b"{}", "it is no safetensors file"),
    "a length of many gigabytes": (b"\xff" * 64, "it is no safetensors file"),
    "no JSON": (raw(b"not json"), "it is no safetensors file"),
    "no text": (raw(b"\xff\xfe"), "it is no safetensors file"),
    "a list": (raw(b"[]"), "its header has no 'exnihilo'"),
    "no metadata": (raw(b"{}"), "its header has no 'exnihilo'"),
    "metadata of others": (raw(b'{"__metadata__": {"format": "pt"}}'), "its header has no 'exnihilo'"),
    "metadata that is no object": (raw(b'{"__metadata__": 3}'), "its header has no 'exnihilo'"),
    "a manifest that is no text": (raw(b'{"__metadata__": {"exnihilo": 3}}'), "its header has no 'exnihilo'"),
    "a manifest that is none": (raw(b'{"__metadata__": {"exnihilo": "3"}}'), "its version is None"),
}


@pytest.mark.parametrize("name", NO_MANIFESTS)
def test_a_safetensors_file_without_one_gives_one_clear_error(name, tmp_path):
    content, message = NO_MANIFESTS[name]
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(ManifestError) as raised:
        load(path)
    assert message in raised.value.fact and str(path) in raised.value.fact


ROWS = ("plan", "rows")
TENSORS = ("fingerprint", "tensors")
NO_TENSORS = {"version": 1, "hex": "d1e9b1b1a35fa3a4a4c8a8b6a3ba3d43", "tensors": []}
BROKEN = {
    "no JSON": ("{", "it is no JSON"),
    "another thing": ("[1, 2]", "its version is None"),
    "a nest": ("[" * 200_000, "it is no JSON"),
    "another version": (edited(MANIFEST, ["version"], 99), "its version is 99"),
    "a version of true": (edited(MANIFEST, ["version"], True), "its version is True"),
    "no seed": (edited(MANIFEST, ["seed"], ...), "manifest lacks 'seed'"),
    "a seed of text": (edited(MANIFEST, ["seed"], "3"), "manifest.seed is '3'"),
    "a seed out of range": (edited(MANIFEST, ["seed"], -1), "seed is -1"),
    "an unknown field": (edited(MANIFEST, ["sede"], 3), "has an unknown field 'sede'"),
    "no plan": (edited(MANIFEST, ["plan"], ...), "Its plan is no plan of version"),
    "a plan that is no object": (edited(MANIFEST, ["plan"], 3), "Its plan is no plan of version"),
    "a plan of another version": (edited(MANIFEST, ["plan", "version"], 1), "its version is 1"),
    "another law": (edited(MANIFEST, [*ROWS, 0, "scheme"], "ones"), "Its plan is no plan"),
    "another reason": (edited(MANIFEST, [*ROWS, 0, "reason"], "for fun"), "one of both was changed"),
    "another plan id": (edited(MANIFEST, ["plan", "id"], "00"), "'00' was recorded; one of both was changed"),
    "no fingerprint": (edited(MANIFEST, ["fingerprint"], ...), "its fingerprint is of version None"),
    "a fingerprint of another version": (edited(MANIFEST, ["fingerprint", "version"], 2), "is of version 2"),
    "another digest": (edited(MANIFEST, [*TENSORS, 0, "digest"], "00" * 16), "one of both was changed"),
    "another fingerprint": (edited(MANIFEST, ["fingerprint", "hex"], "00" * 16), "one of both was changed"),
    "tensors out of order": (edited(MANIFEST, [*TENSORS, 0, "names"], ["z"]), "are not sorted by their names"),
    "a kind of its own": (edited(MANIFEST, [*TENSORS, 0, "kind"], "gate"), "must be one of parameter, buffer"),
    "no digest": (edited(MANIFEST, [*TENSORS, 0, "digest"], ...), "lacks 'digest'"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_or_tampered_manifest_gives_one_clear_error(name, tmp_path):
    text, message = BROKEN[name]
    (tmp_path / "m.json").write_text(text)
    with pytest.raises(ManifestError) as raised:
        load(tmp_path / "m.json")
    assert raised.value.fact.startswith(f"{tmp_path / 'm.json'} is no manifest")
    assert message in raised.value.fact


def test_plan_and_fingerprint_of_different_models_are_told():
    other = started(make=lambda: Net(width=6))[1]
    data, rest = json.loads(to_json(MANIFEST)), json.loads(to_json(other))
    with pytest.raises(ManifestError, match=r"its plan has 'embed.weight' as \(11, 8\) float32, its fingerprint"):
        from_json(json.dumps({**data, "fingerprint": rest["fingerprint"]}))


def test_a_parameter_that_the_plan_lacks_is_told():
    model = Net()
    plan = xn.plan(model, "he", example=TOKENS)
    wider = Net()
    wider.more = torch.nn.Parameter(torch.zeros(2))
    data = json.loads(to_json(MANIFEST))
    held = xn.fingerprint(wider)
    entries = [
        {"names": list(e.names), "kind": e.kind, "shape": list(e.shape), "dtype": e.dtype, "digest": e.digest}
        for e in held.tensors
    ]
    data["fingerprint"] = {"version": 1, "hex": str(held), "tensors": entries}
    assert plan.by_name.keys() == MANIFEST.plan.by_name.keys()
    with pytest.raises(ManifestError, match="its fingerprint has the parameter 'more', its plan does not"):
        from_json(json.dumps(data))


@pytest.mark.parametrize("name", ["m.json", "w.safetensors"])
def test_a_file_that_is_not_there_is_named(tmp_path, name):
    with pytest.raises(ManifestError, match=f"{name} cannot be read: No such file"):
        load(tmp_path / name)


def test_a_file_that_is_no_text_is_named(tmp_path):
    (tmp_path / "m.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ManifestError, match="cannot be read: it is no text"):
        load(tmp_path / "m.json")


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(OutputError, match="cannot be written: No such file"):
        save(MANIFEST, tmp_path / "none" / "m.json")


def test_a_model_that_is_no_longer_the_plans_has_none():
    model = build()
    plan = xn.plan(model, "he", example=TOKENS)
    xn.apply(plan, model, seed=0)
    model.bfloat16()
    with pytest.raises(StalePlanError, match="The plan was made for another Net"):
        xn.manifest(model, plan, seed=0)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(InvalidValueError, match="seed is"):
        xn.manifest(MODEL, MANIFEST.plan, seed=seed)
