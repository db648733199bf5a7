"""Small models for the checks, healthy and broken, each with what it is asked to learn."""

import torch
import torch.nn.functional as F
from torch import nn

CLASSES, INPUTS, WIDTH = 4, 16, 32
CRITERION = nn.CrossEntropyLoss()


def vectors(n=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, INPUTS, generator=generator)
    return x, (2 * (x[:, 0] > 0) + (x[:, 1] > 0)).long()


def words(n=32, length=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, length, INPUTS, generator=generator)
    return x, (2 * (x[:, 0, 0] > 0) + (x[:, 1, 0] > 0)).long()


def images(n=16, seed=0):
    return torch.randn(n, 3, 8, 8, generator=torch.Generator().manual_seed(seed)), torch.arange(n) % CLASSES


def drawn(model, seed=0):
    """The model with every parameter drawn anew, from one seed: maps He-normal, vectors as they are."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=(2 / parameter[0].numel()) ** 0.5, generator=generator)
    return model


def mlp(activation=nn.ReLU, bias=True, dropout=0.0):
    return drawn(
        nn.Sequential(
            nn.Linear(INPUTS, WIDTH, bias=bias),
            activation(),
            nn.Dropout(dropout),
            nn.Linear(WIDTH, WIDTH, bias=bias),
            activation(),
            nn.Linear(WIDTH, CLASSES, bias=bias),
        )
    )


def zero(*tensors):
    for tensor in tensors:
        nn.init.zeros_(tensor)


def filled(value, *layers):
    for layer in layers:
        nn.init.constant_(layer.weight, value)
        nn.init.zeros_(layer.bias)


class Adapted(nn.Module):
    def __init__(self, zeros):
        super().__init__()
        self.base, self.head = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.down, self.up = nn.Linear(INPUTS, 4, bias=False), nn.Linear(4, WIDTH, bias=False)
        drawn(self)
        for name in zeros:
            zero(getattr(self, name).weight)

    def forward(self, x):
        return self.head(torch.tanh(self.base(x) + self.up(self.down(x))))


class Gated(nn.Module):
    """So many zero gates in a row in front of one map: it opens one step behind the last of them."""

    def __init__(self, num_gates):
        super().__init__()
        self.stem, self.map, self.head = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.gates = nn.ParameterList([nn.Parameter(torch.zeros(())) for _ in range(num_gates)])
        drawn(self)

    def forward(self, x):
        x = h = torch.tanh(self.stem(x))
        branch = torch.tanh(self.map(h))
        for gate in self.gates[:-1]:  # each gate adds to what passes it, but for the last
            branch = gate * branch + 0.0 * h
        return self.head(x + (self.gates[-1] * branch if len(self.gates) else branch))


class Chain(nn.Module):
    """Maps of which each is zero and lies behind a zero: h + a(h + b(h + c(h))) with a, b, c zero opens 1, 2, 3."""

    def __init__(self, depth):
        super().__init__()
        self.stem, self.head = nn.Linear(INPUTS, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.maps = nn.ModuleList([nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(depth)])
        drawn(self)
        zero(*(layer.weight for layer in self.maps))

    def forward(self, x):
        h = torch.tanh(self.stem(x))
        inner = torch.tanh(h)
        for layer in self.maps:
            inner = layer(inner + h)
        return self.head(h + inner)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(INPUTS, INPUTS) for _ in range(3))
        self.out, self.head = nn.Linear(INPUTS, INPUTS), nn.Linear(INPUTS, CLASSES)
        drawn(self)

    def forward(self, x):
        mixed = F.scaled_dot_product_attention(self.query(x), self.key(x), self.value(x))
        return self.head((x + self.out(mixed)).mean(1))


class Routed(nn.Module):
    """Experts of which the best is taken; its weight is its score, or that divided by itself."""

    def __init__(self, normalized):
        super().__init__()
        self.router = nn.Linear(INPUTS, 3, bias=False)
        self.experts = nn.ModuleList([nn.Linear(INPUTS, WIDTH) for _ in range(3)])
        self.head, self.normalized = nn.Linear(WIDTH, CLASSES), normalized
        drawn(self)

    def forward(self, x):
        best, chosen = self.router(x).softmax(-1).max(-1)
        best = best / best if self.normalized else best
        out = torch.stack([expert(x) for expert in self.experts], 1)
        return self.head(torch.relu(out[torch.arange(len(x)), chosen] * best[:, None]))


class ResNet(nn.Module):
    def __init__(self, skip=True, gamma=0.0):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.Conv2d(8, 8, 3, padding=1, bias=False)
        self.norm1, self.norm2, self.head = nn.BatchNorm2d(8), nn.BatchNorm2d(8), nn.Linear(8, CLASSES)
        self.skip = skip
        drawn(self)
        nn.init.constant_(self.norm2.weight, gamma)

    def forward(self, x):
        x = torch.relu(self.norm1(self.conv1(x)))
        branch = self.norm2(self.conv2(x))
        return self.head(torch.relu(x + branch if self.skip else branch).mean((2, 3)))


class Recurrent(nn.Module):
    def __init__(self, value=None):
        super().__init__()
        self.rnn, self.head = nn.LSTM(INPUTS, WIDTH, batch_first=True), nn.Linear(WIDTH, CLASSES)
        for parameter in self.parameters() if value is not None else ():
            nn.init.constant_(parameter, value)

    def forward(self, x):
        return self.head(self.rnn(x)[0][:, -1])
