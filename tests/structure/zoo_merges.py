"""Sums that look like a residual and are none, and residual branches with such sums inside."""

import torch
import torch.nn.functional as F
from specimen import floats, residual, several, specimen, tokens
from torch import Tensor, nn
from zoo_sums import D, X


@specimen("highway: a gated sum", X)
class Highway(nn.Module):
    def __init__(self):
        super().__init__()
        self.h, self.t, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        t = torch.sigmoid(self.t(x))
        return self.head(t * torch.relu(self.h(x)) + (1 - t) * x)


@specimen("gated sum of two streams", several(X, floats(4, D, seed=1)))
class GatedSum(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.g, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(2 * D, D), nn.Linear(D, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        a, b = torch.tanh(self.a(x)), torch.tanh(self.b(y))
        g = torch.sigmoid(self.g(torch.cat([x, y], -1)))
        return self.head(g * a + (1 - g) * b)


@specimen("gated recurrent unit by hand", floats(2, 3, D), roles={"head.weight": "HEAD"})
class HandGRU(nn.Module):
    def __init__(self):
        super().__init__()
        self.z, self.r, self.n, self.head = (nn.Linear(2 * D, D) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], D)
        for step in x.unbind(1):
            both = torch.cat([step, h], -1)
            z, r = torch.sigmoid(self.z(both)), torch.sigmoid(self.r(both))
            n = torch.tanh(self.n(torch.cat([step, r * h], -1)))
            h = (1 - z) * h + z * n
        return self.head(torch.cat([h, h], -1))


@specimen("RNNCell in a loop: input and state are summed", floats(2, 3, D), roles={"cell.weight_hh": "RECURRENT"})
class CellLoop(nn.Module):
    def __init__(self):
        super().__init__()
        self.cell, self.head = nn.RNNCell(D, D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = x.new_zeros(x.shape[0], D)
        for step in x.unbind(1):
            h = self.cell(step, h)
        return self.head(h)


@specimen(
    "maps of two inputs are summed", several(X, floats(4, D, seed=1)), roles={"a.weight": "STEM", "b.weight": "STEM"}
)
class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head(torch.relu(self.a(x) + self.b(y)))


@specimen(
    "selective scan with a skip D·x inside the branch",
    floats(2, 4, D),
    residual("out.weight", norm="pre", biases=""),
)
class Selective(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.inner, self.conv = nn.RMSNorm(D), nn.Linear(D, 32), nn.Conv1d(16, 16, 3, padding=2, groups=16)
        self.x_proj, self.dt, self.out = nn.Linear(16, 6), nn.Linear(2, 16), nn.Linear(16, D, bias=False)
        self.a_log, self.skip = nn.Parameter(torch.randn(16, 2)), nn.Parameter(torch.ones(16))

    def forward(self, x: Tensor) -> Tensor:
        u, z = self.inner(self.norm(x)).chunk(2, -1)
        u = F.silu(self.conv(u.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
        dt, b, c = self.x_proj(u).split([2, 2, 2], -1)
        dt = F.softplus(self.dt(dt))
        state, outs = u.new_zeros(x.shape[0], 16, 2), []
        for t in range(x.shape[1]):
            decay = torch.exp(-dt[:, t, :, None] * self.a_log.exp())
            state = state * decay + (dt[:, t] * u[:, t])[..., None] * b[:, t, None]
            outs.append((state * c[:, t, None]).sum(-1))
        y = torch.stack(outs, 1) + u * self.skip
        return x + self.out(y * F.silu(z))


def shift(x: Tensor) -> Tensor:
    return F.pad(x, (0, 0, 1, -1))


@specimen(
    "token shift, mixed by learned shares",
    floats(2, 4, D),
    residual("value.weight", norm="pre"),
    roles={"norm.weight": "NORM_SCALE"},
)
class TokenShift(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mix_k, self.mix_r = nn.LayerNorm(D), nn.Parameter(torch.rand(D)), nn.Parameter(torch.rand(D))
        self.key, self.receptance, self.value = nn.Linear(D, 16), nn.Linear(D, D), nn.Linear(16, D)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        k = h * self.mix_k + shift(h) * (1 - self.mix_k)
        r = h * self.mix_r + shift(h) * (1 - self.mix_r)
        return x + torch.sigmoid(self.receptance(r)) * self.value(torch.relu(self.key(k)) ** 2)


@specimen(
    "token shift written as a difference: x + (shift(x) - x)·share is a mixture, not a branch",
    floats(2, 4, D),
    residual("out.weight", norm="pre"),
)
class TokenShiftDelta(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.mix, self.up, self.out = (
            nn.LayerNorm(D),
            nn.Parameter(torch.rand(D)),
            nn.Linear(D, D),
            nn.Linear(D, D),
        )

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x)
        h = h + (shift(h) - h) * self.mix
        return x + self.out(torch.relu(self.up(h)))


@specimen(
    "bag of embeddings and a bilinear map",
    several(tokens(3, 4), floats(3, 5)),
    roles={"bag.weight": "EMBEDDING"},
    fans={"bi.weight": (40, 3)},
)
class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag, self.bi = nn.EmbeddingBag(11, D), nn.Bilinear(D, 5, 3)

    def forward(self, ids: Tensor, x: Tensor) -> Tensor:
        return self.bi(self.bag(ids), x)


@specimen(
    "one encoder, two inputs, their difference", several(X, floats(4, D, seed=1)), roles={"encoder.0.weight": "STEM"}
)
class Siamese(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.head = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 4)), nn.Linear(4, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.head((self.encoder(x) - self.encoder(y)).abs())
