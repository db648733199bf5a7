"""The page on provenance says what is so: its Python runs, and its commands print what it shows."""

import re
import subprocess
import sys

import imports
import pytest

PAGE = (imports.ROOT / "docs" / "provenance.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL)
PYTHON = [code for kind, code in BLOCKS if kind == "python"]


@pytest.fixture
def shown():
    (found,) = [code for kind, code in BLOCKS if kind == "text"]
    return found


def test_its_python_runs_as_one_program_and_prints_the_fingerprint_shown(tmp_path, shown):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install safetensors")
    program = "\n".join(PYTHON)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"fingerprint  {done.stdout.splitlines()[0]}\n" in shown


def test_its_commands_end_with_what_is_shown(tmp_path, monkeypatch, ask, shown):
    pytest.importorskip("safetensors", reason="needs safetensors: pip install safetensors")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    (model,) = [code for code in PYTHON if "def build" in code]
    built = model[: model.index("model, x = build()")]
    (tmp_path / "net.py").write_text(f"{built}\n\ndef example():\n    return torch.zeros(1, 8)\n")
    (commands,) = [code for kind, code in BLOCKS if kind == "sh"]
    answers = [ask(*line.split()[1:]) for line in commands.splitlines()]
    assert [code for code, _, _ in answers] == [0] * 4
    assert answers[-1][1] == shown
