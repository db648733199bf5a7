"""Networks of which something never learns, each with what becomes of it and why, derived by hand."""

import torch
import torch.nn.functional as F
from torch import nn

from gated import Case, D, Gated, samples, zero


class Attention(nn.Module):
    """Two heads over five tokens beside a shortcut; maps apart or packed into one."""

    def __init__(self, packed=False, bias=True):
        super().__init__()
        self.packed = packed
        if packed:
            self.qkv = nn.Linear(D, 3 * D, bias=bias)
        else:
            self.q, self.k, self.v = (nn.Linear(D, D, bias=bias) for _ in range(3))
        self.o, self.head = nn.Linear(D, D, bias=bias), nn.Linear(D, 4)

    def forward(self, x):
        q, k, v = self.qkv(x).chunk(3, -1) if self.packed else (self.q(x), self.k(x), self.v(x))
        q, k, v = (t.unflatten(-1, (2, D // 2)).transpose(1, 2) for t in (q, k, v))
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.head((x + self.o(mixed)).mean(1))


def tokens(n=16, seed=1):
    x, y = samples(n, 5 * D, seed=seed)
    return x.unflatten(1, (5, D)), y


def zero_query_and_key():
    model = Attention(bias=False)
    zero(model.q, model.k)
    return Case(model, tokens(), nn.CrossEntropyLoss(), closed={"q.weight": "stuck", "k.weight": "stuck"})


def zero_query():
    model = Attention(bias=False)
    zero(model.q)
    return Case(model, tokens(), nn.CrossEntropyLoss(), steps={"k.weight": 2})


def zero_query_and_key_packed():
    """Of a packed map only some units are stuck: the parameter opens, by its values."""
    model = Attention(packed=True, bias=False)
    zero(model.qkv.weight[: 2 * D].data)
    return Case(model, tokens(), nn.CrossEntropyLoss())


def key_bias():
    return Case(Attention(), tokens(), nn.CrossEntropyLoss(), closed={"k.bias": "invariant"})


def zero_map_before_relu():
    model = nn.Sequential(nn.Linear(D, D, bias=False), nn.ReLU(), nn.Linear(D, 4))
    zero(model[0])
    return Case(model, samples(), nn.CrossEntropyLoss(), closed={"0.weight": "stuck", "2.weight": "stuck"})


def dead_by_bias():
    model = nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 4))
    nn.init.constant_(model[2].bias, -100.0)
    closed = dict.fromkeys(["0.weight", "0.bias", "2.weight", "2.bias", "4.weight"], "dead")
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=closed)


def saturated_sigmoid():
    """sigmoid(-1000) is 0 even in float64, and so is its slope."""
    model = nn.Sequential(nn.Linear(D, D), nn.Sigmoid(), nn.Linear(D, 4))
    nn.init.constant_(model[0].bias, -1000.0)
    closed = dict.fromkeys(["0.weight", "0.bias", "2.weight"], "dead")
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=closed)


def saturated_tanh():
    """tanh(1000) is 1 even in float64, so its slope is 0; what comes after still learns."""
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 4))
    nn.init.constant_(model[0].bias, 1000.0)
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=dict.fromkeys(["0.weight", "0.bias"], "dead"))


class Branched(nn.Module):
    """A branch beside a shortcut, passed through a function on its way."""

    def __init__(self, through):
        super().__init__()
        self.branch, self.head, self.through = nn.Linear(D, D), nn.Linear(D, 4), through

    def forward(self, x):
        return self.head(x + self.through(self.branch, x))


def _behind_detach(branch, x):
    return branch(x).detach()


def _behind_no_grad(branch, x):
    with torch.no_grad():
        return branch(x)


def _behind_argmax(branch, x):
    return F.one_hot(branch(x).argmax(-1), D).to(x.dtype)


def _not_at_all(_branch, x):
    return torch.zeros_like(x)


def _times_zero(branch, x):
    return 0.0 * branch(x)


def _rounded(branch, x):
    return branch(x).round()


def _branched(through, fate):
    closed = dict.fromkeys(["branch.weight", "branch.bias"], fate)
    return Case(Branched(through), samples(), nn.CrossEntropyLoss(), closed=closed)


class NormedMap(nn.Module):
    def __init__(self, norm):
        super().__init__()
        self.map, self.norm, self.head = nn.Linear(D, D), norm, nn.Linear(D, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.map(x))))


def bias_before_batch_norm():
    return Case(NormedMap(nn.BatchNorm1d(D)), samples(), nn.CrossEntropyLoss(), closed={"map.bias": "invariant"})


class MeanShift(nn.Module):
    """A single number added before a layer norm, which takes the mean away."""

    def __init__(self):
        super().__init__()
        self.map, self.shift = nn.Linear(D, D), nn.Parameter(torch.zeros(1))
        self.norm, self.head = nn.LayerNorm(D), nn.Linear(D, 4)

    def forward(self, x):
        return self.head(torch.tanh(self.norm(self.map(x) + self.shift)))


def shift_before_layer_norm():
    return Case(MeanShift(), samples(), nn.CrossEntropyLoss(), closed={"shift": "invariant"})


class Experts(nn.Module):
    """Experts beside a shortcut. The weights of the chosen ones sum to one if they are normalized."""

    def __init__(self, top=1, normalized=True, experts=3):
        super().__init__()
        self.router = nn.Linear(D, experts, bias=False)
        self.experts = nn.ModuleList(nn.Linear(D, D) for _ in range(experts))
        self.head, self.top, self.normalized = nn.Linear(D, 4), top, normalized

    def forward(self, x):
        weights, chosen = self.router(x).softmax(-1).topk(self.top, -1)
        if self.normalized:
            weights = weights / weights.sum(-1, keepdim=True)
        out = torch.zeros_like(x)
        for index, expert in enumerate(self.experts):
            rows, place = (chosen == index).nonzero(as_tuple=True)
            if len(rows):
                out = out.index_add(0, rows, torch.tanh(expert(x[rows])) * weights[rows, place, None])
        return self.head(x + out)


def normalized_top_1_router():
    return Case(Experts(), samples(24), nn.CrossEntropyLoss(), closed={"router.weight": "invariant"})


def top_1_router():
    return Case(Experts(normalized=False), samples(24), nn.CrossEntropyLoss())


def an_expert_that_the_batch_does_not_reach():
    model = Experts(top=2, experts=4)
    x, y = samples(24)
    with torch.no_grad():
        x[:, 0] = x[:, 0].abs() + 3.0
        model.router.weight[:, 0] = torch.tensor([1.0, 1.0, 1.0, -5.0])
    closed = {"experts.3.weight": "unused", "experts.3.bias": "unused"}
    return Case(model, (x, y), nn.CrossEntropyLoss(), closed=closed)


class Words(nn.Module):
    def __init__(self, padding=None):
        super().__init__()
        self.table, self.head = nn.Embedding(20, D, padding_idx=padding), nn.Linear(D, 4)

    def forward(self, ids):
        return self.head(torch.tanh(self.table(ids)).mean(1))


def absent_words():
    ids = torch.randint(0, 10, (16, 5), generator=torch.Generator().manual_seed(2))
    return Case(Words(), (ids, samples()[1]), nn.CrossEntropyLoss())


def padded_words():
    ids = torch.randint(0, 10, (16, 5), generator=torch.Generator().manual_seed(2))
    ids[:, 3:] = 0
    return Case(Words(padding=0), (ids, samples()[1]), nn.CrossEntropyLoss())


def deep(depth, gain, activation=nn.Tanh):
    """A plain stack whose signal shrinks by the gain at each layer."""
    layers = []
    for _ in range(depth):
        layers += [nn.Linear(D, D, bias=False), activation()]
        nn.init.orthogonal_(layers[-2].weight, gain)
    return Case(nn.Sequential(*layers, nn.Linear(D, 4)), samples(), nn.CrossEntropyLoss())


def gate_times_zero_branch():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.scale, self.head = nn.Linear(D, D), nn.Parameter(torch.zeros(D)), nn.Linear(D, 4)

        def forward(self, x):
            return self.head(x + self.scale * self.map(x))

    model = Scaled()
    zero(model.map)
    closed = dict.fromkeys(["map.weight", "map.bias", "scale"], "stuck")
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=closed)


def zero_down_and_up_without_bias():
    model = Gated(activation=torch.relu)
    zero(model.up, model.down)
    closed = dict.fromkeys(["gate.weight", "up.weight", "down.weight"], "stuck")
    return Case(model, samples(), nn.CrossEntropyLoss(), closed=closed)


CLOSED = {
    "query and key zero": zero_query_and_key,
    "a zero map before ReLU": zero_map_before_relu,
    "a zero scale on a zero map": gate_times_zero_branch,
    "zero up and down of a gated map": zero_down_and_up_without_bias,
    "ReLU dead by its bias": dead_by_bias,
    "a saturated sigmoid": saturated_sigmoid,
    "a saturated tanh": saturated_tanh,
    "detach": lambda: _branched(_behind_detach, "detached"),
    "no_grad": lambda: _branched(_behind_no_grad, "detached"),
    "argmax": lambda: _branched(_behind_argmax, "detached"),
    "an unused branch": lambda: _branched(_not_at_all, "unused"),
    "rounding": lambda: _branched(_rounded, "invariant"),
    "a constant zero factor": lambda: _branched(_times_zero, "invariant"),
    "the bias of a key": key_bias,
    "a bias before batch norm": bias_before_batch_norm,
    "a shift before layer norm": shift_before_layer_norm,
    "a normalized top-1 router": normalized_top_1_router,
    "an expert that the batch does not reach": an_expert_that_the_batch_does_not_reach,
}

ALIVE = {
    "a zero query": zero_query,
    "a top-1 router": top_1_router,
    "words that the batch lacks": absent_words,
    "words and padding": padded_words,
    "30 layers of gain 0.5": lambda: deep(30, 0.5),
    "100 layers of gain 0.5": lambda: deep(100, 0.5),
    "60 layers of gain 0.05, whose gradients are 0 in float32": lambda: deep(60, 0.05),
}
