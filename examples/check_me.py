"""Three models to check: `exnihilo check examples/check_me.py:two_zeros` (or constant_layer, or zero_gamma)."""

import torch
from torch import Tensor, nn


class Adapted(nn.Module):
    """A frozen map with a low-rank path beside it, both of whose factors are zero."""

    def __init__(self):
        super().__init__()
        self.base = nn.Linear(16, 16).requires_grad_(False)
        self.down = nn.Linear(16, 4, bias=False)
        self.up = nn.Linear(4, 16, bias=False)
        self.head = nn.Linear(16, 3)
        nn.init.zeros_(self.down.weight)
        nn.init.zeros_(self.up.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.base(x) + self.up(self.down(x))))


class Block(nn.Module):
    """A residual block whose last norm starts at zero."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.norm2(self.conv2(torch.relu(self.norm1(self.conv1(x))))))


def vectors():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 16, generator=generator)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0).long()


def two_zeros():
    return Adapted(), vectors(), nn.CrossEntropyLoss()


def constant_layer():
    model = nn.Sequential(nn.Linear(16, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 3))
    for layer in (model[0], model[2]):
        nn.init.constant_(layer.weight, 0.1)
        nn.init.zeros_(layer.bias)
    return model, vectors(), nn.CrossEntropyLoss()


def zero_gamma():
    images = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
    model = nn.Sequential(stem, Block(16), Block(16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 3))
    return model, (images, torch.arange(16) % 3), nn.CrossEntropyLoss()
