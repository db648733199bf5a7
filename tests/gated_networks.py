"""Residual networks that have no gates of their own, with what they learn."""

import torch
from torch import nn

CRITERION = nn.CrossEntropyLoss()


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.first, self.last = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.last(torch.relu(self.first(x)))


class Residual(nn.Module):
    def __init__(self, blocks=6, width=16):
        super().__init__()
        self.stem, self.head = nn.Linear(8, width), nn.Linear(width, 4)
        self.blocks = nn.Sequential(*[Block(width) for _ in range(blocks)])

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)))


class Images(nn.Module):
    """Residual convolutions without norms; the maps on branches have no bias, as in Fixup's networks."""

    def __init__(self, blocks=4, *, bias=False, padding=1):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, padding=1), nn.Linear(8, 4)
        maps = {"padding": padding, "bias": bias}
        self.first = nn.ModuleList(nn.Conv2d(8, 8, 2 * padding + 1, **maps) for _ in range(blocks))
        self.last = nn.ModuleList(nn.Conv2d(8, 8, 2 * padding + 1, **maps) for _ in range(blocks))

    def forward(self, x):
        x = torch.relu(self.stem(x))
        for first, last in zip(self.first, self.last, strict=True):
            x = x + last(torch.relu(first(x)))
        return self.head(x.mean((2, 3)))


def vectors():
    torch.manual_seed(1)
    return torch.randn(16, 8), torch.arange(16) % 4


def pictures():
    torch.manual_seed(1)
    return torch.randn(16, 3, 6, 6), torch.arange(16) % 4
