"""Small models that plans are made for."""

import torch
from torch import nn


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x):
        return x + self.down(torch.relu(self.up(self.norm(x))))


class Net(nn.Module):
    """Embedding tied to the head, two residual blocks, a buffer, a bias that is frozen."""

    def __init__(self, width=8):
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.blocks = nn.ModuleList([Block(width), Block(width)])
        self.norm, self.head = nn.BatchNorm1d(width), nn.Linear(width, 11, bias=False)
        self.head.weight = self.embed.weight
        self.blocks[1].up.bias.requires_grad_(False)

    def forward(self, tokens):
        x = self.embed(tokens).mean(1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))


TOKENS = torch.zeros(3, 4, dtype=torch.long)


def state(model):
    """Every parameter and buffer, as bits that can be compared."""
    return {name: value.detach().clone() for name, value in model.state_dict(keep_vars=True).items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


# What has no place in such a model: it has norms in front, a tied head, and no attention, kernel, sine,
# recurrence or frozen trunk.
REFUSING = {"zero-head", "fixup", "t-fixup", "deepnorm", "sub-ln", "admin", "adaln-zero", "delta-orthogonal"}
REFUSING |= {"siren", "recurrent", "prior-bias", "zero-conv", "zero-gate", "looks-linear", "mimetic"}
