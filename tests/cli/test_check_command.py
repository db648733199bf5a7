"""``exnihilo check`` as it is called."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from exnihilo.cli.app import app
from exnihilo.plans.files import load

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "check_me.py")


def called(*words):
    return CliRunner().invoke(app, ["check", *map(str, words)])


@pytest.mark.parametrize(
    ("factory", "code", "words"),
    [
        ("two_zeros", 1, "FAIL  stuck-saddle    down.weight"),
        ("constant_layer", 1, "FAIL  twin-units      0.weight"),
        ("zero_gamma", 0, "INFO  opens-later"),
    ],
)
def test_the_examples_get_the_answers_that_an_expert_would_give(factory, code, words):
    done = called(f"{EXAMPLE}:{factory}")
    assert done.exit_code == code
    assert words in done.output


def test_the_same_is_said_as_json_and_in_files(tmp_path):
    done = called(
        f"{EXAMPLE}:two_zeros", "--json", "--out", tmp_path / "d.json", "--sarif", tmp_path / "d.sarif",
        "--plan", tmp_path / "plan.json", "--html", tmp_path / "d.html",
    )  # fmt: skip
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["parameters"] == ["down.weight", "up.weight"]
    assert json.loads((tmp_path / "d.json").read_text()) == json.loads(done.stdout)
    assert json.loads((tmp_path / "d.sarif").read_text())["runs"][0]["results"][0]["level"] == "error"
    assert [row.parameter for row in load(tmp_path / "plan.json").rows if row.action == "assign"] == ["down.weight"]
    page = (tmp_path / "d.html").read_text()
    assert "Adapted cannot learn as it is" in page
    assert "down.weight, 4×16" in page


def test_what_is_suppressed_does_not_fail():
    done = called(f"{EXAMPLE}:two_zeros", "--suppress", "stuck-saddle=pruned on purpose")
    assert done.exit_code == 0
    assert "suppressed: pruned on purpose" in done.output


def test_a_rate_that_is_far_too_large_is_a_warning_and_fails_where_that_is_asked():
    asked = (f"{EXAMPLE}:zero_gamma", "--lr", "1000", "--optimizer", "sgd")
    assert called(*asked).exit_code == 0
    assert "WARN  learning-rate" in called(*asked).output
    assert called(*asked, "--strict").exit_code == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "names no model"),
        (["missing.py:build"], "does not exist"),
        ([f"{EXAMPLE}:tow_zeros"], "Did you mean 'two_zeros'"),
        ([f"{EXAMPLE}:two_zeros", "--suppress", "stuck"], "suppresses nothing"),
        ([f"{EXAMPLE}:two_zeros", "--suppress", "stuk=why"], "Unknown rule 'stuk'"),
        ([f"{EXAMPLE}:two_zeros", "--optimizer", "lion"], "Unknown optimizer 'lion'"),
        ([f"{EXAMPLE}:two_zeros", "--out", "/nowhere/d.json"], "is no folder"),
        ([f"{EXAMPLE}:Adapted"], "Nothing says what"),
    ],
)
def test_what_cannot_run_is_one_error_and_exits_with_2(words, said):
    done = called(*words)
    assert done.exit_code == 2
    assert said in done.output


def test_a_factory_without_a_batch_learns_random_classes(tmp_path):
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef build():\n    return nn.Linear(4, 3)\n")
    done = called(f"{tmp_path / 'net.py'}:build", "--input", "8x4")
    assert done.exit_code == 0
    assert "cross-entropy with random labels of 3 classes" in done.output


def test_a_parameter_that_its_factory_leaves_unwritten_is_found(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\nclass Net(nn.Module):\n    def __init__(self):\n"
        "        super().__init__()\n        self.w = nn.Parameter(torch.empty(4, 3))\n\n"
        "    def forward(self, x):\n        return x @ self.w\n"
    )
    done = called(f"{tmp_path / 'net.py'}:Net", "--input", "8x4")
    assert done.exit_code == 1
    assert "FAIL  uninitialized" in done.output


def test_a_loss_beside_a_batch_that_is_no_pair_takes_the_model(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n    torch.manual_seed(0)\n"
        "    return nn.Linear(8, 4), torch.randn(16, 8), lambda m, x: m(x).square().mean()\n"
    )
    assert called(f"{tmp_path / 'net.py'}:build").exit_code == 0


def test_a_healthy_model_has_an_empty_plan_of_remedies(tmp_path):
    done = called(f"{EXAMPLE}:zero_gamma", "--plan", tmp_path / "plan.json")
    assert done.exit_code == 0
    assert {row.action for row in load(tmp_path / "plan.json").rows} == {"keep"}


def test_an_error_of_our_own_is_no_answer(monkeypatch):
    def broken(*_args, **_options):
        raise ZeroDivisionError

    monkeypatch.setattr("exnihilo.cli.check.check", broken)
    assert called(f"{EXAMPLE}:zero_gamma").exit_code == 2
