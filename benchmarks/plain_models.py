"""A U-Net and a transformer as they are used for diffusion, in plain PyTorch."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def time_features(time: Tensor, dim: int) -> Tensor:
    """Sines and cosines of the time step."""
    rates = torch.exp(torch.arange(dim // 2, device=time.device) * (-math.log(10_000.0) / (dim // 2)))
    angles = time[:, None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


class ResBlock(nn.Module):
    """Two convolutions with the time added between them, and a projected shortcut where the width changes."""

    def __init__(self, in_: int, out: int, time: int):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(4, in_), nn.Conv2d(in_, out, 3, padding=1)
        self.time = nn.Linear(time, out)
        self.norm2, self.conv2 = nn.GroupNorm(4, out), nn.Conv2d(out, out, 3, padding=1)
        self.shortcut = nn.Identity() if in_ == out else nn.Conv2d(in_, out, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = h + self.time(F.silu(time))[:, :, None, None]
        h = self.conv2(F.dropout(F.silu(self.norm2(h)), 0.1, self.training))
        return self.shortcut(x) + h


class SpatialAttention(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.norm, self.qkv, self.proj = (
            nn.GroupNorm(4, width),
            nn.Conv1d(width, 3 * width, 1),
            nn.Conv1d(width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, width, *space = x.shape
        flat = x.reshape(batch, width, -1)
        q, k, v = self.qkv(self.norm(flat)).chunk(3, dim=1)
        weights = torch.softmax(torch.einsum("bct,bcs->bts", q, k) / math.sqrt(width), dim=-1)
        return (flat + self.proj(torch.einsum("bts,bcs->bct", weights, v))).reshape(batch, width, *space)


class DiffusionUNet(nn.Module):
    def __init__(self, width: int = 16):
        super().__init__()
        self.width, time = width, 4 * width
        self.time = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        self.first = nn.Conv2d(4, width, 3, padding=1)
        self.down1, self.pool = ResBlock(width, width, time), nn.Conv2d(width, width, 3, stride=2, padding=1)
        self.down2, self.attend = ResBlock(width, 2 * width, time), SpatialAttention(2 * width)
        self.mid1, self.mid2 = ResBlock(2 * width, 2 * width, time), ResBlock(2 * width, 2 * width, time)
        self.mid_attend = SpatialAttention(2 * width)
        self.up2, self.grow = ResBlock(4 * width, 2 * width, time), nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.up1 = ResBlock(3 * width, width, time)
        self.norm, self.last = nn.GroupNorm(4, width), nn.Conv2d(width, 4, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        time = self.time(time_features(time, self.width))
        fine = self.down1(self.first(x), time)
        coarse = self.attend(self.down2(self.pool(fine), time))
        middle = self.mid2(self.mid_attend(self.mid1(coarse, time)), time)
        up = self.grow(F.interpolate(self.up2(torch.cat([middle, coarse], 1), time), scale_factor=2.0))
        up = self.up1(torch.cat([up, fine], 1), time)
        return self.last(F.silu(self.norm(up)))


class DiTBlock(nn.Module):
    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(width, elementwise_affine=False, eps=1e-6) for _ in range(2))
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.modulate = nn.Sequential(nn.SiLU(), nn.Linear(width, 6 * width))

    def attend(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulate(condition)[:, None].chunk(6, dim=-1)
        x = x + gate1 * self.attend(self.norm1(x) * (1 + scale1) + shift1)
        h = self.norm2(x) * (1 + scale2) + shift2
        return x + gate2 * self.fc2(F.gelu(self.fc1(h), approximate="tanh"))


class DiffusionTransformer(nn.Module):
    def __init__(self, width: int = 32, depth: int = 3, patch: int = 2):
        super().__init__()
        self.patch, self.width = patch, width
        self.embed = nn.Conv2d(4, width, patch, stride=patch)
        self.place = nn.Parameter(torch.zeros(1, 64, width), requires_grad=False)
        self.time = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.ModuleList(DiTBlock(width, 4) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.modulate, self.last = nn.Sequential(nn.SiLU(), nn.Linear(width, 2 * width)), nn.Linear(width, 4 * patch**2)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.embed(x).flatten(2).transpose(1, 2) + self.place
        condition = self.time(time_features(time, self.width))
        for block in self.blocks:
            h = block(h, condition)
        shift, scale = self.modulate(condition)[:, None].chunk(2, dim=-1)
        h = self.last(self.norm(h) * (1 + scale) + shift)
        side = x.shape[-1] // self.patch
        return (
            h.unflatten(1, (side, side))
            .unflatten(-1, (self.patch, self.patch, 4))
            .permute(0, 5, 1, 3, 2, 4)
            .flatten(4)
            .flatten(2, 3)
        )


def diffusion_unet() -> nn.Module:
    return DiffusionUNet()


def diffusion_transformer() -> nn.Module:
    return DiffusionTransformer()
