"""Small transformers for laws by depth: without norms, with a second norm, with gated maps; names tell nothing."""

import torch
from torch import nn


class Attention(nn.Module):
    """Queries from one stream, keys and values from it or from another."""

    def __init__(self, width, norm=None):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width) for _ in range(3))
        self.o = nn.Linear(width, width)
        self.inner = norm(width) if norm else nn.Identity()

    def forward(self, x, memory=None):
        memory = x if memory is None else memory
        attended = nn.functional.scaled_dot_product_attention(self.q(x), self.k(memory), self.v(memory))
        return self.o(self.inner(attended))


class FeedForward(nn.Module):
    def __init__(self, width, norm=None):
        super().__init__()
        self.up, self.down = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)
        self.inner = norm(3 * width) if norm else nn.Identity()

    def forward(self, x):
        return self.down(self.inner(torch.relu(self.up(x))))


class Gated(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.gate, self.up, self.down = nn.Linear(width, 24), nn.Linear(width, 24), nn.Linear(24, width)

    def forward(self, x):
        return self.down(nn.functional.silu(self.gate(x)) * self.up(x))


class GatedPacked(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.both, self.down = nn.Linear(width, 48), nn.Linear(24, width)

    def forward(self, x):
        gate, up = self.both(x).chunk(2, dim=-1)
        return self.down(nn.functional.silu(gate) * up)


class Layer(nn.Module):
    """A layer of an encoder, or with ``cross`` of a decoder; ``norm`` first, ``inner`` before each last map."""

    def __init__(self, width, *, cross=False, norm=None, inner=None, feed_forward=None):
        super().__init__()
        self.attend = Attention(width, inner)
        self.cross = Attention(width, inner) if cross else None
        self.mlp = feed_forward(width) if feed_forward else FeedForward(width, inner)
        self.norms = nn.ModuleList(norm(width) if norm else nn.Identity() for _ in range(3))

    def forward(self, x, memory=None):
        x = x + self.attend(self.norms[0](x))
        if self.cross is not None:
            x = x + self.cross(self.norms[1](x), memory)
        return x + self.mlp(self.norms[2](x))


class Encoder(nn.Module):
    """Tokens, layers and a head."""

    def __init__(self, num_layers, width=8, final=None, **kind):
        super().__init__()
        self.table = nn.Embedding(20, width)
        self.layers = nn.ModuleList(Layer(width, **kind) for _ in range(num_layers))
        self.final = final(width) if final else nn.Identity()
        self.head = nn.Linear(width, 60)

    def forward(self, tokens):
        x = self.table(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.head(self.final(x))


class Both(nn.Module):
    """An encoder of ``n`` layers and a decoder of ``m``."""

    def __init__(self, n, m, width=8, **kind):
        super().__init__()
        self.source, self.target = nn.Embedding(20, width), nn.Embedding(30, width)
        self.reads = nn.ModuleList(Layer(width, **kind) for _ in range(n))
        self.writes = nn.ModuleList(Layer(width, cross=True, **kind) for _ in range(m))
        self.head = nn.Linear(width, 30)

    def forward(self, source, target):
        memory, x = self.source(source), self.target(target)
        for layer in self.reads:
            memory = layer(memory)
        for layer in self.writes:
            x = layer(x, memory)
        return self.head(x)


TOKENS = torch.zeros(2, 4, dtype=torch.long)
PAIR = (TOKENS, torch.zeros(2, 3, dtype=torch.long))
