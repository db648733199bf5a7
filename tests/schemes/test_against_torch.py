"""Promises against what PyTorch itself delivers: its modules when they are built, and torch.nn.init."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import (
    Dirac,
    Identity,
    Orthogonal,
    Scheme,
    TorchDefault,
    he_normal,
    he_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.gains import gain

# 2^16 uniform entries or more: the largest is within 0.1 % of the bound, and 1 % of the std is above 5 sigma.
MODULES: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "linear": (lambda: nn.Linear(300, 500), "weight"),
    "conv1d": (lambda: nn.Conv1d(100, 300, 5), "weight"),
    "conv2d_grouped": (lambda: nn.Conv2d(256, 512, 3, groups=4), "weight"),
    "conv_transpose2d": (lambda: nn.ConvTranspose2d(128, 64, 3), "weight"),
    "conv_transpose1d_grouped": (lambda: nn.ConvTranspose1d(256, 512, 5, groups=4), "weight"),
    "embedding": (lambda: nn.Embedding(2000, 100), "weight"),
    "bilinear": (lambda: nn.Bilinear(40, 60, 80), "weight"),
    "packed": (lambda: nn.MultiheadAttention(256, 4), "in_proj_weight"),
    "separate": (lambda: nn.MultiheadAttention(256, 4, kdim=300, vdim=400), "v_proj_weight"),
    "attention_out": (lambda: nn.MultiheadAttention(512, 4), "out_proj.weight"),
    "rnn": (lambda: nn.RNN(500, 300), "weight_ih_l0"),
    "gru": (lambda: nn.GRU(200, 300), "weight_hh_l0"),
    "lstm": (lambda: nn.LSTM(300, 200), "weight_ih_l0"),
    "lstm_projected": (lambda: nn.LSTM(300, 500, proj_size=200), "weight_hr_l0"),
}


@pytest.mark.parametrize("case", MODULES)
def test_the_default_of_each_module_is_the_law_that_the_module_draws_from(case: str) -> None:
    build, name = MODULES[case]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build()
    own = module.get_parameter(name).detach().double()
    layout = Layout.of(module, name)
    drawn = TorchDefault().sample(layout, Key(0, name)).double()
    promised = TorchDefault().expected_std(layout)
    assert own.std().item() == pytest.approx(promised, rel=0.01)
    assert drawn.std().item() == pytest.approx(promised, rel=0.01)
    if case != "embedding":
        assert own.abs().max().item() == pytest.approx(math.sqrt(3) * promised, rel=1e-3)
        assert drawn.abs().max().item() == pytest.approx(math.sqrt(3) * promised, rel=1e-3)


@pytest.mark.parametrize(
    ("build", "name", "fan_in"),
    [
        (lambda: nn.Linear(40, 2**16), "bias", 40),
        (lambda: nn.Conv1d(20, 2**16, 3), "bias", 60),
        (lambda: nn.RNN(2, 2**10), "bias_ih_l0", 2**10),
    ],
)
def test_the_default_of_biases_takes_the_fan_in_of_their_map(
    build: Callable[[], nn.Module], name: str, fan_in: int
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = build()
    own = module.get_parameter(name).detach()
    scheme = TorchDefault(fan_in=fan_in)
    bound = math.sqrt(3) * scheme.expected_std(Layout.of(module, name))
    assert own.abs().max().item() == pytest.approx(bound, rel=3e-3)
    assert scheme.sample(Layout.of(module, name), Key(0, name)).abs().max().item() == pytest.approx(bound, rel=3e-3)


@pytest.mark.parametrize("module", [nn.BatchNorm2d(8), nn.LayerNorm((3, 4)), nn.GroupNorm(2, 8)])
def test_the_default_of_norm_scales_is_ones(module: nn.Module) -> None:
    sampled = TorchDefault().sample(Layout.of(module, "weight"), Key(0, "weight"))
    assert torch.equal(sampled, module.get_parameter("weight"))


Fill = Callable[[Tensor, torch.Generator], Tensor]
FILLS: dict[str, tuple[Scheme, Fill]] = {
    "xavier_normal": (xavier_normal(2.0), lambda w, g: nn.init.xavier_normal_(w, 2.0, generator=g)),
    "xavier_uniform": (xavier_uniform(2.0), lambda w, g: nn.init.xavier_uniform_(w, 2.0, generator=g)),
    "he_normal": (he_normal(), lambda w, g: nn.init.kaiming_normal_(w, nonlinearity="relu", generator=g)),
    "he_normal_fan_out": (
        he_normal(mode="fan_out"),
        lambda w, g: nn.init.kaiming_normal_(w, mode="fan_out", nonlinearity="relu", generator=g),
    ),
    "he_uniform_leaky": (
        he_uniform(gain=gain(lambda z: nn.functional.leaky_relu(z, 0.3))),
        lambda w, g: nn.init.kaiming_uniform_(w, a=0.3, generator=g),
    ),
    "orthogonal": (Orthogonal(gain=1.5), lambda w, g: nn.init.orthogonal_(w, 1.5, generator=g)),
}


@pytest.mark.parametrize("build", [lambda: nn.Linear(400, 700), lambda: nn.Conv2d(64, 128, (3, 5))])
@pytest.mark.parametrize("case", FILLS)
def test_promises_equal_what_torch_nn_init_delivers(case: str, build: Callable[[], nn.Module]) -> None:
    scheme, fill = FILLS[case]
    module = build()
    weight = fill(module.weight.detach(), torch.Generator().manual_seed(0))
    assert weight.double().std().item() == pytest.approx(scheme.expected_std(Layout.of(module, "weight")), rel=0.01)


@pytest.mark.parametrize(
    ("shape", "groups"), [((6, 4, 3), 1), ((6, 4, 3, 5), 1), ((9, 2, 3, 3), 3), ((8, 2, 4, 2, 3), 4)]
)
def test_dirac_equals_torchs_bit_for_bit(shape: tuple[int, ...], groups: int) -> None:
    layout = Layout.conv(shape[0], shape[1] * groups, shape[2:], groups)
    assert torch.equal(Dirac().sample(layout, Key(0, "w")), nn.init.dirac_(torch.empty(shape), groups))


def test_identity_equals_torchs_eye_bit_for_bit() -> None:
    assert torch.equal(Identity().sample(Layout.linear(5, 8), Key(0, "w")), nn.init.eye_(torch.empty(5, 8)))
