"""Sharded parameters in real processes: what ranks hold together is what one process draws, bit for bit."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch.distributed as dist

HERE = Path(__file__).parent
TESTS = HERE.parent
pytestmark = pytest.mark.skipif(
    not dist.is_available() or not dist.is_gloo_available(), reason="this build has no gloo"
)
if dist.is_available():
    import rank_cases


def run_ranks(world, folder, names):
    """``{case: what failed, rank by rank}`` of processes that run some cases together."""
    around = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(HERE), str(TESTS), *sys.path]),
        "PYTHONWARNINGS": "ignore",
    }
    words = [sys.executable, str(HERE / "rank_cases.py")]
    with contextlib.ExitStack() as files:
        said = [files.enter_context((folder / f"said-{rank}").open("w")) for rank in range(world)]
        running = [
            subprocess.Popen([*words, str(rank), str(world), str(folder), *names], env=around, stdout=out, stderr=out)
            for rank, out in enumerate(said)
        ]
        try:
            for process in running:
                process.wait(timeout=240)
        finally:
            for process in running:
                process.kill()
                process.wait()
    return {name: [failure(folder, rank, name) for rank in range(world)] for name in names}


def failure(folder, rank, name):
    """What failed on a rank in a case, or all that it said where it broke off; None where all went well."""
    record = folder / f"rank-{rank}.json"
    if not record.exists():
        return (folder / f"said-{rank}").read_text()
    return json.loads(record.read_text()).get(name)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """What came of every case, for groups of two and of four, each started once."""
    done = {}

    def of(world):
        if world not in done:
            done[world] = run_ranks(world, tmp_path_factory.mktemp(f"world{world}"), list(rank_cases.CASES))
        return done[world]

    return of


def require_passed(failures):
    told = [f"rank {rank}:\n{failure}" for rank, failure in enumerate(failures) if failure]
    assert not told, "\n".join(told)


@pytest.mark.parametrize("case", list(rank_cases.CASES))
@pytest.mark.parametrize("world", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_together(outcomes, world, case):
    require_passed(outcomes(world)[case])


@pytest.mark.slow
def test_a_checkpoint_of_two_ranks_is_loaded_by_four(tmp_path):
    for world, name in ((2, "saved"), (4, "loaded")):
        require_passed(run_ranks(world, tmp_path, [name])[name])
