"""Healthy models in plain PyTorch, many of them with a zero that is meant."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from benchmarks.check.subjects import CLASSES, Architecture, classify, images, made, regress, sequences, vectors
from torch import Tensor, nn

WIDTH = 32


def mlp(
    activation: type[nn.Module] = nn.ReLU, depth: int = 2, dropout: float = 0.0, norm: type | None = None
) -> nn.Sequential:
    """Maps and activations in turn, drawn as PyTorch does."""
    layers: list[nn.Module] = []
    size = 16
    for _ in range(depth):
        layers.append(nn.Linear(size, WIDTH))
        layers += [norm(WIDTH)] if norm is not None else []
        layers.append(activation())
        layers += [nn.Dropout(dropout)] if dropout else []
        size = WIDTH
    return nn.Sequential(*layers, nn.Linear(size, CLASSES))


def with_he(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return model


def zero_head() -> nn.Module:
    model = mlp()
    nn.init.zeros_(model[-1].weight)
    nn.init.zeros_(model[-1].bias)
    return model


def identity_start() -> nn.Module:
    """ZerO's kind: identities and no randomness but in the input and the head."""
    model = mlp(depth=3)
    for layer in (model[2], model[4]):
        nn.init.eye_(layer.weight)
        nn.init.zeros_(layer.bias)
    return model


class Residual(nn.Module):
    """Pre-norm blocks of two maps; how a branch ends is a choice."""

    def __init__(self, blocks: int = 4, end: str = "", norm: bool = True):
        super().__init__()
        self.stem, self.head = nn.Linear(16, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) if norm else nn.Identity() for _ in range(blocks)])
        self.up = nn.ModuleList([nn.Linear(WIDTH, 2 * WIDTH) for _ in range(blocks)])
        self.down = nn.ModuleList([nn.Linear(2 * WIDTH, WIDTH) for _ in range(blocks)])
        start = {"rezero": 0.0, "layerscale": 1e-6}.get(end, 1.0)
        scalar = end in {"rezero", "skipinit"}
        shape = (1,) if scalar else (WIDTH,)
        start = 0.0 if scalar else start
        self.scales = nn.ParameterList([nn.Parameter(torch.full(shape, start)) for _ in range(blocks if end else 0)])
        if end == "zero-out":
            self.scales = nn.ParameterList()
            for layer in self.down:
                nn.init.zeros_(layer.weight)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, (norm, up, down) in enumerate(zip(self.norms, self.up, self.down, strict=True)):
            branch = down(F.gelu(up(norm(x))))
            x = x + (self.scales[i] * branch if len(self.scales) else branch)
        return self.head(x)


class Attention(nn.Module):
    """A transformer of separate query, key and value; zero outputs are a choice."""

    def __init__(self, blocks: int = 2, zero_out: bool = False, gate: bool = False):
        super().__init__()
        self.stem, self.head = nn.Linear(16, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.query, self.key, self.value, self.out = (
            nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(blocks)]) for _ in range(4)
        )
        self.norms = nn.ModuleList([nn.LayerNorm(WIDTH) for _ in range(blocks)])
        self.gates = nn.ParameterList([nn.Parameter(torch.zeros(4, 1, 1)) for _ in range(blocks if gate else 0)])
        for layer in self.out if zero_out else ():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for i, norm in enumerate(self.norms):
            h = norm(x)
            q, k, v = (m[i](h).unflatten(-1, (4, -1)).transpose(1, 2) for m in (self.query, self.key, self.value))
            mixed = F.scaled_dot_product_attention(q, k, v)
            mixed = torch.tanh(self.gates[i]) * mixed if len(self.gates) else mixed
            x = x + self.out[i](mixed.transpose(1, 2).flatten(2))
        return self.head(x.mean(1))


class Modulated(nn.Module):
    """adaLN-zero: condition to shift, scale and gate of each block, all zero at the start, and a zero head."""

    def __init__(self, blocks: int = 3):
        super().__init__()
        self.stem, self.condition = nn.Linear(12, WIDTH), nn.Linear(4, WIDTH)
        self.maps = nn.ModuleList([nn.Linear(WIDTH, WIDTH) for _ in range(blocks)])
        self.modulations = nn.ModuleList([nn.Linear(WIDTH, 3 * WIDTH) for _ in range(blocks)])
        self.last, self.final = nn.Linear(WIDTH, 2 * WIDTH), nn.Linear(WIDTH, CLASSES)
        for layer in (*self.modulations, self.last, self.final):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        x, c = self.stem(x[:, :12]), F.silu(self.condition(x[:, 12:]))
        for layer, modulation in zip(self.maps, self.modulations, strict=True):
            shift, scale, gate = modulation(c).chunk(3, -1)
            x = x + gate * F.gelu(layer(F.layer_norm(x, (WIDTH,)) * (1 + scale) + shift))
        shift, scale = self.last(c).chunk(2, -1)
        return self.final(F.layer_norm(x, (WIDTH,)) * (1 + scale) + shift)


class ConvNet(nn.Module):
    """Convolutions with or without norm and shortcut."""

    def __init__(self, norm: bool = True, skip: bool = True, gamma: float = 1.0, blocks: int = 2):
        super().__init__()
        make = nn.BatchNorm2d if norm else nn.Identity
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.first = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(blocks)])
        self.second = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1) for _ in range(blocks)])
        self.norms1, self.norms2 = (nn.ModuleList([make(16) for _ in range(blocks)]) for _ in range(2))
        self.head, self.skip = nn.Linear(16, CLASSES), skip
        for layer in self.norms2 if norm else ():
            nn.init.constant_(layer.weight, gamma)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for conv1, conv2, norm1, norm2 in zip(self.first, self.second, self.norms1, self.norms2, strict=True):
            branch = norm2(conv2(F.relu(norm1(conv1(x)))))
            x = F.relu(x + branch if self.skip else branch)
        return self.head(x.mean((2, 3)))


class Fixup(nn.Module):
    """Residual convolutions without norm: last map zero, scalar scale and biases, zero head."""

    def __init__(self, blocks: int = 3):
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.first = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(blocks)])
        self.second = nn.ModuleList([nn.Conv2d(16, 16, 3, padding=1, bias=False) for _ in range(blocks)])
        self.shifts = nn.ParameterList([nn.Parameter(torch.zeros(4)) for _ in range(blocks)])
        self.scales = nn.ParameterList([nn.Parameter(torch.ones(1)) for _ in range(blocks)])
        self.head = nn.Linear(16, CLASSES)
        for conv in self.first:
            nn.init.normal_(conv.weight, std=math.sqrt(2 / (9 * 16)) * blocks**-0.5)
        for layer in (*self.second, self.head):
            nn.init.zeros_(layer.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        for conv1, conv2, b, s in zip(self.first, self.second, self.shifts, self.scales, strict=True):
            branch = conv1(x + b[0]) + b[1]
            x = F.relu(x + conv2(F.relu(branch) + b[2]) * s + b[3])
        return self.head(x.mean((2, 3)))


class Controlled(nn.Module):
    """ControlNet's kind: a frozen trunk, a trained copy of it, joined by zero convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk, self.copy = (nn.Conv2d(3, 16, 3, padding=1) for _ in range(2))
        self.inside, self.outside = nn.Conv2d(3, 3, 1), nn.Conv2d(16, 16, 1)
        self.head = nn.Linear(16, CLASSES).requires_grad_(False)
        self.trunk.requires_grad_(False)
        self.copy.load_state_dict(self.trunk.state_dict())
        for layer in (self.inside, self.outside):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        aside = self.outside(F.silu(self.copy(x + self.inside(x))))
        return self.head(F.silu(self.trunk(x) + aside).mean((2, 3)))


class LowRank(nn.Module):
    """A frozen network with low-rank adapters beside its maps."""

    def __init__(self, depth: int = 3):
        super().__init__()
        self.base = nn.ModuleList([nn.Linear(16, 16).requires_grad_(False) for _ in range(depth)])
        self.down = nn.ModuleList([nn.Linear(16, 4, bias=False) for _ in range(depth)])
        self.up = nn.ModuleList([nn.Linear(4, 16, bias=False) for _ in range(depth)])
        self.head = nn.Linear(16, CLASSES)
        for layer in self.up:
            nn.init.zeros_(layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        for base, down, up in zip(self.base, self.down, self.up, strict=True):
            x = torch.tanh(base(x) + up(down(x)))
        return self.head(x)


class Recurrent(nn.Module):
    def __init__(self, kind: str = "LSTM", bidirectional: bool = False, identity: bool = False):
        super().__init__()
        options = {"nonlinearity": "relu"} if kind == "RNN" else {}
        self.rnn = getattr(nn, kind)(16, WIDTH, batch_first=True, bidirectional=bidirectional, **options)
        self.head = nn.Linear(WIDTH * (1 + bidirectional), CLASSES)
        if identity:
            nn.init.eye_(self.rnn.weight_hh_l0)
            nn.init.zeros_(self.rnn.bias_hh_l0)
            nn.init.zeros_(self.rnn.bias_ih_l0)
            nn.init.normal_(self.rnn.weight_ih_l0, std=0.1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(x)[0][:, -1])


class Sine(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(30 * x)


def siren() -> nn.Module:
    model = nn.Sequential(nn.Linear(2, WIDTH), Sine(), nn.Linear(WIDTH, WIDTH), Sine(), nn.Linear(WIDTH, 1))
    nn.init.uniform_(model[0].weight, -1 / 2, 1 / 2)
    for layer in (model[2], model[4]):
        nn.init.uniform_(layer.weight, -math.sqrt(6 / WIDTH) / 30, math.sqrt(6 / WIDTH) / 30)
    return model


def points(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    x = 2 * torch.rand(64, 2, generator=generator) - 1
    return x, torch.sin(5 * x[:, :1]) * torch.cos(3 * x[:, 1:])


class Experts(nn.Module):
    """A router that takes the best of some experts, by its score."""

    def __init__(self, top: int = 1):
        super().__init__()
        self.router, self.top = nn.Linear(16, 4, bias=False), top
        self.up, self.down = nn.Parameter(torch.randn(4, 16, WIDTH) / 4), nn.Parameter(torch.randn(4, WIDTH, 16) / 6)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(self.top)
        out = torch.einsum("neh,ehd->ned", F.gelu(torch.einsum("nd,edh->neh", x, self.up)), self.down)
        picked = out.gather(1, chosen[..., None].expand(-1, -1, 16))
        return self.head(x + (weights[..., None] * picked).sum(1))


class Graph(nn.Module):
    """Two rounds of neighbor averages."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(16, WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, given: tuple[Tensor, Tensor]) -> Tensor:
        x, edges = given
        return self.second(edges @ F.relu(self.first(edges @ x)))


def graph(generator: torch.Generator) -> tuple[tuple[Tensor, Tensor], Tensor]:
    x, y = vectors(samples=24)(generator)
    near = ((y[:, None] == y) & (torch.rand(24, 24, generator=generator) < 0.4)).float() + torch.eye(24)
    return (x, near / near.sum(1, keepdim=True)), y


class Autoencoder(nn.Module):
    """A variational one, or a plain one whose decoder is the encoder's transpose."""

    def __init__(self, variational: bool = True):
        super().__init__()
        self.up, self.code, self.spread = nn.Linear(16, WIDTH), nn.Linear(WIDTH, 8), nn.Linear(WIDTH, 8)
        self.down = nn.Linear(8, WIDTH) if variational else None
        self.out = nn.Linear(WIDTH, 16) if variational else None
        self.spread = self.spread if variational else None
        self.shift = nn.Parameter(torch.zeros(16)) if not variational else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = F.relu(self.up(x))
        mean = self.code(h)
        if self.down is None or self.out is None or self.spread is None:
            return F.linear(F.relu(F.linear(mean, self.code.weight.T)), self.up.weight.T, self.shift), mean.new_zeros(
                ()
            )
        log_variance = self.spread(h)
        z = mean + torch.randn_like(mean) * (log_variance / 2).exp()
        divergence = 0.5 * (mean.square() + log_variance.exp() - log_variance - 1).sum(1).mean()
        return self.out(F.relu(self.down(z))), 0.01 * divergence


def reconstruct(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    out, extra = model(batch[0])
    return F.mse_loss(out, batch[0]) + extra


def discriminate(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], (batch[1] % 2).float())


def focal(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    scores, target = model(batch[0]), F.one_hot(batch[1], CLASSES).float()
    loss = F.binary_cross_entropy_with_logits(scores, target, reduction="none")
    return (loss * (target - scores.sigmoid()).abs().square()).mean()


def prior_bias() -> nn.Module:
    model = mlp()
    nn.init.constant_(model[-1].bias, -math.log(99))
    return model


def smoothed(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1], label_smoothing=0.1)


class Contrastive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net, self.temperature = mlp(), nn.Parameter(torch.tensor(2.659))

    def forward(self, x: Tensor) -> Tensor:
        a, b = (F.normalize(self.net(h), dim=-1) for h in (x, x + 0.1 * torch.randn_like(x)))
        return self.temperature.exp() * a @ b.T


def matched(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), torch.arange(len(batch[0])))


class Tokens(nn.Module):
    """Looked-up words with a padding row, and positions that start at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(50, WIDTH, padding_idx=0), nn.Parameter(torch.zeros(1, 12, WIDTH))
        self.blocks = nn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.1, batch_first=True, norm_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.blocks(self.words(ids) + self.places[:, : ids.shape[1]]).mean(1))


def ids(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    y = torch.arange(16) % CLASSES
    return (1 + 7 * y[:, None] + torch.randint(0, 7, (16, 10), generator=generator)), y


def frozen_trunk() -> nn.Module:
    model = mlp()
    for layer in model[:-1]:
        layer.requires_grad_(False)
    return model


def parametrized(wrap: Callable[[nn.Module], nn.Module]) -> nn.Module:
    return nn.Sequential(
        wrap(nn.Linear(16, WIDTH)), nn.Tanh(), wrap(nn.Linear(WIDTH, WIDTH)), nn.Tanh(), nn.Linear(WIDTH, CLASSES)
    )


class Checkpointed(Residual):
    def forward(self, x: Tensor) -> Tensor:
        from torch.utils.checkpoint import checkpoint

        x = self.stem(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            x = x + checkpoint(lambda h, n=norm, u=up, d=down: d(F.gelu(u(n(h)))), x, use_reentrant=False)
        return self.head(x)


class Dropped(Residual):
    """Branches left out at random."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for norm, up, down in zip(self.norms, self.up, self.down, strict=True):
            kept = x.new_empty(len(x), 1).bernoulli_(0.8) / 0.8 if self.training else 1.0
            x = x + kept * down(F.gelu(up(norm(x))))
        return self.head(x)


class Quantized(nn.Module):
    """A map whose weights are whole numbers and never trained, under a trained head."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.randn(WIDTH, 16) / 4
        self.register_buffer("scale", weight.abs().max() / 127)
        self.register_buffer("whole", (weight / self.scale).round().to(torch.int8))
        self.head = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.relu(x @ (self.whole.to(x.dtype) * self.scale).T)[:, :16])


def plain() -> list[Architecture]:
    """All of them."""
    vector, image, sequence = vectors(), images(16), sequences()

    def of(
        name: str, family: str, build: Callable[[], nn.Module], zero: str = "", batch=vector, loss=classify
    ) -> Architecture:
        return Architecture(name, family, made(build, batch, loss), zero)

    return [
        of("mlp-relu", "mlp", mlp),
        of("mlp-relu-he", "mlp", lambda: with_he(mlp(depth=4))),
        of("mlp-tanh", "mlp", partial(mlp, nn.Tanh)),
        of("mlp-gelu", "mlp", partial(mlp, nn.GELU, 3)),
        of("mlp-silu-dropout", "mlp", partial(mlp, nn.SiLU, 2, 0.5), "dropout"),
        of("mlp-batchnorm", "mlp", partial(mlp, nn.ReLU, 3, 0.0, nn.BatchNorm1d), "biases before norms"),
        of("mlp-layernorm", "mlp", partial(mlp, nn.ReLU, 3, 0.0, nn.LayerNorm)),
        of("mlp-zero-head", "mlp", zero_head, "zero head"),
        of("mlp-identity", "mlp", identity_start, "identity start"),
        of("mlp-prior-bias", "mlp", prior_bias, "prior bias", loss=focal),
        of("mlp-smoothed", "mlp", mlp, loss=smoothed),
        of("mlp-binary", "mlp", mlp, "three unused outputs", loss=discriminate),
        of("mlp-contrastive", "mlp", Contrastive, "learned temperature", loss=matched),
        of("mlp-frozen-trunk", "mlp", frozen_trunk, "frozen"),
        of("mlp-weight-norm", "mlp", lambda: parametrized(nn.utils.parametrizations.weight_norm), "weight norm"),
        of("mlp-spectral-norm", "mlp", lambda: parametrized(nn.utils.parametrizations.spectral_norm), "spectral norm"),
        of("mlp-quantized", "mlp", Quantized, "quantized base"),
        of("res-plain", "residual", Residual),
        of("res-no-norm", "residual", partial(Residual, norm=False)),
        of("res-rezero", "residual", partial(Residual, end="rezero", norm=False), "ReZero"),
        of("res-skipinit", "residual", partial(Residual, end="skipinit"), "SkipInit"),
        of("res-layerscale", "residual", partial(Residual, end="layerscale"), "LayerScale 1e-6"),
        of("res-zero-out", "residual", partial(Residual, end="zero-out"), "zero residual outputs"),
        of("res-checkpointed", "residual", Checkpointed, "gradient checkpoints"),
        of("res-drop-path", "residual", Dropped, "stochastic depth"),
        of("attention", "attention", Attention, "key bias", batch=sequence),
        of(
            "attention-zero-out",
            "attention",
            partial(Attention, zero_out=True),
            "zero attention outputs",
            batch=sequence,
        ),
        of("attention-gated", "attention", partial(Attention, gate=True), "zero gates a head", batch=sequence),
        of("attention-words", "attention", Tokens, "zero positions, padding row", batch=ids),
        of("modulated", "attention", Modulated, "adaLN-zero"),
        of("conv-batchnorm", "conv", ConvNet, "biases before norms", batch=image),
        of("conv-zero-gamma", "conv", partial(ConvNet, gamma=0.0), "zero-gamma", batch=image),
        of("conv-plain", "conv", partial(ConvNet, norm=False, skip=False), batch=image),
        of("conv-fixup", "conv", Fixup, "Fixup", batch=image),
        of("conv-control", "conv", Controlled, "zero convolutions", batch=image),
        of("adapter-low-rank", "adapter", LowRank, "zero up-projection"),
        of("rnn-lstm", "recurrent", Recurrent, batch=sequence),
        of("rnn-gru", "recurrent", partial(Recurrent, "GRU"), batch=sequence),
        of("rnn-two-ways", "recurrent", partial(Recurrent, "LSTM", True), batch=sequence),
        of("rnn-identity", "recurrent", partial(Recurrent, "RNN", False, True), "identity start", batch=sequence),
        of("siren", "other", siren, "sines", batch=points, loss=regress),
        of("experts-top1", "other", partial(Experts, 1), "experts not chosen"),
        of("experts-top2", "other", partial(Experts, 2), "experts not chosen"),
        of("graph", "other", Graph, batch=graph),
        of("vae", "other", Autoencoder, loss=reconstruct),
        of("autoencoder-tied", "other", partial(Autoencoder, False), "tied transposes", loss=reconstruct),
    ]
