"""Every way to write a residual sum, and sums that look like one and are none."""

import torch
import torch.nn.functional as F
from specimen import floats, residual, specimen
from torch import Tensor, nn

D = 8
X = floats(4, D)


class Two(nn.Module):
    """Two maps with a ReLU between them; the specimens below differ in how they are added."""

    def __init__(self):
        super().__init__()
        self.l1, self.l2 = nn.Linear(D, D), nn.Linear(D, D)

    def f(self, x: Tensor) -> Tensor:
        return self.l2(F.relu(self.l1(x)))


LAST = residual("l2.weight", biases="l2.bias", maps="l2.weight", norm="none", ends_in=None)


@specimen("plain MLP", X, roles={"0.weight": "STEM", "2.weight": "HIDDEN", "4.weight": "HEAD"})
def plain() -> nn.Module:
    return nn.Sequential(nn.Linear(D, 16), nn.ReLU(), nn.Linear(16, 16), nn.Tanh(), nn.Linear(16, 3))


@specimen("MLP with a residual", X, LAST, activations={"l1.weight": "relu"}, fans={"l1.weight": (D, D)})
class Plus(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x + self.f(x)


@specimen("residual written in place", X, LAST, LAST)
class InPlace(Two):
    def forward(self, x: Tensor) -> Tensor:
        x = x.clone()
        x += self.f(torch.tanh(x))  # autograd keeps what tanh gives, and so allows that x changes
        return x.add_(self.f(torch.tanh(x)))


@specimen("the shortcut is added to the branch, in place", X, LAST)
class InPlaceReversed(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.f(x)
        h += x
        return h.relu_()


@specimen("torch.add with alpha", X, LAST)
class Alpha(Two):
    def forward(self, x: Tensor) -> Tensor:
        return torch.add(x, self.f(x), alpha=0.5)


@specimen("difference", X, LAST)
class Minus(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x - self.f(x)


@specimen("torch.lerp by a number", X, LAST)
class Lerp(Two):
    def forward(self, x: Tensor) -> Tensor:
        return torch.lerp(x, self.f(x), 0.3)


@specimen("torch.addcmul with a scale", X, residual("gain", maps="l2.weight", scales="gain"))
class Addcmul(Two):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(D))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addcmul(x, self.f(x), self.gain)


@specimen("torch.addmm adds the shortcut", X, residual("w", biases=""), fans={"w": (16, D)})
class Addmm(nn.Module):
    def __init__(self):
        super().__init__()
        self.up, self.w = nn.Linear(D, 16), nn.Parameter(torch.randn(16, D))

    def forward(self, x: Tensor) -> Tensor:
        return torch.addmm(x, F.relu(self.up(x)), self.w)


@specimen("scaled shortcut", X, residual("l2.weight", norm="post"), residual("l2.weight", norm="none"))
class ScaledShortcut(Two):
    def forward(self, x: Tensor) -> Tensor:
        x = F.layer_norm(1.7 * x + self.f(x), (D,))
        return (x + self.f(x)) / 2**0.5


@specimen("branch that ends in an activation", X, residual("lin.weight", biases="lin.bias", ends_in="relu"))
class EndsInRelu(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        return x + F.relu(self.lin(x))


@specimen("branch that ends in a sigmoid: no parameter makes it zero", X, residual("", maps="l2.weight"))
class EndsInSigmoid(Two):
    def forward(self, x: Tensor) -> Tensor:
        return x + torch.sigmoid(self.f(x))


@specimen(
    "LayerScale behind the last map",
    X,
    residual("gamma", maps="l2.weight", scales="gamma"),
    roles={"gamma": "BRANCH_SCALE", "l2.weight": "RESIDUAL_OUT"},
)
class LayerScale(Two):
    def __init__(self):
        super().__init__()
        self.gamma = nn.Parameter(torch.full((D,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.gamma * self.f(x)


@specimen(
    "one gate of ReZero for two branches",
    X,
    residual("alpha", maps="l2.weight", scales="alpha"),
    residual("alpha", maps="l4.weight", scales="alpha"),
    roles={"alpha": "BRANCH_SCALE"},
)
class ReZero(Two):
    def __init__(self):
        super().__init__()
        self.l3, self.l4, self.alpha = nn.Linear(D, D), nn.Linear(D, D), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.alpha * self.f(x)
        return x + self.alpha * self.l4(F.relu(self.l3(x)))


@specimen(
    "SkipInit: scalar behind the branch, dropout behind the scalar",
    X,
    residual("gain", maps="l2.weight", scales="gain"),
    training=True,
)
class SkipInit(Two):
    def __init__(self):
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        return x + F.dropout(self.f(x).mul(self.gain), 0.1, self.training)


@specimen(
    "stochastic depth in training mode",
    X,
    residual("l2.weight", drop_path=True, biases="l2.bias"),
    training=True,
)
class StochasticDepth(Two):
    def forward(self, x: Tensor) -> Tensor:
        h = self.f(x)
        keep = h.new_empty((h.shape[0], 1)).bernoulli_(0.8).div_(0.8)
        return x + h * keep


@specimen(
    "branches inside branches",
    X,
    residual("a2.weight", parent=1),
    residual("last.weight"),
    residual("b2.weight"),
)
class Nested(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.a1, self.a2, self.last, self.b1, self.b2 = (nn.Linear(D, D) for _ in range(6))

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.first(x))
        h = h + self.a2(F.relu(self.a1(h)))
        x = x + self.last(F.relu(h))
        return x + self.b2(F.relu(self.b1(x)))


@specimen(
    "a branch whose last path is itself a residual sum",
    X,
    residual("b2.weight", parent=1),
    residual("b2.weight a.weight"),
)
class InnerAtEnd(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b1, self.b2 = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(torch.tanh(x))
        h = h + self.b2(torch.tanh(self.b1(h)))
        return x + h


@specimen(
    "reversible: two streams, each adds a function of the other",
    X,
    residual("f2.weight", parent=None),
    residual("g2.weight", parent="unjudged"),
    roles={"head.weight": "HEAD", "stem.weight": "STEM"},
)
class Reversible(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Linear(D, 2 * D), nn.Linear(2 * D, 3)
        self.f1, self.f2, self.g1, self.g2 = (nn.Linear(D, D) for _ in range(4))

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, dim=-1)
        a = a + self.f2(F.relu(self.f1(b)))
        b = b + self.g2(F.relu(self.g1(a)))
        return self.head(torch.cat([a, b], dim=-1))


@specimen("part of the features is added to another part, in place", X, residual("l2.weight"))
class Coupling(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.l1, self.l2, self.head = (nn.Linear(D, D), nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(D, 2))

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        h[:, :4] += self.l2(torch.tanh(self.l1(torch.tanh(h[:, 4:]))))
        return self.head(h)


@specimen("values written into a slice", floats(2, 5, D), LAST)
class Written(Two):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(D, D)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.zeros_like(x)
        h[:, 1:] = x[:, 1:]
        h[:, 0] = torch.tanh(self.first(x.mean(1)))
        return h + self.f(h)
