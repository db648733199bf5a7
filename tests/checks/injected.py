"""Networks that learn, and what can be done to one of their parameters so that something in them does not."""

import math

import torch
import torch.nn.functional as F
from torch import nn

WIDTH, CLASSES, LENGTH, SAMPLES = 16, 4, 6, 96
CRITERION = nn.CrossEntropyLoss()


def drawn(model, seed=0):
    """Every map and table anew from one seed, every shift at zero and every scale at one."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1 / math.sqrt(parameter[0].numel()), generator=draw)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
    return model


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 32), nn.Linear(32, WIDTH)

    def forward(self, x):
        return x + self.down(F.relu(self.up(self.norm(x))))


class Mlp(nn.Module):
    """Plain layers, where one that is shut shuts all that is in front of it."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        for layer in self.layers:
            x = F.relu(layer(x))
        return self.head(x)


class Conv(nn.Module):
    """Two residual blocks; the second norm of each ends its branch, behind a ReLU if it is asked for."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.norm1 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)
            self.conv2, self.norm2 = nn.Conv2d(WIDTH, WIDTH, 3, padding=1, bias=False), nn.BatchNorm2d(WIDTH)

        def forward(self, x):
            return x + F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))

    def __init__(self):
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, WIDTH, 3, padding=1), nn.Linear(WIDTH, CLASSES)
        self.blocks = nn.ModuleList(Conv.Block() for _ in range(2))

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((2, 3)))


class Transformer(nn.Module):
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.LayerNorm(WIDTH)
            self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
            self.mlp = Block()

        def forward(self, x):
            y = self.norm(x)
            q, k, v = (f(y).unflatten(-1, (2, 8)).transpose(1, 2) for f in (self.q, self.k, self.v))
            mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
            return self.mlp(x + self.o(mixed))

    def __init__(self):
        super().__init__()
        self.table, self.places = nn.Embedding(12, WIDTH), nn.Parameter(torch.zeros(LENGTH, WIDTH))
        self.blocks = nn.ModuleList(Transformer.Block() for _ in range(2))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, ids):
        x = self.table(ids) + self.places
        for block in self.blocks:
            x = block(x)
        return self.head(x[:, 0])


class Adapted(nn.Module):
    """Frozen maps, each with two factors that are trained."""

    class Layer(nn.Module):
        def __init__(self):
            super().__init__()
            self.base = nn.Linear(WIDTH, WIDTH).requires_grad_(False)
            self.down, self.up = nn.Linear(WIDTH, 2, bias=False), nn.Linear(2, WIDTH, bias=False)

        def forward(self, x):
            return x + torch.tanh(self.base(x) + self.up(self.down(x)))

    def __init__(self, depth=12):
        super().__init__()
        self.layers, self.head = nn.Sequential(*(Adapted.Layer() for _ in range(depth))), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.head(self.layers(x))


def vectors():
    x = torch.randn(SAMPLES, WIDTH, generator=torch.Generator().manual_seed(5))
    return x, (2 * (x[:, 0] > 0) + (x[:, 1] * x[:, 2] > 0)).long()


def images():
    x = torch.randn(SAMPLES, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    x[::2, :, :3] += 1.0
    x[::3, :, :, :3] -= 1.0
    return x, torch.arange(SAMPLES) % 2 * 2 + (torch.arange(SAMPLES) % 3 == 0)


def words():
    ids = torch.randint(0, 12, (SAMPLES, LENGTH), generator=torch.Generator().manual_seed(5))
    return ids, (ids[:, 1] + ids[:, 2]) % CLASSES


def healthy_adapted(depth=12):
    model = drawn(Adapted(depth))
    for layer in model.layers:
        nn.init.zeros_(layer.up.weight)
    return model


NETS = {
    "MLP": (lambda: drawn(Mlp()), vectors),
    "ConvNet": (lambda: drawn(Conv()), images),
    "transformer": (lambda: drawn(Transformer()), words),
    "adapters": (healthy_adapted, vectors),
}


def zeros(*names):
    def inject(model):
        for name in names:
            nn.init.zeros_(model.get_parameter(name))

    return inject


def filled(value, name):
    return lambda model: nn.init.constant_(model.get_parameter(name), value)


def zero_adapters(model):
    for layer in model.layers:
        nn.init.zeros_(layer.down.weight)


DOWNS = {f"layers.{k}.down.weight" for k in range(12)}

# net, what is done to it, the code, and the parameters of which each cause is one.
INJECTIONS = {
    "a zero layer": ("MLP", zeros("layers.1.weight"), "stuck-saddle", {"layers.1.weight"}),
    "a zero first layer": ("MLP", zeros("layers.0.weight"), "stuck-saddle", {"layers.0.weight"}),
    "a zero last layer": ("MLP", zeros("layers.2.weight"), "stuck-saddle", {"layers.2.weight"}),
    "a layer that its bias shuts": ("MLP", filled(-100.0, "layers.1.bias"), "dead-region", {"layers.1.bias"}),
    "a zero norm in front of ReLU": (
        "ConvNet",
        zeros("blocks.1.norm2.weight"),
        "stuck-saddle",
        {"blocks.1.norm2.weight"},
    ),
    "a norm that its shift shuts": (
        "ConvNet",
        filled(-100.0, "blocks.0.norm1.bias"),
        "dead-region",
        {"blocks.0.norm1.bias"},
    ),
    "query and key zero": (
        "transformer",
        zeros("blocks.0.q.weight", "blocks.0.k.weight"),
        "stuck-saddle",
        {"blocks.0.q.weight", "blocks.0.k.weight"},
    ),
    "value and output zero": (
        "transformer",
        zeros("blocks.1.v.weight", "blocks.1.o.weight"),
        "stuck-saddle",
        {"blocks.1.v.weight", "blocks.1.o.weight"},
    ),
    "a zero norm in front of a feed-forward": (
        "transformer",
        zeros("blocks.0.mlp.norm.weight"),
        "stuck-saddle",
        {"blocks.0.mlp.norm.weight"},
    ),
    "both halves of twelve adapters": ("adapters", zero_adapters, "stuck-saddle", DOWNS),
}
