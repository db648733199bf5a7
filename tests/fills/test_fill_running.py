"""A fill beside everything else in a process: memory, threads, forks, autograd, global states."""

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from fill_cases import BACKENDS, KERNEL, KEY, backend, elements, same_bits, threads
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from exnihilo.fills import Box, Law, fill_, values

SCRIPT = Path(__file__).with_name("fill_running.py")
compiled_only = pytest.mark.skipif(KERNEL is None, reason="the kernel was not built")
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads the process' own figures as Linux gives them")


def run(*arguments: str) -> list[str]:
    """What the script prints, in a process of its own."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(SCRIPT), *arguments]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=120).stdout.split()


# --- memory, threads, processes ---------------------------------------------------------------------------------------


@linux_only
@compiled_only
@pytest.mark.parametrize(("dtype", "arranged"), [("float32", "flat"), ("bfloat16", "flat"), ("bfloat16", "permuted")])
def test_a_fill_needs_less_than_a_mebibyte_a_thread(dtype: str, arranged: str) -> None:
    """Of 64 or 128 MiB that were there before: a float32 copy would be 128."""
    (grown,) = run("memory", "2", dtype, arranged)
    assert int(grown) < 2 * 2**20


@linux_only
@compiled_only
def test_a_forked_child_fills_as_its_parent_did(tmp_path: Path) -> None:
    assert run("fork", str(tmp_path / "digest")) == ["0", "True"]


@compiled_only
@pytest.mark.parametrize("arranged", ["flat", pytest.param("permuted", marks=pytest.mark.slow)])
def test_other_threads_of_python_run_during_a_fill(arranged: str) -> None:
    """With the interpreter's lock held, one would stand still for as long as the fill takes."""
    pause, took = map(float, run("interpreter", arranged))
    assert took > 0.05
    assert pause < 0.7


@compiled_only
def test_threads_end_with_the_fill() -> None:
    before = threading.active_count()
    with threads(3):
        fill_(torch.empty(2**20), Law.normal(), KEY)
    assert threading.active_count() == before


@compiled_only
def test_several_threads_of_python_fill_at_once() -> None:
    tensors = [torch.empty(2**19 + 5) for _ in range(4)]
    with threads(2):
        workers = [threading.Thread(target=fill_, args=(tensor, Law.normal(), KEY)) for tensor in tensors]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    expected = elements(Law.normal(), 0, 2**19 + 5)
    assert all(same_bits(tensor, expected) for tensor in tensors)


# --- autograd ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("law", [Law.normal(), Law.constant(2.0)])
@pytest.mark.parametrize("name", BACKENDS)
def test_a_tensor_that_a_backward_pass_needs_cannot_be_filled_unnoticed(name: str, law: Law) -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    with backend(name):
        fill_(y, law, KEY)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", BACKENDS)
def test_each_fill_raises_the_version_and_records_no_gradient(name: str, dtype: torch.dtype) -> None:
    for parameter in (nn.Parameter(torch.zeros(3, 4, dtype=dtype)), nn.Parameter(torch.zeros(4, 3, dtype=dtype).t())):
        with backend(name):
            assert fill_(parameter, Law.normal(), KEY) is parameter
        assert parameter._version > 0
        assert (parameter.is_leaf, parameter.requires_grad, parameter.grad_fn) == (True, True, None)
        parameter.sum().backward()
        assert parameter.grad is not None


@pytest.mark.parametrize("name", BACKENDS)
def test_fills_work_in_inference_mode(name: str) -> None:
    with backend(name), torch.inference_mode():
        inside = values(Law.normal(), KEY, Box.whole((5,)))
    assert same_bits(inside.clone(), values(Law.normal(), KEY, Box.whole((5,))))


# --- tensors without memory, and global states ------------------------------------------------------------------------


@pytest.mark.parametrize("name", BACKENDS)
def test_tensors_without_memory_are_left_alone(name: str) -> None:
    with backend(name), FakeTensorMode():
        fake = torch.empty(3, 4)
        assert fill_(fake, Law.normal(), KEY) is fake
        assert values(Law.normal(), KEY, Box.whole((3, 4))).shape == (3, 4)
    with backend(name):
        assert fill_(fake, Law.normal(), KEY) is fake
        meta = torch.empty(2**40, device="meta")
        assert fill_(meta, Law.normal(), KEY) is meta


@pytest.mark.parametrize("name", BACKENDS)
def test_global_random_states_are_neither_read_nor_written(name: str) -> None:
    def states() -> list[object]:
        return [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]  # noqa: NPY002

    def everything() -> list[torch.Tensor]:
        laws = [Law.normal(), Law.uniform(), Law.truncated_normal(), Law.rademacher(), Law.constant(1.0)]
        return [fill_(torch.empty(5, 7, dtype=torch.bfloat16), law, KEY) for law in laws]

    with backend(name):
        before, first = states(), everything()
        assert states() == before
        with torch.random.fork_rng():
            torch.manual_seed(12345)
            assert all(map(same_bits, everything(), first))
