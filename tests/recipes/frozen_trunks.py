"""Trained copies and adapters beside a frozen trunk, as they are published, in small; and their twins at fault."""

import copy

import torch
from torch import nn


def freeze(module):
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module


class Stage(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.one, self.two = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x):
        return torch.tanh(self.two(torch.tanh(self.one(x))))


class Trunk(nn.Module):
    """A stem, two stages down and one up that takes what the first made, as a U-Net."""

    def __init__(self, width=4):
        super().__init__()
        self.stem, self.up, self.out = nn.Conv2d(3, width, 1), Stage(width), nn.Conv2d(width, 3, 1)
        self.down = nn.ModuleList(Stage(width) for _ in range(2))

    def forward(self, x, added=(0.0, 0.0)):
        h = self.stem(x)
        fine = self.down[0](h)
        coarse = self.down[1](fine)
        return self.out(self.up(coarse + added[1]) + (fine + added[0]))


class Controlled(nn.Module):
    """A ControlNet: a trained copy of the way down, fed by a hint, joined by 1x1 maps."""

    def __init__(self, width=4, frozen=True):
        super().__init__()
        self.trunk = Trunk(width)
        self.copied = copy.deepcopy(self.trunk.down)
        if frozen:
            freeze(self.trunk)
        self.hint, self.enter = nn.Conv2d(2, width, 3, padding=1), nn.Conv2d(width, width, 1)
        self.leave = nn.ModuleList(nn.Conv2d(width, width, 1) for _ in range(2))

    def forward(self, x, hint):
        k = self.copied[0](self.trunk.stem(x) + self.enter(torch.tanh(self.hint(hint))))
        added = [self.leave[0](k), self.leave[1](self.copied[1](k))]
        return self.trunk(x, added)


class InARow(nn.Module):
    """A zero map behind a zero map, with nothing else that feeds the second."""

    def __init__(self, width=4):
        super().__init__()
        self.trunk = freeze(nn.Linear(width, width))
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return self.trunk(x) + self.second(torch.tanh(self.first(x)))


class Prompted(nn.Module):
    """LLaMA-Adapter: learned prompts that frozen queries attend to, gated by a scale."""

    def __init__(self, width=8, gate="tanh", place="output"):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(width, width) for _ in range(4))
        self.mlp = nn.Sequential(nn.Linear(width, 16), nn.ReLU(), nn.Linear(16, width))
        freeze(self)
        self.prompt, self.gate = nn.Parameter(torch.randn(1, 5, width)), nn.Parameter(torch.ones(1))
        self.place, self.bend = place, {"tanh": torch.tanh, "plain": nn.Identity(), "sigmoid": torch.sigmoid}[gate]

    def forward(self, x):
        q, gate = self.q(x), self.bend(self.gate)
        attended = torch.softmax(q @ self.k(x).mT, -1) @ self.v(x)
        scores, values = torch.softmax(q @ self.k(self.prompt).mT, -1), self.v(self.prompt)
        added = (scores * gate) @ values if self.place == "scores" else gate * (scores @ values)
        x = x + self.o(attended + added)
        return x + self.mlp(x)

    def bare(self, x):
        """The trunk alone."""
        x = x + self.o(torch.softmax(self.q(x) @ self.k(x).mT, -1) @ self.v(x))
        return x + self.mlp(x)
