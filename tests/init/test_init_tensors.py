"""Which memory is written: strides, autograd, inference, tensors without memory, subclasses and shards."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

import exnihilo as xn
from exnihilo.fills import Key

init = xn.init
KEY = Key(5, "w")
WRITES: dict[str, Callable[..., Tensor]] = {
    "uniform_": lambda w: init.uniform_(w, key=KEY),
    "normal_": lambda w: init.normal_(w, key=KEY),
    "trunc_normal_": lambda w: init.trunc_normal_(w, key=KEY),
    "truncated_normal_": lambda w: init.truncated_normal_(w, key=KEY),
    "rademacher_": lambda w: init.rademacher_(w, key=KEY),
    "xavier_normal_": lambda w: init.xavier_normal_(w, key=KEY),
    "kaiming_uniform_": lambda w: init.kaiming_uniform_(w, key=KEY),
    "lecun_normal_": lambda w: init.lecun_normal_(w, key=KEY),
    "variance_scaling_": lambda w: init.variance_scaling_(w, key=KEY),
    "orthogonal_": lambda w: init.orthogonal_(w, key=KEY),
    "sparse_": lambda w: init.sparse_(w, 0.5, key=KEY),
    "constant_": lambda w: init.constant_(w, 0.5),
    "ones_": init.ones_,
    "zeros_": init.zeros_,
    "eye_": init.eye_,
    "identity_": init.identity_,
    "repeated_identity_": init.repeated_identity_,
    "hadamard_": init.hadamard_,
}
SHAPE = (12, 8)


def expected(name: str, dtype: torch.dtype = torch.float32) -> Tensor:
    return WRITES[name](torch.full(SHAPE, 7.0, dtype=dtype))


@pytest.mark.parametrize("name", WRITES)
def test_strides_do_not_change_what_is_written_nor_what_is_beside_it(name: str) -> None:
    memory = torch.full((2 * SHAPE[1], 3 * SHAPE[0]), 7.0)
    view = memory[::2, ::3].t()
    assert WRITES[name](view) is view
    assert torch.equal(view, expected(name))
    memory[::2, ::3] = 7.0
    assert bool((memory == 7).all())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", WRITES)
def test_other_dtypes_get_the_values_of_float32_rounded_or_widened(name: str, dtype: torch.dtype) -> None:
    drawn = expected(name, dtype)
    assert drawn.dtype is dtype
    if (name, dtype) == ("orthogonal_", torch.float64):
        assert torch.allclose(drawn, expected(name).double(), atol=3e-6)
    else:
        assert torch.equal(drawn, expected(name).to(dtype))


@pytest.mark.parametrize("name", WRITES)
def test_a_leaf_that_requires_a_gradient_is_written_without_one_and_its_version_moves(name: str) -> None:
    weight = nn.Parameter(torch.full(SHAPE, 7.0))
    version = weight._version
    assert WRITES[name](weight) is weight
    assert weight.is_leaf
    assert weight.grad_fn is None
    assert weight.requires_grad
    assert weight._version > version
    assert torch.equal(weight.detach(), expected(name))


@pytest.mark.parametrize("name", WRITES)
def test_a_backward_pass_over_values_that_were_overwritten_is_refused(name: str) -> None:
    weight = nn.Parameter(torch.full(SHAPE, 7.0))
    loss = weight.square().sum()
    WRITES[name](weight)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("name", WRITES)
def test_views_of_parameters_and_results_are_written_without_a_gradient(name: str) -> None:
    weight = nn.Parameter(torch.full((2 * SHAPE[0], SHAPE[1]), 7.0))
    WRITES[name](weight[: SHAPE[0]])
    assert torch.equal(weight.detach()[: SHAPE[0]], expected(name))
    assert weight.grad_fn is None
    result = nn.Parameter(torch.ones(SHAPE)) * 2
    WRITES[name](result)
    assert torch.equal(result.detach(), expected(name))


@pytest.mark.parametrize("name", WRITES)
def test_inference_mode_is_no_obstacle(name: str) -> None:
    with torch.inference_mode():
        inside = torch.full(SHAPE, 7.0)
        assert torch.equal(WRITES[name](inside), WRITES[name](torch.full(SHAPE, 7.0)))


@pytest.mark.parametrize("name", WRITES)
def test_tensors_without_memory_are_left_alone(name: str) -> None:
    meta = torch.empty(SHAPE, device="meta")
    assert WRITES[name](meta) is meta
    with FakeTensorMode():
        fake = torch.empty(SHAPE)
        assert WRITES[name](fake) is fake
    WRITES[name](fake)


def test_a_fake_tensor_moves_no_generator() -> None:
    before = torch.get_rng_state()
    with FakeTensorMode():
        init.normal_(torch.empty(SHAPE))
        init.orthogonal_(torch.empty(SHAPE))
    assert torch.equal(torch.get_rng_state(), before)


class Plain(Tensor):
    """A subclass that changes nothing."""


@pytest.mark.parametrize("name", WRITES)
def test_a_subclass_gets_the_values_and_stays_what_it_is(name: str) -> None:
    tensor = torch.full(SHAPE, 7.0).as_subclass(Plain)
    assert WRITES[name](tensor) is tensor
    assert torch.equal(tensor.as_subclass(Tensor), expected(name))


class Listening(Tensor):
    """Notes each function that is called on it."""

    heard: ClassVar[list[Any]] = []

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        cls.heard.append(func)
        return super().__torch_function__(func, types, args, kwargs or {})


@pytest.mark.parametrize("name", ["uniform_", "normal_", "kaiming_uniform_", "constant_"])
def test_a_subclass_hears_of_the_functions_that_torch_tells_it_of(name: str) -> None:
    arguments = (0.5,) if name == "constant_" else ()
    for room in (init, nn.init):
        Listening.heard = []
        with torch.random.fork_rng():
            getattr(room, name)(torch.zeros(SHAPE).as_subclass(Listening), *arguments)
        assert Listening.heard[0] is getattr(room, name)


@pytest.mark.parametrize("name", WRITES)
def test_a_default_device_leaves_values_on_the_cpu_as_they_are(name: str) -> None:
    tensor = torch.full(SHAPE, 7.0)
    with torch.device("meta"):
        WRITES[name](tensor)
    assert torch.equal(tensor, expected(name))


SHARDED = """
import os, sys, torch, torch.distributed as dist
from torch import nn
from torch.distributed.tensor import Replicate, Shard, distribute_tensor, init_device_mesh
import exnihilo as xn
from exnihilo.init import writing
from ranks import leave

rank, world = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=world)
mesh, key = init_device_mesh("cpu", (world,)), xn.Key(5, "w")
whole_draws = []
writing.values = lambda law, key, box: whole_draws.append(box)  # no rank draws more than its own
for placement in (Shard(0), Shard(1), Replicate()):
    for draw in (xn.init.normal_, xn.init.kaiming_uniform_, xn.init.orthogonal_, xn.init.trunc_normal_):
        whole = draw(torch.empty(10, 7), key=key)
        weight = nn.Parameter(distribute_tensor(torch.zeros(10, 7), mesh, [placement]))
        version = weight._version
        assert draw(weight, key=key) is weight and weight.is_leaf and weight._version > version
        assert torch.equal(weight.full_tensor(), whole), (placement, draw)
        torch.manual_seed(rank)  # ranks that disagree must not write shards of different draws
        draw(weight)
        torch.manual_seed(0)
        assert torch.equal(weight.full_tensor(), draw(torch.empty(10, 7))), (placement, draw)
    eye = xn.init.eye_(distribute_tensor(torch.zeros(10, 7), mesh, [placement]))
    assert torch.equal(eye.full_tensor(), torch.eye(10, 7))
    assert bool((xn.init.constant_(weight, 0.5).full_tensor() == 0.5).all())
assert not whole_draws
leave()
"""


@pytest.mark.slow
def test_a_sharded_tensor_holds_its_part_of_the_whole_draw_on_every_rank(tmp_path: Any) -> None:
    found_in = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo", "PYTHONPATH": found_in}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", SHARDED, str(rank), "2", str(tmp_path / "store")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = [rank.communicate(timeout=120)[1] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], said
