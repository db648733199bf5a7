"""Odd ways to write, wrap and call a model; the same residual MLP or block in most of them."""

from collections import OrderedDict
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from specimen import floats, keywords, residual, several, specimen, tokens
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm, weight_norm
from torch.utils.checkpoint import checkpoint
from zoo_sums import LAST, D, Two, X


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.relu(x) ** 2

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 2 * grad * torch.relu(x)


class Map(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w):
        ctx.save_for_backward(x, w)
        return x @ w.t()

    @staticmethod
    def backward(ctx, grad):
        x, w = ctx.saved_tensors
        return grad @ w, grad.t() @ x


@specimen(
    "autograd functions as activation and as linear map",
    X,
    residual("w", norm="pre", biases=""),
    fans={"w": (16, D)},
    roles={"w": "RESIDUAL_OUT"},
)
class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.w = nn.LayerNorm(D), nn.Linear(D, 16), nn.Parameter(torch.randn(D, 16))

    def forward(self, x: Tensor) -> Tensor:
        return x + Map.apply(Square.apply(self.up(self.norm(x))), self.w)


@specimen("one block called twice", X, *[residual("block.l2.weight")] * 2, roles={"head.weight": "HEAD"})
class Shared(nn.Module):
    def __init__(self):
        super().__init__()
        self.block, self.head = Two(), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = x + self.block.f(x)
        return self.head(x)


@specimen(
    "embedding and head are one tensor",
    tokens(2, 5),
    LAST,
    ties={"head.weight": "wte.weight"},
    fans={"wte.weight": (1, D)},
    roles={"wte.weight": "EMBEDDING"},
)
class Tied(Two):
    def __init__(self):
        super().__init__()
        self.wte, self.head = nn.Embedding(11, D), nn.Linear(D, 11, bias=False)
        self.head.weight = self.wte.weight

    def forward(self, ids: Tensor) -> Tensor:
        x = self.wte(ids)
        return self.head(x + self.f(x))


@specimen(
    "weight norm at the end of a branch: the length is the scale", X, residual("l2.weight.original0", biases="l2.bias")
)
class WeightNorm(Two):
    def __init__(self):
        super().__init__()
        self.l2 = weight_norm(self.l2)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@specimen("spectral norm on the first map of a branch", X, LAST, fans={"l1.weight": (D, D)})
class SpectralNorm(Two):
    def __init__(self):
        super().__init__()
        self.l1 = spectral_norm(self.l1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


class Checkpointed(Two):
    reentrant = False

    def __init__(self):
        super().__init__()
        self.first, self.head = nn.Linear(D, D), nn.Linear(D, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        x = x + checkpoint(self.f, x, use_reentrant=self.reentrant, preserve_rng_state=False)
        return self.head(x)


@specimen("checkpointed branch", X, LAST, roles={"head.weight": "HEAD", "first.weight": "STEM"}, training=True)
class NonReentrant(Checkpointed):
    pass


@specimen(
    "checkpointed branch, reentrant", X, LAST, roles={"head.weight": "HEAD", "first.weight": "STEM"}, training=True
)
class Reentrant(Checkpointed):
    reentrant = True


@specimen("no_grad inside: used, but out of the gradient's reach", X, LAST, detached="first.weight first.bias")
class InnerNoGrad(Two):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            x = torch.tanh(self.first(x))
        return x + self.f(x)


@specimen("detached branch", X, LAST, detached="l1.weight l1.bias l2.weight l2.bias")
class Detached(Two):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        return x + self.f(x).detach()


@specimen("frozen and unused parameters", X, LAST, frozen="l1.weight l1.bias", unused="spare.weight spare.bias lost")
class FrozenAndUnused(Two):
    def __init__(self):
        super().__init__()
        self.spare, self.lost = nn.Linear(D, 4), nn.Parameter(torch.zeros(3))
        self.l1.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        self.spare(x)
        return x + self.f(x)


@specimen("all frozen, called without gradients", X, LAST, frozen="l1.weight l1.bias l2.weight l2.bias")
class AllFrozen(Two):
    def __init__(self):
        super().__init__()
        self.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@specimen(
    "LSTM and GRU",
    floats(2, 5, D),
    roles={"lstm.weight_hh_l0": "RECURRENT", "gru.weight_hh_l0": "RECURRENT", "head.weight": "HEAD"},
    fans={"lstm.weight_ih_l0": (D, 6), "gru.weight_hh_l0": (4, 4)},
)
class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.gru, self.head = (
            nn.LSTM(D, 6, batch_first=True),
            nn.GRU(6, 4, batch_first=True),
            nn.Linear(4, 3),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.gru(self.lstm(x)[0])[0][:, -1])


@specimen(
    "recurrent branches", floats(2, 5, D), residual("proj.weight", norm="pre"), roles={"lstm.weight_hh_l0": "RECURRENT"}
)
class RecurrentBranch(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.lstm, self.proj = nn.LayerNorm(D), nn.LSTM(D, 6, batch_first=True), nn.Linear(6, D)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.proj(self.lstm(self.norm(x))[0])


@specimen(
    "dict in, dict out, nested", lambda: {"batch": {"x": X(), "flag": "plain"}}, LAST, roles={"head.weight": "HEAD"}
)
class Dicts(Two):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(D, 3)

    def forward(self, batch: dict) -> dict:
        x = batch["x"]
        return {"logits": self.head(x + self.f(x)), "extra": {"hidden": [x]}}


@dataclass
class Output:
    logits: Tensor
    hidden: tuple[Tensor, ...] = ()
    note: str = "none"


@specimen(
    "dataclass out, keyword arguments and an unused input in",
    keywords(x=X, y=tokens(4)),
    LAST,
    roles={"head.weight": "HEAD"},
)
class Dataclass(Two):
    def __init__(self):
        super().__init__()
        self.head = nn.Linear(D, 3)

    def forward(self, x: Tensor, y: Tensor | None = None, scale: float = 1.0) -> Output:
        h = x + self.f(x)
        return Output(self.head(h) * scale, (x, h))


@specimen("two heads", X, LAST, roles={"policy.weight": "HEAD", "value.weight": "HEAD"})
class TwoHeads(Two):
    def __init__(self):
        super().__init__()
        self.policy, self.value = nn.Linear(D, 3), nn.Linear(D, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(x + self.f(x))
        return self.policy(h), self.value(h).squeeze(-1)


@specimen(
    "parameters in lists and dicts", X, residual("pairs.1"), fans={"pairs.0": (D, 16)}, roles={"more.head": "HEAD"}
)
class Lists(nn.Module):
    def __init__(self):
        super().__init__()
        self.pairs = nn.ParameterList([torch.randn(D, 16), torch.randn(16, D)])
        self.more = nn.ParameterDict({"head": torch.randn(D, 3)})

    def forward(self, x: Tensor) -> Tensor:
        up, down = self.pairs
        return (x + torch.relu(x @ up) @ down) @ self.more["head"]


@specimen("a length that is read out of a tensor", several(floats(2, 5, D), lambda: torch.tensor([5, 3])), LAST)
class Item(Two):
    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        x = x[:, : int(lengths.max().item())]
        return x + self.f(x)


class RootMean(nn.Module):
    def __init__(self, offset: float):
        super().__init__()
        self.weight, self.offset = nn.Parameter(torch.zeros(D) if offset else torch.ones(D)), offset

    def forward(self, x: Tensor) -> Tensor:
        h = x.float()
        h = h * torch.rsqrt(h.pow(2).mean(-1, keepdim=True) + 1e-6)
        return (h * (self.offset + self.weight.float()) if self.offset else self.weight * h).type_as(x)


@specimen(
    "norms by hand: the factor is w, and 1 + w",
    X,
    residual("after.weight", norm="sandwich", maps="l2.weight", biases=""),
    roles={"before.weight": "NORM_SCALE", "after.weight": "NORM_SCALE"},
    offsets={"before.weight": 0.0, "after.weight": 1.0},
)
class ByHand(Two):
    def __init__(self):
        super().__init__()
        self.before, self.after = RootMean(0.0), RootMean(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.after(self.f(self.before(x)))


@specimen("deeply nested containers", X, residual("0.body.0.m.2.weight"), residual("1.body.0.m.2.weight"))
def containers() -> nn.Module:
    class Around(nn.Module):
        def __init__(self):
            super().__init__()
            inner = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D))
            self.body = nn.ModuleList([nn.ModuleDict({"m": inner})])

        def forward(self, x: Tensor) -> Tensor:
            return x + self.body[0]["m"](x)

    return nn.Sequential(OrderedDict([("0", Around()), ("1", Around())]))


class Plus(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@specimen("compiled", X, LAST)
def compiled() -> nn.Module:
    return torch.compile(Plus(), backend="eager")  # inductor is not asked: a reading never compiles


@specimen("wrapped in DataParallel", X, LAST)
def parallel() -> nn.Module:
    return nn.DataParallel(Plus())


@specimen("bfloat16 weights with float32 input", X, LAST)
class Cast(Two):
    def __init__(self):
        super().__init__()
        self.to(torch.bfloat16)

    def forward(self, x: Tensor) -> Tensor:
        h = x.to(torch.bfloat16)
        return x + self.f(h).float()


@specimen("dropout behind the last map, in training mode", X, residual("l2.weight", drop_path=False), training=True)
class Dropout(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x + F.dropout(self.f(x), 0.5, self.training)
