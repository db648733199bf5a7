"""Measurements that a right scheme passes and a wrong one must not (see test_power.py).

A standard deviation is measured over ``n`` entries or more, pooled over keys, in a window of ±1 %. Its relative error
is ``sqrt((kurtosis - 1) / 4n)``: at n = 2^18 the window is 11 sigma for uniform entries and 7.2 for normal ones; a std
that is 2 % wrong is as many sigma outside.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from exnihilo.fills import Key
from exnihilo.layouts import Layout
from exnihilo.schemes import Scheme

N = 2**18

LAYOUTS: dict[str, Layout] = {
    "linear_tall": Layout.linear(192, 64),
    "linear_wide": Layout.linear(48, 128),
    "linear_square": Layout.linear(96, 96),
    "conv1d": Layout.conv(64, 24, (5,)),
    "conv2d": Layout.conv(32, 24, (3, 3)),
    "conv2d_even": Layout.conv(32, 16, (2, 4)),
    "conv3d": Layout.conv(24, 16, (3, 1, 3)),
    "conv2d_grouped": Layout.conv(64, 32, (3, 3), groups=4),
    "conv2d_depthwise": Layout.conv(512, 256, (3, 3), groups=256),
    "conv_transpose2d": Layout.conv_transpose(24, 48, (3, 3)),
    "conv_transpose2d_grouped": Layout.conv_transpose(32, 64, (3, 3), groups=4),
    "embedding": Layout.embedding(300, 40),
    "packed": Layout.packed(48, 48),
    "packed_tall": Layout.packed(64, 32, stacked=2),
    "recurrent": Layout.recurrent(40, 56, 4),
    "bilinear": Layout.bilinear(24, 12, 20),
    "vector": Layout.vector(4096),
}


def draws(scheme: Scheme, layout: Layout, n: int = N) -> Tensor:
    """Values of as many keys as it takes for n entries, in float64: shape (keys, *layout.shape)."""
    keys = range(-(-n // layout.numel))
    return torch.stack([scheme.sample(layout, Key(seed, "draws")) for seed in keys]).double()


def measured_std(scheme: Scheme, layout: Layout, n: int = N) -> float:
    return draws(scheme, layout, n).std(correction=0).item()


def keeps_promise(scheme: Scheme, layout: Layout, n: int = N) -> bool:
    """Whether the measured standard deviation is within 1 % of the promised one; exactly, where that is zero."""
    promised, measured = scheme.expected_std(layout), measured_std(scheme, layout, n)
    return measured == 0.0 if promised == 0.0 else math.isclose(measured, promised, rel_tol=0.01)


def kolmogorov_distance(values: Tensor, cdf: Callable[..., object]) -> float:
    """Largest gap between the values' distribution and a law's, at every 64th value: scipy's laws take long."""
    ordered = values.flatten().double().sort().values
    share = (torch.arange(len(ordered), dtype=torch.float64) + 0.5) / len(ordered)
    return (share[::64] - torch.as_tensor(cdf(ordered[::64].numpy()))).abs().max().item()


# Of 2^20 values: a right law is above this once in a million keys; a law whose std is 2 % wrong is at 0.0048 or more.
N_LAW = 2**20
DISTANCE = 0.00263


def loaded(module: nn.Module, scheme: Scheme, seed: int = 0) -> nn.Module:
    """The module with its weight drawn from the scheme, and a zero bias."""
    with torch.no_grad():
        module.weight.copy_(scheme.sample(Layout.of(module, "weight"), Key(seed, "weight")))
        if module.bias is not None:
            module.bias.zero_()
    return module


def mean_square_gain(scheme: Scheme, build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[float, float]:
    """Mean square out per mean square in, of white noise through the real module: forward, and backward for gradients.

    The module must have no borders: dense, or a convolution of stride 1 with circular padding.
    """
    forward, backward = [], []
    generator = torch.Generator().manual_seed(0)
    for seed in range(24):
        module = loaded(build(), scheme, seed)
        x = torch.randn(64, *shape, generator=generator, requires_grad=True)
        y = module(x)
        (gradient,) = torch.autograd.grad(y, x, torch.randn(y.shape, generator=generator))
        forward.append(y.detach().square().mean())
        backward.append(gradient.square().mean())
    return torch.stack(forward).mean().item(), torch.stack(backward).mean().item()


def keeps_singular_values(scheme: Scheme, layout: Layout, gain: float) -> bool:
    """Whether every logical matrix, flattened, has singular values that all equal the gain."""
    matrices = layout.matrices(scheme.sample(layout, Key(0, "weight"))).flatten(2).double()
    return torch.allclose(torch.linalg.svdvals(matrices), torch.tensor(gain, dtype=torch.float64), rtol=2e-6)


def is_haar(scheme: Scheme) -> bool:
    """Moments of 2,500 orthogonal 4 x 4 matrices: E q = 0, E q² = 1/4, E q⁴ = 3/24 and E tr(Q) = 0, E tr(Q)² = 1.

    Each entry's mean within 5.5 sigma of its 2,500 values; the trace of a Haar matrix has variance 1.
    """
    keys, width = 2500, 4
    q = draws(scheme, Layout.linear(width, width), keys * width**2)
    trace = q.diagonal(dim1=1, dim2=2).sum(dim=1)
    within = 5.5 / math.sqrt(keys)
    return (
        bool((q.mean(dim=0).abs() < within * 0.5).all())
        and bool(((q**2).mean(dim=0) - 0.25).abs().max() < within * math.sqrt(0.125 - 0.0625))
        and abs((q**4).mean().item() - 0.125) < 0.006
        and abs(trace.mean().item()) < within
        and abs(trace.square().mean().item() - 1.0) < within * math.sqrt(2.0)
    )


def zeros_of_each_unit(scheme: Scheme, layout: Layout) -> list[int]:
    """The distinct numbers of zero weights that the layout's output units have."""
    weights = layout.matrices(scheme.sample(layout, Key(0, "weight"))).flatten(2)
    return sorted(set((weights == 0).sum(dim=2).flatten().tolist()))


def hands_on(scheme: Scheme, build: Callable[[], nn.Module], shape: tuple[int, ...], gain: float = 1.0) -> bool:
    """Whether the real module returns its input times the gain, where channels match, and zeros elsewhere."""
    module = loaded(build(), scheme)
    x = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    y = module(x).detach()
    groups = getattr(module, "groups", 1)
    channels = min(x.shape[1], y.shape[1]) // groups
    inputs, outputs = x.unflatten(1, (groups, -1)), y.unflatten(1, (groups, -1))
    same = torch.allclose(outputs[:, :, :channels], gain * inputs[:, :, :channels], rtol=1e-6)
    return same and not outputs[:, :, channels:].any()
