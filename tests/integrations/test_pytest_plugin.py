"""The pytest plugin and its assertion, in sessions of their own."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TEST = """
import torch
from torch import nn
from exnihilo.testing import assert_trainable

def batch():
    return torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.arange(16) % 2

def net(zero):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8, bias=False), nn.ReLU(), nn.Linear(8, 2))
    if zero:
        nn.init.zeros_(model[0].weight)
    return model

def test_healthy():
    assert assert_trainable(net(False), batch(), criterion=nn.CrossEntropyLoss()).ok

def test_broken():
    assert_trainable(net(True), batch(), criterion=nn.CrossEntropyLoss())

def test_allowed():
    assert_trainable(net(True), batch(), criterion=nn.CrossEntropyLoss(), allow=["stuck-saddle"])
"""


def session(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    (folder / "test_net.py").write_text(TEST)
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "test_net.py"]
    return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)


def test_a_model_that_cannot_learn_fails_its_test_with_the_screen(tmp_path):
    done = session(tmp_path)
    assert "1 failed, 2 passed" in done.stdout
    assert "FAIL  stuck-saddle    0.weight" in done.stdout
    assert "require_passed(found" not in done.stdout  # the test is shown, and not what lies below it


def test_a_session_writes_what_its_assertions_found(tmp_path):
    done = session(tmp_path, "--exnihilo-sarif=found.sarif", "--exnihilo-html=pages", "--exnihilo-strict")
    assert "exnihilo: 3 models checked, 1 with a FAIL" in done.stdout
    run = json.loads((tmp_path / "found.sarif").read_text())["runs"][0]
    broken = [result for result in run["results"] if result["level"] == "error"]
    place = broken[0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "test_net.py"
    assert place["region"]["startLine"] == 1 + TEST.splitlines().index(
        "    assert_trainable(net(True), batch(), criterion=nn.CrossEntropyLoss())"
    )
    assert len(list((tmp_path / "pages").glob("*.html"))) == 3


def test_a_session_without_its_options_does_not_import_torch(tmp_path):
    (tmp_path / "test_plain.py").write_text("import sys\n\ndef test_it():\n    assert 'torch' not in sys.modules\n")
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_plain.py"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "1 passed" in done.stdout, done.stdout


@pytest.mark.parametrize("workers", [2])
def test_workers_hand_what_they_found_to_the_session(tmp_path, workers):
    done = session(tmp_path, f"-n{workers}", "--exnihilo-sarif=found.sarif")
    assert "3 models checked" in done.stdout
    assert (tmp_path / "found.sarif").exists()
