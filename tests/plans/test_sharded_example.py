"""examples/sharded.py, as a user starts it: one fingerprint on one process, on two and on four."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# torchvision, which transformers imports where it is installed, does not load beside a CPU build of torch.
START = """
import runpy, sys
sys.path.insert(0, "tests")
from torchvision_shim import define_missing_operators
kept = define_missing_operators()
sys.argv = ["sharded.py"]
runpy.run_path("examples/sharded.py", run_name="__main__")
"""


def fingerprints(tmp_path, processes):
    """What each process printed at its line's end."""
    script = tmp_path / "start.py"
    script.write_text(START)
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [*command, str(script)], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return re.findall(rf"{processes} process\(es\): ([0-9a-f]{{32}})", done.stdout)


@pytest.mark.slow
def test_the_fingerprint_does_not_depend_on_how_many_processes_hold_the_model(tmp_path):
    pytest.importorskip("transformers")
    (alone,) = fingerprints(tmp_path, 1)
    assert fingerprints(tmp_path, 2) == [alone] * 2
    assert fingerprints(tmp_path, 4) == [alone] * 4
