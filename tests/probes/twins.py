"""Networks with units that are equal, for ever or only at first, with the classes that a derivation by hand gives."""

import math

import torch
import torch.nn.functional as F
from closed import Attention, tokens
from torch import nn

from gated import Case, D, Gated, images, regression, samples, zero


def half_and_half(layer_in, layer_out, bias=True):
    """Copy the first half of some units to the second half, in what they are given and in what they give."""
    with torch.no_grad():
        half = layer_in.weight.shape[0] // 2
        layer_in.weight[half:] = layer_in.weight[:half]
        if bias and layer_in.bias is not None:
            layer_in.bias[half:] = layer_in.bias[:half]
        layer_out.weight[:, half:] = layer_out.weight[:, :half]


def constant(*layers, value=0.1):
    for layer in layers:
        for parameter in layer.parameters():
            nn.init.constant_(parameter, value)


def mlp(activation=nn.Tanh, width=D):
    return nn.Sequential(nn.Linear(D, width), activation(), nn.Linear(width, width), activation(), nn.Linear(width, 4))


PAIRS = [(k, k + D // 2) for k in range(D // 2)]


def constant_pair():
    """Equal units in front of equal weights: the second layer's units differ by their own outgoing weights."""
    model = mlp()
    constant(model[0], model[2])
    return Case(model, samples(), nn.CrossEntropyLoss()), {"0.weight": [tuple(range(D))]}


def constant_everywhere():
    """Of two classes, one more often: the head's units differ by their labels, and all before them are one."""
    model = mlp()
    constant(model[0], model[2])
    with torch.no_grad():
        model[4].weight[:] = torch.tensor([[0.1], [0.2], [0.3], [0.4]])
    return Case(model, samples(), nn.CrossEntropyLoss()), {
        "0.weight": [tuple(range(D))],
        "2.weight": [tuple(range(D))],
    }


def duplicated():
    model = mlp()
    half_and_half(model[0], model[2])
    return Case(model, samples(), nn.CrossEntropyLoss()), {"0.weight": PAIRS}


def duplicated_in_relu():
    model = mlp(nn.ReLU)
    nn.init.ones_(model[2].bias)  # no unit is off on all samples, for such a unit is nobody's twin
    half_and_half(model[2], model[4])
    return Case(model, samples(), nn.CrossEntropyLoss()), {"2.weight": PAIRS}


def duplicated_under_a_constant():
    """Without a nonlinearity all units get equal back-signals, and only their activations tell pairs apart."""
    model = mlp(nn.Identity)
    half_and_half(model[0], model[2])
    constant(model[2])
    return Case(model, samples(), nn.CrossEntropyLoss()), {"0.weight": PAIRS}


def equal_in_sums():
    """The second map's halves are swapped on the first one's twins: rows differ, and their sums over twins do not.

    Multiples of 1/64 add up exactly, in whatever order.
    """
    model = mlp()
    with torch.no_grad():
        for layer in (model[0], model[2], model[4]):
            layer.weight.copy_((layer.weight * 64).round() / 64)
            zero(layer.bias)
        half = D // 2
        model[0].weight[half:] = model[0].weight[:half]
        left, right = model[2].weight[:half, :half].clone(), model[2].weight[:half, half:].clone()
        model[2].weight[half:, :half], model[2].weight[half:, half:] = right, left
        model[4].weight[:, half:] = model[4].weight[:, :half]
    return Case(model, samples(), nn.CrossEntropyLoss()), {"0.weight": PAIRS, "2.weight": PAIRS}


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.lstm, self.head = nn.LSTM(D, 3, batch_first=True), nn.Linear(3, 4)

    def forward(self, x):
        return self.head(self.lstm(x)[0][:, -1])


def constant_lstm():
    """Three equal cells under an equal read-out: each of the four gates has one unit."""
    model = Recurrent()
    constant(model.lstm)
    with torch.no_grad():
        model.head.weight[:] = model.head.weight[:, :1]
    gates = [tuple(range(3 * k, 3 * k + 3)) for k in range(4)]
    return Case(model, tokens(), nn.CrossEntropyLoss()), {
        "lstm.weight_ih_l0": gates,
        "lstm.weight_hh_l0": gates,
    }


def copied_heads():
    """Both heads have equal queries, keys and values, and the output map reads them alike."""
    model = Attention()
    with torch.no_grad():
        half = D // 2
        for layer in (model.q, model.k, model.v):
            layer.weight[half:], layer.bias[half:] = layer.weight[:half], layer.bias[:half]
        model.o.weight[:, half:] = model.o.weight[:, :half]
    return Case(model, tokens(), nn.CrossEntropyLoss()), dict.fromkeys(["q.weight", "k.weight", "v.weight"], PAIRS)


class Mixture(nn.Module):
    """Every expert of a stack on every sample, weighted by a router."""

    def __init__(self, experts=3, hidden=5):
        super().__init__()
        self.router = nn.Linear(D, experts, bias=False)
        self.up, self.down = (
            nn.Parameter(torch.randn(experts, D, hidden) / math.sqrt(D)),
            nn.Parameter(torch.randn(experts, hidden, D) / math.sqrt(hidden)),
        )
        self.head = nn.Linear(D, 4)

    def forward(self, x):
        hidden = torch.tanh(torch.bmm(x.expand(len(self.up), *x.shape), self.up))
        weights = self.router(x).softmax(-1)
        mixed = torch.bmm(hidden, self.down)
        return self.head(x + torch.einsum("be,ebd->bd", weights, mixed))


def copied_experts():
    """Two of three experts are equal, and so are their router's rows."""
    model = Mixture()
    with torch.no_grad():
        for parameter in (model.router.weight, model.up, model.down):
            parameter[1] = parameter[0]
    return Case(model, samples(), nn.CrossEntropyLoss()), {
        "router.weight": [(0, 1)],
        "up": [(k, k + 5) for k in range(5)],
        "down": [(k, k + D) for k in range(D)],
    }


class Convolutions(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.head = nn.Linear(width, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))).mean((2, 3)))


def constant_convolutions():
    model = Convolutions()
    constant(model.first, model.second)
    return Case(model, images(), nn.CrossEntropyLoss()), {"first.weight": [tuple(range(6))]}


def copied_gates():
    """A gated map: units are twins where gate and value both are, and the way down reads them alike."""
    model = Gated()
    with torch.no_grad():
        half = D // 2
        for layer in (model.gate, model.up):
            layer.weight[half:] = layer.weight[:half]
        model.down.weight[:, half:] = model.down.weight[:, :half]
    return Case(model, samples(), nn.CrossEntropyLoss()), dict.fromkeys(["gate.weight", "up.weight"], PAIRS)


TWINS = {
    "a constant pair": constant_pair,
    "constant layers under rows of their own": constant_everywhere,
    "duplicated units": duplicated,
    "duplicated units with ReLU": duplicated_in_relu,
    "duplicated units under a constant map": duplicated_under_a_constant,
    "units that are equal in sums over twins": equal_in_sums,
    "a constant LSTM": constant_lstm,
    "copied heads": copied_heads,
    "copied experts": copied_experts,
    "constant convolutions": constant_convolutions,
    "copied units of a gated map": copied_gates,
}


# What is equal at first and told apart by training, or was never the same unit.


def constant_under_random():
    model = mlp()
    constant(model[0])
    return Case(model, samples(), nn.CrossEntropyLoss())


def random_under_constant():
    model = mlp()
    constant(model[2])
    return Case(model, samples(), nn.CrossEntropyLoss())


def zero_head_with_absent_classes():
    """Classes that the batch lacks get equal gradients for ever, from this batch; another one would tell them apart."""
    x, y = samples()
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 9))
    zero(model[2])
    return Case(model, (x, y), nn.CrossEntropyLoss())


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.map, self.head = nn.Embedding(20, D), nn.Linear(D, D), nn.Linear(D, 20, bias=False)

    def forward(self, ids):
        return self.head(torch.tanh(self.map(self.table(ids)))).flatten(0, 1)


def zero_words(which):
    ids = torch.randint(0, 10, (16, 5), generator=torch.Generator().manual_seed(2))
    model = Words()
    zero(getattr(model, which))
    return Case(model, (ids, ids.roll(1, 1).flatten()), None, lambda m, b: F.cross_entropy(m(b[0]), b[1].reshape(-1)))


def word_batch(case):
    ids, target = case.batch
    case.batch = (ids, target.reshape(ids.shape))
    return case


def dirac():
    model = nn.Sequential(
        nn.Conv2d(3, 3, 3, padding=1), nn.Tanh(), nn.Conv2d(3, 3, 3, padding=1), nn.Flatten(), nn.Linear(108, 4)
    )
    nn.init.dirac_(model[0].weight), nn.init.dirac_(model[2].weight)
    return Case(model, images(), nn.CrossEntropyLoss())


def identity():
    model = mlp()
    for k in (0, 2):
        nn.init.eye_(model[k].weight)
        zero(model[k].bias)
    return Case(model, samples(), nn.CrossEntropyLoss())


def hadamard():
    model = mlp()
    two = torch.tensor([[1.0, 1.0], [1.0, -1.0]])
    with torch.no_grad():
        for k in (0, 2):
            model[k].weight.copy_(torch.kron(torch.kron(two, two), two) / math.sqrt(8))
            zero(model[k].bias)
    return Case(model, samples(), nn.CrossEntropyLoss())


def depthwise():
    model = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 4))
    constant(model[0])
    return Case(model, images(), nn.CrossEntropyLoss())


def grouped():
    model = nn.Sequential(nn.Conv2d(4, 4, 1, groups=2), nn.Tanh(), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(144, 4))
    with torch.no_grad():
        model[0].weight[2:], model[0].bias[2:] = model[0].weight[:2], model[0].bias[:2]
    x, y = images()
    return Case(model, (torch.cat([x, x[:, :1] * x[:, 1:2]], 1), y), nn.CrossEntropyLoss())


class Siamese(nn.Module):
    """One tower on two inputs, and two towers with equal weights on different inputs."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 4)
        self.right.load_state_dict(self.left.state_dict())

    def forward(self, x):
        return self.head(torch.tanh(self.left(x)) + torch.tanh(self.right(x.roll(1, 1))) + torch.tanh(self.left(-x)))


def siamese():
    return Case(Siamese(), samples(), nn.CrossEntropyLoss())


def constant_regression_head():
    """Two equal outputs with targets of their own are two units."""
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D))
    constant(model[2])
    return Case(model, regression(), nn.MSELoss())


TRANSIENT = {
    "a constant layer under a random one": constant_under_random,
    "a random layer under a constant one": random_under_constant,
    "a zero head and classes that the batch lacks": zero_head_with_absent_classes,
    "a zero table": lambda: word_batch(zero_words("table")),
    "a zero language model's head": lambda: word_batch(zero_words("head")),
    "Dirac convolutions": dirac,
    "identities": identity,
    "Hadamard matrices": hadamard,
    "equal depthwise filters": depthwise,
    "equal groups": grouped,
    "two towers": siamese,
    "a constant head of a regression": constant_regression_head,
}
