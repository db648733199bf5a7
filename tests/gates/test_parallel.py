"""Gates under DistributedDataParallel and fully_shard, in two real processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

HERE = Path(__file__).parent
TESTS = HERE.parent


@pytest.mark.skipif(not dist.is_available() or not dist.is_gloo_available(), reason="this build has no gloo")
def test_two_processes_step_as_one(tmp_path):
    around = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])}
    words = [sys.executable, str(HERE / "parallel_gates.py")]
    running = [
        subprocess.Popen(
            [*words, str(rank), str(tmp_path / "meet")], env=around, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=180)[0].decode() for process in running]
    assert [process.returncode for process in running] == [0, 0], "\n".join(said)
