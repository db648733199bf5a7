"""Small networks with zeros in them, each with the steps at which its parameters must open, derived by hand.

A gradient holds every other factor of the products that its parameter stands in. So a parameter opens one step after
the last of the zeros that stand beside it, and never where one of those waits for it in turn.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

D = 8


@dataclass
class Case:
    """A model, what one step is given, and what is true of it.

    ``steps``: parameter → opening step, all others open at 1. ``closed``: parameter → fate.
    """

    model: nn.Module
    batch: object
    criterion: object = None
    loss: object = None
    steps: dict = field(default_factory=dict)
    closed: dict = field(default_factory=dict)


def samples(n=16, d=D, classes=4, seed=1):
    """Inputs and labels. Some classes come more often, for of equal shares a zero head's bias is right at once."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw), labels(n, classes)


def labels(n, classes=4):
    """Every class, the first ones twice as often."""
    return torch.arange(n) % (classes + 3) % classes


def regression(n=16, d=D, out=D, seed=1):
    """Inputs and targets, both standard normal."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, d, generator=draw), torch.randn(n, out, generator=draw)


def zero(*tensors):
    """Set tensors, or all parameters of modules, to zero."""
    for tensor in tensors:
        for t in tensor.parameters() if isinstance(tensor, nn.Module) else [tensor]:
            nn.init.zeros_(t)


class Chain(nn.Module):
    """Scalars that multiply what the next one multiplies: ``x · g1 · (1 + g2 · (1 + ...))`` opened from the outside.

    Gate k stands behind the gates 1 to k - 1, each of which opens only once it has moved: it opens at step k.
    """

    def __init__(self, length):
        super().__init__()
        self.gates = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(length)])
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 4)

    def forward(self, x):
        signal = torch.tanh(self.inner(x))
        for gate in reversed(self.gates):
            signal = gate * (x + signal)
        return self.head(x + signal)


def chain(length):
    return Case(
        Chain(length),
        samples(),
        nn.CrossEntropyLoss(),
        steps={f"gates.{k}": k + 1 for k in range(length)} | {"inner.weight": length + 1, "inner.bias": length + 1},
    )


class Lora(nn.Module):
    def __init__(self, rank=2):
        super().__init__()
        self.base = nn.Linear(D, 4)
        self.base.requires_grad_(False)
        self.A, self.B = nn.Parameter(torch.randn(rank, D)), nn.Parameter(torch.zeros(4, rank))

    def forward(self, x):
        return self.base(x) + x @ self.A.T @ self.B.T


def lora():
    return Case(Lora(), samples(), nn.CrossEntropyLoss(), steps={"A": 2})


def lora_with_two_zeros():
    model = Lora()
    zero(model.A)
    return Case(model, samples(), nn.CrossEntropyLoss(), closed={"A": "stuck", "B": "stuck"})


def lora_behind_a_zero_gate():
    """The gate is zero and so is B: neither gets a gradient through the other."""

    class Gated(Lora):
        def __init__(self):
            super().__init__()
            self.gate = nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return self.base(x) + self.gate * (x @ self.A.T @ self.B.T)

    return Case(Gated(), samples(), nn.CrossEntropyLoss(), closed=dict.fromkeys(["A", "B", "gate"], "stuck"))


class ReZero(nn.Module):
    def __init__(self, depth=3):
        super().__init__()
        self.stem, self.head = nn.Linear(D, D), nn.Linear(D, 4)
        self.branches = nn.ModuleList(nn.Linear(D, D) for _ in range(depth))
        self.alphas = nn.ParameterList(nn.Parameter(torch.zeros(())) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for alpha, branch in zip(self.alphas, self.branches, strict=True):
            x = x + alpha * torch.tanh(branch(x))
        return self.head(x)


def rezero():
    steps = {f"branches.{k}.{n}": 2 for k in range(3) for n in ("weight", "bias")}
    return Case(ReZero(), samples(), nn.CrossEntropyLoss(), steps=steps)


def rezero_with_a_zero_branch():
    model = ReZero()
    zero(model.branches[1])
    case = Case(model, samples(), nn.CrossEntropyLoss())
    case.steps = {f"branches.{k}.{n}": 2 for k in (0, 2) for n in ("weight", "bias")}
    case.closed = dict.fromkeys(["branches.1.weight", "branches.1.bias", "alphas.1"], "stuck")
    return case


class Residual(nn.Module):
    """A convolutional block with norms; ``after`` is an activation on the branch's end."""

    def __init__(self, skip=True, after=None):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.conv2, self.bn2 = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.skip, self.after = skip, after or nn.Identity()

    def forward(self, x):
        branch = self.after(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        return F.relu(x + branch) if self.skip else branch


class ResNet(nn.Module):
    def __init__(self, depth=2, **options):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 4, 3, padding=1), nn.Linear(4, 4)
        self.blocks = nn.ModuleList(Residual(**options) for _ in range(depth))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


def images(n=16, size=6, seed=1):
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, size, size, generator=draw), labels(n)


BEHIND_GAMMA = ("conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight")


def zero_gamma():
    model = ResNet()
    for block in model.blocks:
        zero(block.bn2.weight)
    steps = {f"blocks.{k}.{n}": 2 for k in range(2) for n in BEHIND_GAMMA}
    return Case(model, images(), nn.CrossEntropyLoss(), steps=steps)


def zero_gamma_before_relu():
    """Scale and shift are zero in front of a ReLU, whose slope at zero is zero: no gradient comes back."""
    model = ResNet(depth=1, skip=False, after=nn.ReLU())
    zero(model.blocks[0].bn2)
    names = [f"blocks.0.{n}" for n in (*BEHIND_GAMMA, "bn2.weight", "bn2.bias")]
    closed = dict.fromkeys([*names, "stem.weight", "stem.bias", "head.weight"], "stuck")
    return Case(model, images(), nn.CrossEntropyLoss(), closed=closed)


def zero_head():
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 4))
    zero(model[4])
    steps = dict.fromkeys(["0.weight", "0.bias", "2.weight", "2.bias"], 2)
    return Case(model, samples(), nn.CrossEntropyLoss(), steps=steps)


class DiT(nn.Module):
    """adaLN-Zero: every gate, scale and shift comes from a zero map of the condition, and the head is zero too."""

    def __init__(self, depth=2):
        super().__init__()
        self.embed, self.time = nn.Linear(D, D), nn.Linear(1, D)
        self.norm = nn.LayerNorm(D, elementwise_affine=False)
        self.ups = nn.ModuleList(nn.Linear(D, D) for _ in range(depth))
        self.downs = nn.ModuleList(nn.Linear(D, D) for _ in range(depth))
        self.adas = nn.ModuleList(nn.Linear(D, 3 * D) for _ in range(depth))
        self.final_ada, self.final = nn.Linear(D, 2 * D), nn.Linear(D, D)
        zero(self.adas, self.final_ada, self.final)

    def forward(self, x, t):
        x, c = self.embed(x), F.silu(self.time(t))
        for up, down, ada in zip(self.ups, self.downs, self.adas, strict=True):
            shift, scale, gate = ada(c).chunk(3, -1)
            x = x + gate * down(F.gelu(up(self.norm(x) * (1 + scale) + shift)))
        shift, scale = self.final_ada(c).chunk(2, -1)
        return self.final(self.norm(x) * (1 + scale) + shift)


def dit():
    x, y = regression()
    t = torch.linspace(-1, 1, len(x))[:, None]
    second = ["embed.weight", "embed.bias", "final_ada.weight", "final_ada.bias"]
    second += [f"adas.{k}.{n}" for k in range(2) for n in ("weight", "bias")]
    third = ["time.weight", "time.bias"]
    third += [f"{m}.{k}.{n}" for m in ("ups", "downs") for k in range(2) for n in ("weight", "bias")]
    steps = dict.fromkeys(second, 2) | dict.fromkeys(third, 3)
    return Case(DiT(), ((x, t), y), nn.MSELoss(), steps=steps)


class ControlNet(nn.Module):
    """A frozen base and a trainable copy between two zero convolutions, the way in added to the input."""

    def __init__(self):
        super().__init__()
        self.base, self.copy = nn.Conv2d(3, 3, 3, padding=1), nn.Conv2d(3, 3, 3, padding=1)
        self.base.requires_grad_(False)
        self.into, self.out = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)
        zero(self.into, self.out)

    def forward(self, x, hint):
        return torch.tanh(self.base(x)) + self.out(torch.tanh(self.copy(x + self.into(hint))))


def controlnet():
    x, _ = images()
    steps = dict.fromkeys(["copy.weight", "copy.bias", "into.weight", "into.bias"], 2)
    return Case(ControlNet(), ((x, x.flip(0)), x.flip(1)), nn.MSELoss(), steps=steps)


def layer_scale():
    class Scaled(ReZero):
        def __init__(self):
            super().__init__()
            for alpha in self.alphas:
                nn.init.constant_(alpha, 1e-6)

    return Case(Scaled(), samples(), nn.CrossEntropyLoss())


class Gated(nn.Module):
    """A SwiGLU-like product of two maps beside a shortcut."""

    def __init__(self, bias=False, activation=F.silu):
        super().__init__()
        self.gate, self.up, self.down = (nn.Linear(D, D, bias=bias) for _ in range(3))
        self.head, self.activation = nn.Linear(D, 4), activation

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x + self.down(self.activation(self.gate(x)) * self.up(x)))


def zero_gate_of_a_gated_map():
    model = Gated()
    zero(model.gate)
    return Case(model, samples(), nn.CrossEntropyLoss(), steps={"up.weight": 2, "down.weight": 2})


def two_zero_factors_of_a_gated_map():
    model = Gated()
    zero(model.gate, model.up)
    closed = dict.fromkeys(["gate.weight", "up.weight", "down.weight"], "stuck")
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=closed)


OPENING = {
    **{f"a chain of {k} zero gates": (lambda k=k: chain(k)) for k in range(1, 6)},
    "LoRA": lora,
    "ReZero": rezero,
    "zero-gamma": zero_gamma,
    "a zero head": zero_head,
    "adaLN-Zero": dit,
    "ControlNet": controlnet,
    "LayerScale of 1e-6": layer_scale,
    "a zero gate of a gated map": zero_gate_of_a_gated_map,
}

STUCK = {
    "both halves of LoRA": lora_with_two_zeros,
    "LoRA behind a zero gate": lora_behind_a_zero_gate,
    "ReZero with a zero branch": rezero_with_a_zero_branch,
    "zero-gamma before a ReLU, without a skip": zero_gamma_before_relu,
    "two zero factors of a gated map": two_zero_factors_of_a_gated_map,
}
