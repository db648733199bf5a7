"""Processes that hold a model together, each a part of it, see the fingerprint of the whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

PROGRAM = Path(__file__).with_name("of_many_processes.py")


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")
@pytest.mark.parametrize("size", [2, 4])
def test_every_process_sees_the_fingerprint_of_the_whole_model(size, tmp_path):
    found_in = os.pathsep.join([str(PROGRAM.parents[1]), *sys.path])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": found_in}
    processes = [
        subprocess.Popen(
            [sys.executable, PROGRAM, str(rank), str(size), str(tmp_path / "meeting")],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for rank in range(size)
    ]
    answers = [process.communicate(timeout=240) for process in processes]
    assert [process.returncode for process in processes] == [0] * size, answers[0][1]
    for out, _ in answers:
        found = json.loads(out.splitlines()[-1])
        ways = ("fully_shard", "split along its inputs", "distributed")
        assert {way: found[way] for way in ways} == dict.fromkeys(ways, found["plain"])
        assert found["is sharded"]
        assert (
            found["slices"] == "FullyShardedDataParallel holds slices of the parameters, from which none can be told."
        )
    assert len({json.loads(out.splitlines()[-1])["plain"] for out, _ in answers}) == 1
