"""Conditions, experts, adapters: maps that make or choose other maps."""

import torch
import torch.nn.functional as F
from specimen import floats, residual, several, specimen
from torch import Tensor, nn
from zoo_attention import Attend, D, Mlp, X

E = 3


@specimen(
    "DiT block: scales, shifts and gates made from a condition",
    several(X, floats(2, D, seed=1)),
    residual("attn.o.weight", norm="pre", biases="attn.o.bias", modulated_by="ada.weight"),
    residual("mlp.down.weight", norm="pre", modulated_by="ada.weight"),
    roles={"ada.weight": "MODULATION", "attn.o.weight": "RESIDUAL_OUT"},
)
class Modulated(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = (nn.LayerNorm(D, elementwise_affine=False) for _ in range(2))
        self.attn, self.mlp, self.ada = Attend(), Mlp(), nn.Linear(D, 6 * D)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        s1, b1, g1, s2, b2, g2 = self.ada(F.silu(c))[:, None].chunk(6, -1)
        x = x + g1 * self.attn(self.n1(x) * (1 + s1) + b1)
        return x + g2 * self.mlp(self.n2(x) * (1 + s2) + b2)


@specimen(
    "modulation written as a sum, x + x·scale + shift",
    several(floats(4, D), floats(4, D, seed=1)),
    residual("down.weight", norm="pre"),
    roles={"film.weight": "MODULATION"},
)
class ModulatedBySum(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.film = nn.LayerNorm(D), nn.Linear(D, 2 * D)
        self.up, self.down = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.film(c).chunk(2, -1)
        h = self.norm(x)
        h = h + h * scale + shift
        return x + self.down(F.relu(self.up(h)))


@specimen(
    "experts stacked in [E, in, out] and multiplied at once",
    X,
    residual("down", norm="pre", biases=""),
    roles={"router.weight": "ROUTER", "down": "RESIDUAL_OUT"},
    fans={"up": (D, 16), "down": (16, D)},
)
class Stacked(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.router = nn.LayerNorm(D), nn.Linear(D, E)
        self.up, self.down = nn.Parameter(torch.randn(E, D, 16)), nn.Parameter(torch.randn(E, 16, D))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(0, 1)
        share = torch.softmax(self.router(h), -1)
        out = torch.bmm(F.relu(torch.bmm(h.expand(E, -1, -1), self.up)), self.down)
        return x + (out * share.t()[..., None]).sum(0).view_as(x)


@specimen(
    "experts in a loop, rows chosen by the data and added by index",
    X,
    residual("experts.0.down.weight experts.1.down.weight experts.2.down.weight", norm="pre"),
    roles={"router.weight": "ROUTER"},
)
class Looped(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.router = nn.LayerNorm(D), nn.Linear(D, E, bias=False)
        self.experts = nn.ModuleList(Mlp() for _ in range(E))

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x).flatten(0, 1)
        share, chosen = torch.softmax(self.router(h), -1).topk(2)
        out = torch.zeros_like(h)
        for index, expert in enumerate(self.experts):
            row, place = torch.where(chosen == index)
            out.index_add_(0, row, expert(h[row]) * share[row, place, None])
        return x + out.view_as(x)


@specimen(
    "low-rank pair beside a frozen map inside a branch",
    X,
    residual("down.weight"),
    roles={"a.weight": "ADAPTER", "b.weight": "ADAPTER"},
    frozen="up.weight up.bias",
)
class LowRank(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, 16).requires_grad_(False), nn.Linear(16, D)
        self.a, self.b = nn.Linear(D, 2, bias=False), nn.Linear(2, 16, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(F.relu(self.up(x) + self.b(self.a(x)) * 2.0))


@specimen(
    "low-rank pair beside the last map of a branch",
    X,
    residual("down.weight b.weight"),
    roles={"a.weight": "ADAPTER", "b.weight": "ADAPTER"},
    frozen="up.weight up.bias down.weight down.bias",
)
class LowRankAtEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.down = nn.Linear(D, 16).requires_grad_(False), nn.Linear(16, D).requires_grad_(False)
        self.a, self.b = nn.Linear(16, 2, bias=False), nn.Linear(2, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.up(x))
        return x + self.down(h) + self.b(self.a(h))


@specimen(
    "low-rank pair in a network without a residual",
    floats(4, D),
    roles={"a.weight": "ADAPTER", "b.weight": "ADAPTER"},
    frozen="base.weight base.bias",
)
class LowRankAlone(nn.Module):
    def __init__(self):
        super().__init__()
        self.base, self.head = nn.Linear(D, D).requires_grad_(False), nn.Linear(D, 3)
        self.a, self.b = nn.Linear(D, 2, bias=False), nn.Linear(2, D, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.b(self.a(x))))


@specimen("hypernetwork: weights computed from an input", several(floats(4, D), floats(D, seed=1)))
class Hyper(nn.Module):
    def __init__(self):
        super().__init__()
        self.make, self.head = nn.Linear(D, D * D), nn.Linear(D, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.head(torch.relu(F.linear(x, self.make(z).view(D, D))))


@specimen(
    "bottleneck adapters behind frozen maps, with sums of their own",
    X,
    residual("up.weight", parent=1),
    residual("mlp.down.weight up.weight", norm="pre"),
    frozen="norm.weight norm.bias mlp.up.weight mlp.up.bias mlp.down.weight mlp.down.bias",
)
class BottleneckAdapter(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mlp = nn.LayerNorm(D).requires_grad_(False), Mlp().requires_grad_(False)
        self.down, self.up = nn.Linear(D, 2), nn.Linear(2, D)

    def forward(self, x: Tensor) -> Tensor:
        h = self.mlp(self.norm(x))
        return x + (h + self.up(F.relu(self.down(h))))


@specimen(
    "attention pooled by learned queries: a parameter is the first shortcut",
    X,
    residual("first.o.weight", norm="none"),
    residual("o.weight", norm="inner"),
    roles={"latent": "EMBEDDING"},
)
class Latents(nn.Module):
    """``z = z + first(z, x)``: the branch depends on what it is added to, so this is no mere position that is added."""

    def __init__(self):
        super().__init__()
        self.latent, self.first, self.norm = nn.Parameter(torch.randn(1, 3, D)), Attend(), nn.LayerNorm(D)
        self.up, self.o = nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        z = self.latent.expand(x.shape[0], -1, -1)
        z = z + self.first(z, x)
        return z + self.o(self.norm(F.relu(self.up(z))))
