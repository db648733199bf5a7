"""Transformers: where the norm stands, how query, key and value are packed, and what is added to scores."""

import torch
import torch.nn.functional as F
from specimen import floats, residual, several, specimen
from torch import Tensor, nn

D, HEADS, T = 8, 2, 5
X = floats(2, T, D)


def heads(x: Tensor, num: int = HEADS) -> Tensor:
    return x.unflatten(-1, (num, -1)).transpose(1, 2)


def merge(x: Tensor) -> Tensor:
    return x.transpose(1, 2).flatten(2)


class Attend(nn.Module):
    """Four separate maps."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.o = (nn.Linear(D, D) for _ in range(4))

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory
        return self.o(
            merge(F.scaled_dot_product_attention(heads(self.q(x)), heads(self.k(memory)), heads(self.v(memory))))
        )


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, 4 * D), nn.Linear(4 * D, D)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Parts(nn.Module):
    """The parts that the blocks below put together in their own way."""

    def __init__(self):
        super().__init__()
        self.n1, self.n2, self.n3, self.n4 = (nn.LayerNorm(D) for _ in range(4))
        self.attn, self.mlp = Attend(), Mlp()


FOUR = {"attn.q.weight": "QUERY", "attn.k.weight": "KEY", "attn.v.weight": "VALUE"}


@specimen(
    "pre-norm block",
    X,
    residual("attn.o.weight", norm="pre", biases="attn.o.bias", ends_in=None, drop_path=False),
    residual("mlp.down.weight", norm="pre", biases="mlp.down.bias", maps="mlp.down.weight"),
    roles=FOUR | {"attn.o.weight": "RESIDUAL_OUT", "n1.weight": "NORM_SCALE", "n1.bias": "NORM_SHIFT"},
    activations={"mlp.up.weight": "gelu", "mlp.down.weight": "linear"},
    follows={"mlp.up.bias": "mlp.up.weight", "n1.bias": "n1.weight"},
    unused="n3.weight n3.bias n4.weight n4.bias",
)
class PreNorm(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.n1(x))
        return x + self.mlp(self.n2(x))


@specimen(
    "post-norm block",
    X,
    residual("attn.o.weight", norm="post"),
    residual("mlp.down.weight", norm="post"),
    roles=FOUR,
    unused="n3.weight n3.bias n4.weight n4.bias",
)
class PostNorm(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = self.n1(x + self.attn(x))
        return self.n2(x + self.mlp(x))


@specimen(
    "sandwich-norm block",
    X,
    residual("n2.weight", norm="sandwich", biases="n2.bias", maps="attn.o.weight"),
    residual("n4.weight", norm="sandwich", biases="n4.bias", maps="mlp.down.weight"),
    roles=FOUR | {"attn.o.weight": "RESIDUAL_OUT", "n2.weight": "NORM_SCALE"},
)
class Sandwich(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = x + self.n2(self.attn(self.n1(x)))
        return x + self.n4(self.mlp(self.n3(x)))


@specimen(
    "norm last on the branch",
    X,
    residual("n1.weight", norm="inner", maps="attn.o.weight"),
    residual("n2.weight", norm="inner", maps="mlp.down.weight"),
    unused="n3.weight n3.bias n4.weight n4.bias",
)
class ResPostNorm(Parts):
    def forward(self, x: Tensor) -> Tensor:
        x = x + self.n1(self.attn(x))
        return x + self.n2(self.mlp(x))


@specimen(
    "parallel attention and MLP, summed before the shortcut",
    X,
    residual("attn.o.weight mlp.down.weight", norm="pre", biases="attn.o.bias mlp.down.bias"),
    roles=FOUR,
    unused="n2.weight n2.bias n3.weight n3.bias n4.weight n4.bias",
)
class ParallelInner(Parts):
    def forward(self, x: Tensor) -> Tensor:
        h = self.n1(x)
        return (self.attn(h) + self.mlp(h)) + x


@specimen(
    "parallel attention and MLP, added to the shortcut one after the other",
    X,
    residual("attn.o.weight mlp.down.weight", norm="pre"),
    otherwise=((residual("attn.o.weight", norm="pre"), residual("mlp.down.weight", norm="pre")),),
    roles=FOUR,
    unused="n2.weight n2.bias n3.weight n3.bias n4.weight n4.bias",
)
class ParallelOuter(Parts):
    def forward(self, x: Tensor) -> Tensor:
        h = self.n1(x)
        return (x + self.attn(h)) + self.mlp(h)


@specimen(
    "parallel attention and MLP behind two norms of one input",
    X,
    residual("attn.o.weight mlp.down.weight", norm="pre"),
    unused="n3.weight n3.bias n4.weight n4.bias",
)
class ParallelTwoNorms(Parts):
    def forward(self, x: Tensor) -> Tensor:
        return x + (self.attn(self.n1(x)) + self.mlp(self.n2(x)))


@specimen(
    "packed query, key and value, interleaved by head",
    X,
    residual("out.weight", norm="pre"),
    slices={"qkv.weight": {"QUERY": ((0, 4), (12, 16)), "KEY": ((4, 8), (16, 20)), "VALUE": ((8, 12), (20, 24))}},
    fans={"qkv.weight": (D, None)},
)
class Interleaved(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.out = nn.LayerNorm(D), nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = heads(self.qkv(self.norm(x))).chunk(3, dim=-1)
        scores = torch.softmax(q @ k.transpose(-1, -2) / 2.0, dim=-1)
        return x + self.out(merge(scores @ v))


class Conv1D(nn.Module):
    """GPT-2's linear map: the weight stores the input dim first."""

    def __init__(self, out: int, in_: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(in_, out) / 3), nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.view(-1, x.size(-1)), self.weight).view(*x.shape[:-1], -1)


@specimen(
    "GPT-2's transposed weights, packed along dim 1",
    X,
    residual("c_proj.weight", norm="pre", biases="c_proj.bias"),
    slices={"c_attn.weight": {"QUERY": ((0, D),), "KEY": ((D, 2 * D),), "VALUE": ((2 * D, 3 * D),)}},
    fans={"c_attn.weight": (D, D), "c_proj.weight": (D, D)},
    follows={"c_attn.bias": "c_attn.weight"},
)
class Transposed(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln, self.c_attn, self.c_proj = nn.LayerNorm(D), Conv1D(3 * D, D), Conv1D(D, D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (heads(part) for part in self.c_attn(self.ln(x)).split(D, dim=2))
        return x + self.c_proj(merge(F.scaled_dot_product_attention(q, k, v, is_causal=True)))


@specimen(
    "transposed weight that is not square",
    X,
    residual("down.weight"),
    fans={"up.weight": (D, 3 * D), "down.weight": (3 * D, D)},
    activations={"up.weight": "tanh"},
)
class TransposedMlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = Conv1D(3 * D, D), Conv1D(D, 3 * D)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(x)))


@specimen(
    "nn.MultiheadAttention",
    X,
    residual("attn.out_proj.weight", norm="pre"),
    slices={"attn.in_proj_weight": {"QUERY": ((0, D),), "KEY": ((D, 2 * D),), "VALUE": ((2 * D, 3 * D),)}},
    fans={"attn.in_proj_weight": (D, D)},
)
class Module(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.attn = nn.LayerNorm(D), nn.MultiheadAttention(D, HEADS, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        return x + self.attn(h, h, h)[0]


@specimen(
    "nn.TransformerEncoderLayer and DecoderLayer, post-norm",
    several(X, floats(2, T, D, seed=1)),
    residual("enc.self_attn.out_proj.weight", norm="post"),
    residual("enc.linear2.weight", norm="post"),
    residual("dec.self_attn.out_proj.weight", norm="post"),
    residual("dec.multihead_attn.out_proj.weight", norm="post"),
    residual("dec.linear2.weight", norm="post"),
    activations={"enc.linear1.weight": "relu"},
    training=True,
)
class Library(nn.Module):
    def __init__(self):
        super().__init__()
        self.enc = nn.TransformerEncoderLayer(D, HEADS, 16, batch_first=True)
        self.dec = nn.TransformerDecoderLayer(D, HEADS, 16, batch_first=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.dec(target, self.enc(source))


@specimen(
    "grouped-query attention, packed unequally",
    X,
    residual("o.weight", norm="pre"),
    slices={"qkv.weight": {"QUERY": ((0, 8),), "KEY": ((8, 10),), "VALUE": ((10, 12),)}},
    fans={"qkv.weight": (D, None)},
)
class Grouped(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.o = nn.RMSNorm(D), nn.Linear(D, 12, bias=False), nn.Linear(D, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).split([8, 2, 2], dim=-1)
        q, k, v = heads(q, 4), heads(k, 1), heads(v, 1)
        k, v = k.repeat_interleave(4, dim=1), v.repeat_interleave(4, dim=1)
        return x + self.o(merge(F.scaled_dot_product_attention(q, k, v)))


@specimen(
    "decoder with cross-attention",
    several(X, floats(2, 7, D, seed=1)),
    residual("own.o.weight", norm="pre"),
    residual("cross.o.weight", norm="pre"),
    residual("mlp.down.weight", norm="pre"),
    roles={"cross.q.weight": "QUERY", "cross.k.weight": "KEY", "cross.v.weight": "VALUE"},
)
class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.own, self.cross, self.mlp = Attend(), Attend(), Mlp()
        self.n1, self.n2, self.n3 = (nn.LayerNorm(D) for _ in range(3))

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        x = x + self.own(self.n1(x))
        x = x + self.cross(self.n2(x), memory)
        return x + self.mlp(self.n3(x))


@specimen(
    "einsum attention with weights (h, d, k)",
    X,
    residual("wo", norm="pre"),
    roles={"wq": "QUERY", "wk": "KEY", "wv": "VALUE", "wo": "RESIDUAL_OUT"},
    fans={"wq": (D, None), "wo": (D, D)},
)
class Einsum(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(D)
        self.wq, self.wk, self.wv = (nn.Parameter(torch.randn(HEADS, D, 4) / 3) for _ in range(3))
        self.wo = nn.Parameter(torch.randn(HEADS, 4, D) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (torch.einsum("btd,hdk->bhtk", h, w) for w in (self.wq, self.wk, self.wv))
        weights = torch.softmax(torch.einsum("bhqk,bhsk->bhqs", q, k), dim=-1)
        return x + torch.einsum("bhqs,bhsk,hkd->bqd", weights, v, self.wo)


@specimen(
    "F.linear on slices of one big weight",
    X,
    residual("w", norm="pre"),
    slices={"w": {"QUERY": ((0, 8),), "KEY": ((8, 16),), "VALUE": ((16, 24),), "RESIDUAL_OUT": ((24, 32),)}},
)
class Sliced(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.w = nn.LayerNorm(D), nn.Parameter(torch.randn(4 * D, D) / 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        q, k, v = (heads(F.linear(h, self.w[i * D : (i + 1) * D])) for i in range(3))
        return x + F.linear(merge(F.scaled_dot_product_attention(q, k, v)), self.w[3 * D :])


@specimen(
    "packed by reshape and unbind",
    X,
    residual("proj.weight", norm="pre"),
    slices={"qkv.weight": {"QUERY": ((0, D),), "KEY": ((D, 2 * D),), "VALUE": ((2 * D, 3 * D),)}},
    fans={"qkv.weight": (D, D)},
)
class Unbound(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(D), nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(self.norm(x)).reshape(2, T, 3, HEADS, -1).permute(2, 0, 3, 1, 4).unbind(0)
        return x + self.proj(merge(F.scaled_dot_product_attention(q, k, v)))
