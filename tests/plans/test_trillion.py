"""The benchmark of many ranks, at a size where its sums can be checked by hand."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "trillion.py"


@pytest.mark.skipif(not dist.is_available(), reason="this build has no torch.distributed")
def test_what_all_ranks_write_is_the_model():
    words = [sys.executable, SCRIPT, "--json", "--width", "16", "--blocks", "2", "--vocabulary", "32"]
    done = subprocess.run([*words, "--fsdp", "3", "--tensor", "2"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    d, blocks, tokens = 16, 2, 32
    norms = (2 * blocks + 1) * 2 * d
    shared = norms + blocks * 2 * d  # with the biases of maps divided by inputs: both tensor ranks hold them
    numel = 2 * tokens * d + blocks * (12 * d * d + 7 * d) + shared
    assert found["parameters"] == numel
    assert found["ranks"] == 6
    assert found["bytes"]["model"] == 2 * numel
    assert found["bytes"]["all ranks"] == 2 * (numel + shared)
    assert found["equal elements"] == 200
