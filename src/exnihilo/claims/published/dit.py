"""A small diffusion transformer: tokens, conditioned by a time and a label through adaptive layer norms.

Shape legend: B samples, T tokens, C channels of a token, W width.
"""

from itertools import pairwise

import torch.nn.functional as F
from torch import Tensor, nn

TOKENS, CHANNELS, LABELS = 4, 3, 4
WIDTH, HEADS = 8, 2
# Where the gates of attention and MLP lie among the six parts that a block's modulation makes.
GATES = (2, 5)


class DiT(nn.Module):
    """As Peebles and Xie's, in small: ``depth`` blocks, each scaled, shifted and gated by what the condition makes."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(CHANNELS, WIDTH), nn.Embedding(TOKENS, WIDTH)
        self.time, self.label = _two_maps(1, WIDTH, WIDTH), nn.Embedding(LABELS, WIDTH)
        self.blocks = nn.ModuleList(_Block() for _ in range(depth))
        self.norm = _plain_norm()
        self.modulation = nn.Linear(WIDTH, 2 * WIDTH)
        self.head = nn.Linear(WIDTH, CHANNELS)

    def forward(self, x_BTC: Tensor, time_B1: Tensor, label_B: Tensor) -> Tensor:
        """What is predicted of each token, [B, T, C]."""
        x = self.embed(x_BTC) + self.position.weight
        condition = F.silu(self.time(time_B1) + self.label(label_B)).unsqueeze(1)
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition).chunk(2, -1)
        return self.head(_modulated(self.norm(x), shift, scale))


class _Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.modulation = nn.Linear(WIDTH, 6 * WIDTH)
        self.norm1, self.norm2 = _plain_norm(), _plain_norm()
        self.query, self.key, self.value, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.mlp = _two_maps(WIDTH, 4 * WIDTH, WIDTH)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """The stream behind the block."""
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition).chunk(6, -1)
        x = x + gate1 * self._attend(_modulated(self.norm1(x), shift1, scale1))
        return x + gate2 * self.mlp(_modulated(self.norm2(x), shift2, scale2))

    def _attend(self, x_BTW: Tensor) -> Tensor:
        maps = (self.query, self.key, self.value)
        parts = (linear(x_BTW).unflatten(2, (HEADS, -1)).transpose(1, 2) for linear in maps)
        return self.out(F.scaled_dot_product_attention(*parts).transpose(1, 2).flatten(2))


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


def _plain_norm() -> nn.LayerNorm:
    return nn.LayerNorm(WIDTH, elementwise_affine=False)


def _two_maps(*sizes: int) -> nn.Sequential:
    inner, outer = (nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes))
    return nn.Sequential(inner, nn.SiLU(), outer)
