"""Transformers: positions, biases of scores, and other sums that are no residual."""

import math

import torch
import torch.nn.functional as F
from specimen import floats, keywords, residual, specimen, tokens
from torch import Tensor, nn
from zoo_attention import HEADS, Attend, D, Mlp, T, X, heads, merge


@specimen(
    "token and learned position embedding",
    tokens(2, T),
    residual("attn.o.weight", norm="pre"),
    roles={"wte.weight": "EMBEDDING", "wpe.weight": "POSITION", "head.weight": "HEAD", "attn.q.weight": "QUERY"},
    fans={"wte.weight": (1, D)},
)
class TokensAndPositions(nn.Module):
    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(11, D), nn.Embedding(16, D)
        self.norm, self.attn, self.head = nn.LayerNorm(D), Attend(), nn.Linear(D, 11, bias=False)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1], device=ids.device))
        return self.head(x + self.attn(self.norm(x)))


@specimen(
    "position embedding looked up by an input",
    keywords(ids=tokens(2, T), places=lambda: torch.arange(T).expand(2, T)),
    roles={"word.weight": "EMBEDDING"},
)
class PlacesGiven(nn.Module):
    def __init__(self):
        super().__init__()
        self.word, self.place, self.head = nn.Embedding(11, D), nn.Embedding(16, D), nn.Linear(D, 3)

    def forward(self, ids: Tensor, places: Tensor) -> Tensor:
        return self.head(torch.relu(self.word(ids) + self.place(places)))


@specimen(
    "sum of two embeddings of one input",
    tokens(2, T),
    roles={"a.weight": "EMBEDDING", "b.weight": "EMBEDDING"},
)
class TwoEmbeddings(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Embedding(11, D), nn.Embedding(11, D), nn.Linear(D, 3)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(torch.tanh(self.a(ids) + self.b(ids)))


class BiasedBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.q, self.k = nn.RMSNorm(D), nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)
        self.v, self.o = nn.Linear(D, D, bias=False), nn.Linear(D, D, bias=False)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = heads(self.q(h)), heads(self.k(h)), heads(self.v(h))
        scores = q @ k.transpose(-1, -2)
        scores += bias
        return x + self.o(merge(torch.softmax(scores.float(), dim=-1) @ v))


@specimen(
    "relative position bias shared by all layers, with a mask given as input",
    keywords(ids=tokens(2, T), mask=lambda: torch.ones(2, T)),
    residual("blocks.0.o.weight", norm="pre"),
    residual("blocks.1.o.weight", norm="pre"),
    roles={"table.weight": "POSITION", "shared.weight": "EMBEDDING", "blocks.1.q.weight": "QUERY"},
)
class SharedBias(nn.Module):
    def __init__(self):
        super().__init__()
        self.shared, self.table = nn.Embedding(11, D), nn.Embedding(2 * T, HEADS)
        self.blocks = nn.ModuleList(BiasedBlock() for _ in range(2))

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        place = torch.arange(ids.shape[1], device=ids.device)
        bias = self.table(place[None] - place[:, None] + T).permute(2, 0, 1)[None]
        bias = bias + (1.0 - mask[:, None, None, :]) * -1e4
        x = self.shared(ids)
        for block in self.blocks:
            x = block(x, bias)
        return x


@specimen(
    "scores that are sums: content to content, to position, and back",
    X,
    residual("attn.o.weight", norm="post"),
    roles={"rel.weight": "POSITION"},
)
class Disentangled(nn.Module):
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))

        def forward(self, x: Tensor, rel: Tensor) -> Tensor:
            q, k, v = heads(self.q(x)), heads(self.k(x)), heads(self.v(x))
            kr, qr = heads(self.k(rel)[None]), heads(self.q(rel)[None])
            scores = q @ k.transpose(-1, -2)
            index = torch.arange(T, device=x.device)
            delta = (index[:, None] - index + T).expand(x.shape[0], HEADS, T, T)
            to_place = torch.gather(q @ kr.transpose(-1, -2), -1, delta)
            from_place = torch.gather(k @ qr.transpose(-1, -2), -1, delta).transpose(-1, -2)
            scores = scores + (to_place + from_place) / math.sqrt(3 * D)
            return self.o(merge(torch.softmax(scores, dim=-1) @ v))

    def __init__(self):
        super().__init__()
        self.rel, self.attn, self.norm = nn.Embedding(2 * T, D), self.Attention(), nn.LayerNorm(D)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.attn(x, self.rel.weight))


@specimen(
    "rotary positions, with query and key norms",
    X,
    residual("o.weight", norm="pre"),
    roles={"q.weight": "QUERY", "k.weight": "KEY", "v.weight": "VALUE", "qn.weight": "NORM_SCALE"},
)
class Rotary(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qn, self.kn = nn.RMSNorm(D), nn.RMSNorm(4), nn.RMSNorm(4)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))

    def rotate(self, x: Tensor) -> Tensor:
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * torch.tensor([1.0, 0.1], device=x.device)
        angle = torch.cat([angle, angle], dim=-1)
        first, second = x.chunk(2, dim=-1)
        return x * angle.cos() + torch.cat([-second, first], dim=-1) * angle.sin()

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = heads(self.q(h)), heads(self.k(h)), heads(self.v(h))
        q, k = self.rotate(self.qn(q)), self.rotate(self.kn(k))
        return x + self.o(merge(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


@specimen(
    "image transformer: class token concatenated, positions learned",
    floats(2, 3, 8, 8),
    residual("attn.o.weight", norm="pre"),
    residual("mlp.down.weight", norm="pre"),
    roles={"cls": "EMBEDDING", "pos": "POSITION", "patch.weight": "STEM", "head.weight": "HEAD"},
)
class ClassToken(nn.Module):
    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, D, 4, stride=4)
        self.cls, self.pos = nn.Parameter(torch.zeros(1, 1, D)), nn.Parameter(torch.randn(1, 5, D))
        self.n1, self.attn, self.n2, self.mlp = nn.LayerNorm(D), Attend(), nn.LayerNorm(D), Mlp()
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(x.shape[0], -1, -1), x], dim=1) + self.pos
        x = x + self.attn(self.n1(x))
        x = x + self.mlp(self.n2(x))
        return self.head(self.norm(x)[:, 0])


@specimen(
    "convolutional position encoding",
    X,
    residual("place.weight", norm="none", ends_in="gelu"),
    residual("attn.o.weight", norm="pre"),
)
class ConvolutionalPosition(nn.Module):
    def __init__(self):
        super().__init__()
        self.place, self.norm, self.attn = nn.Conv1d(D, D, 3, padding=1, groups=D), nn.LayerNorm(D), Attend()

    def forward(self, x: Tensor) -> Tensor:
        x = x + F.gelu(self.place(x.transpose(1, 2)).transpose(1, 2))
        return x + self.attn(self.norm(x))


@specimen(
    "Fourier mixing: the first branch has no parameter",
    X,
    residual("mlp.down.weight", norm="post"),
)
class Fourier(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.mlp, self.n2 = nn.LayerNorm(D), Mlp(), nn.LayerNorm(D)

    def forward(self, x: Tensor) -> Tensor:
        x = self.n1(x + torch.fft.fft2(x.to(torch.complex64)).real)
        return self.n2(x + self.mlp(x))


@specimen(
    "hand-written tanh GELU inside a branch",
    X,
    residual("down.weight", norm="pre"),
    fans={"up.weight": (D, 16)},
)
class HandWrittenGelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(D), nn.Linear(D, 16), nn.Linear(16, D)

    def forward(self, x: Tensor) -> Tensor:
        h = self.up(self.norm(x))
        h = 0.5 * h * (1.0 + torch.tanh(math.sqrt(2.0 / math.pi) * (h + 0.044715 * torch.pow(h, 3.0))))
        return x + self.down(h)


@specimen(
    "packed SwiGLU",
    X,
    residual("down.weight", norm="pre"),
    slices={"gate_up.weight": {"GATE": ((0, 16),), "UP": ((16, 32),)}},
    fans={"gate_up.weight": (D, 16)},
)
class PackedSwiGLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gate_up, self.down = nn.RMSNorm(D), nn.Linear(D, 32, bias=False), nn.Linear(16, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(self.norm(x)).chunk(2, dim=-1)
        return x + self.down(F.silu(gate) * up)


@specimen(
    "SwiGLU of separate maps",
    X,
    residual("down.weight", norm="pre"),
    roles={"gate.weight": "GATE", "up.weight": "UP", "down.weight": "RESIDUAL_OUT"},
    activations={"gate.weight": "silu"},
)
class SwiGLU(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.down = nn.RMSNorm(D), nn.Linear(16, D, bias=False)
        self.up, self.gate = nn.Linear(D, 16, bias=False), nn.Linear(D, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


@specimen(
    "gate at the end of a branch: only the factor without an activation can be zero",
    X,
    residual("up.weight", norm="pre", biases="up.bias"),
)
class GatedEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.gate, self.up = nn.LayerNorm(D), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + torch.sigmoid(self.gate(h)) * self.up(h)
