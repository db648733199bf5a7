"""Two models in plain PyTorch, to read and plan: `exnihilo plan examples/models.py:llama --recipe depth-scaled`."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Bottleneck(nn.Module):
    def __init__(self, in_: int, width: int, stride: int):
        super().__init__()
        out = 4 * width
        self.conv1, self.bn1 = nn.Conv2d(in_, width, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = nn.Conv2d(width, out, 1, bias=False), nn.BatchNorm2d(out)
        self.shortcut = nn.Identity()
        if stride > 1 or in_ != out:
            self.shortcut = nn.Sequential(nn.Conv2d(in_, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn1(self.conv1(x)))
        h = F.relu(self.bn2(self.conv2(h)))
        return F.relu(self.shortcut(x) + self.bn3(self.conv3(h)))


class ResNet(nn.Module):
    def __init__(self, width: int = 16, classes: int = 10):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        widths = [(width, width, 1), (4 * width, width, 1), (4 * width, 2 * width, 2), (8 * width, 2 * width, 1)]
        self.blocks = nn.Sequential(*(Bottleneck(*sizes) for sizes in widths))
        self.fc = nn.Linear(8 * width, classes)

    def forward(self, images: Tensor) -> Tensor:
        h = self.blocks(F.relu(self.bn(self.conv(images))))
        return self.fc(h.mean((2, 3)))


class LlamaBlock(nn.Module):
    def __init__(self, width: int, heads: int, groups: int, inner: int):
        super().__init__()
        self.head, self.heads, self.groups = width // heads, heads, groups
        self.attn_norm, self.mlp_norm = nn.RMSNorm(width), nn.RMSNorm(width)
        self.q, self.o = (nn.Linear(width, width, bias=False) for _ in range(2))
        self.k, self.v = (nn.Linear(width, groups * self.head, bias=False) for _ in range(2))
        self.gate, self.up = (nn.Linear(width, inner, bias=False) for _ in range(2))
        self.down = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.attn_norm(x)
        q, k, v = (part.unflatten(-1, (-1, self.head)).transpose(1, 2) for part in (self.q(h), self.k(h), self.v(h)))
        k, v = (part.repeat_interleave(self.heads // self.groups, dim=1) for part in (k, v))
        seen = F.scaled_dot_product_attention(rotated(q), rotated(k), v, is_causal=True)
        x = x + self.o(seen.transpose(1, 2).flatten(2))
        h = self.mlp_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, width: int = 64, heads: int = 4, groups: int = 2, depth: int = 4, words: int = 256):
        super().__init__()
        self.embed = nn.Embedding(words, width)
        self.blocks = nn.ModuleList(LlamaBlock(width, heads, groups, 3 * width) for _ in range(depth))
        self.norm, self.head = nn.RMSNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


def rotated(x: Tensor) -> Tensor:
    """Rotary positions (Su et al., 2021): each pair of features turned by an angle that grows with its place."""
    half = x.shape[-1] // 2
    rates = 10_000.0 ** (-torch.arange(half, device=x.device) / half)
    angles = torch.arange(x.shape[-2], device=x.device)[:, None] * rates
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angles.cos() - b * angles.sin(), a * angles.sin() + b * angles.cos()], dim=-1)


def resnet() -> tuple[nn.Module, Tensor]:
    """A bottleneck ResNet, and a batch of images."""
    return ResNet(), torch.zeros(2, 3, 16, 16)


def llama() -> tuple[nn.Module, Tensor]:
    """A Llama, and a batch of word numbers."""
    return Llama(), torch.zeros(2, 12, dtype=torch.long)
