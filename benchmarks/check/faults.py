"""Faults put into healthy models; the parameters that were touched are the truth.

Each fault is a function of a subject, which it changes in place, and a generator. It returns the names at fault, or
None where it has no home in the model. It looks at modules by their class and order alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from benchmarks.check.plain import Attention, ConvNet, Experts, LowRank, Recurrent, Residual
from benchmarks.check.subjects import CLASSES, Subject
from torch import Tensor, nn

MAPS = (nn.Linear, nn.Conv2d)


@dataclass(frozen=True)
class Injected:
    """A broken subject.

    Args:
        subject: The model with its fault.
        parameters: The truth: where the fault was put.
        options: What else the check is given, such as an optimizer's rate.
    """

    subject: Subject
    parameters: tuple[str, ...]
    options: dict[str, Any] | None = None


@dataclass(frozen=True)
class Fault:
    """A kind of fault.

    Args:
        code: Its name.
        kind: ``"structural"``: true by construction, or ``"graded"``: its harm is decided by training.
        inject: Puts it into a subject.
        expect: What structural faults do: ``"still"`` parameters never move, ``"twins"`` units stay equal.
    """

    code: str
    kind: str
    inject: Callable[[Subject, torch.Generator], Injected | None]
    expect: str = ""


def maps_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Trained maps in the order of registration."""
    named = dict(model.named_parameters())
    return [
        (n, m)
        for n, m in model.named_modules()
        if isinstance(m, MAPS) and f"{n}.weight" in named and m.weight.requires_grad
    ]


def hidden_of(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Maps that are neither first nor last."""
    return maps_of(model)[1:-1]


def chain_of(model: nn.Module) -> list[nn.Linear | nn.Conv2d] | None:
    """The maps of a network without shortcuts, one after another; None of others."""
    if isinstance(model, nn.Sequential) and all(
        not any(True for _ in m.children()) for m in model
    ):  # no parametrization
        maps = [m for m in model if isinstance(m, MAPS)]
        trained = all(m.weight.requires_grad for m in maps)  # a fault in what is never trained is none of learning
        return maps if len(maps) > 2 and trained else None
    if isinstance(model, ConvNet) and not model.skip:
        return [model.stem, *(m for pair in zip(model.first, model.second, strict=True) for m in pair), model.head]
    return None


def name_of(model: nn.Module, module: nn.Module, leaf: str = "weight") -> str:
    """The full name of a module's parameter."""
    return next(f"{n}.{leaf}" for n, m in model.named_modules() if m is module)


def _zero(module: nn.Module) -> None:
    with torch.no_grad():
        for parameter in module.parameters(recurse=False):
            parameter.zero_()


def zero_hidden(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None or not any(isinstance(m, nn.ReLU) for m in subject.model.modules()):
        return None
    _zero(chain[1])
    return Injected(subject, (name_of(subject.model, chain[1]),))


def zero_all(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None:
        return None
    for layer in chain:
        _zero(layer)
    return Injected(subject, tuple(name_of(subject.model, layer) for layer in chain))


def two_zero_maps(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None:
        return None
    for layer in chain[-2:]:
        _zero(layer)
    return Injected(subject, tuple(name_of(subject.model, layer) for layer in chain[-2:]))


def both_zero_low_rank(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if isinstance(model, LowRank):
        _zero(model.down[1])
        return Injected(subject, (name_of(model, model.down[1]), name_of(model, model.up[1])))
    found = [(n, p) for n, p in model.named_parameters() if "lora_A" in n]
    if not found:
        return None
    with torch.no_grad():
        found[0][1].zero_()
    return Injected(subject, (found[0][0], found[0][0].replace("lora_A", "lora_B")))


def zero_gate_zero_branch(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if isinstance(model, Residual) and len(model.scales):
        with torch.no_grad():
            model.scales[1].zero_()
        _zero(model.down[1])
        return Injected(subject, ("scales.1", "down.1.weight"))
    if isinstance(model, Attention) and len(model.gates):
        _zero(model.out[0])
        return Injected(subject, ("gates.0", "out.0.weight"))
    return None


_QUERY = ("q_proj", "query", "q_lin", "q")
_KEY = ("k_proj", "key", "k_lin", "k")


def _query_key(model: nn.Module) -> tuple[Any, Any] | None:
    """The first query and key maps that stand beside each other."""
    if isinstance(model, Attention):
        return model.query[0], model.key[0]
    for module in model.modules():
        children = dict(module.named_children())
        query = next((children[n] for n in _QUERY if isinstance(children.get(n), nn.Linear)), None)
        key = next((children[n] for n in _KEY if isinstance(children.get(n), nn.Linear)), None)
        if query is not None and key is not None and query.weight.requires_grad:
            return query, key
    return None


def _packed(model: nn.Module) -> tuple[str, nn.Module, int] | None:
    """The first packed map of query, key and value, and the dim along which they lie."""
    for name, module in model.named_modules():
        leaf = name.rpartition(".")[2]
        if leaf in {"qkv", "c_attn"} and hasattr(module, "weight") and module.weight.requires_grad:
            dim = 0 if isinstance(module, nn.Linear) else 1
            if module.weight.shape[dim] == 3 * module.weight.shape[1 - dim]:
                return name, module, dim
    return None


def query_key_zero(subject: Subject, generator: torch.Generator) -> Injected | None:
    pair = _query_key(subject.model)
    if pair is not None:
        for module in pair:
            _zero(module)
        return Injected(subject, tuple(name_of(subject.model, module) for module in pair))
    packed = _packed(subject.model)
    if packed is None:
        return None
    name, module, dim = packed
    third = module.weight.shape[dim] // 3
    with torch.no_grad():
        module.weight.narrow(dim, 0, 2 * third).zero_()
        if getattr(module, "bias", None) is not None:
            module.bias[: 2 * third].zero_()
    return Injected(subject, (f"{name}.weight",))


def zero_gamma_no_skip(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if not isinstance(model, ConvNet) or not isinstance(model.norms2[0], nn.BatchNorm2d):
        return None
    model.skip = False
    with torch.no_grad():
        for norm in model.norms2:
            norm.weight.fill_(1.0)
        model.norms2[-1].weight.zero_()
    return Injected(subject, (f"norms2.{len(model.norms2) - 1}.weight",))


def dead_by_bias(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    has_flat = any(isinstance(m, nn.ReLU) for m in subject.model.modules()) or isinstance(subject.model, ConvNet)
    has_norm = any(isinstance(m, nn.BatchNorm1d | nn.LayerNorm) for m in subject.model.modules())
    if chain is None or not has_flat or has_norm or chain[1].bias is None:
        return None
    with torch.no_grad():
        chain[1].bias.fill_(-100.0)
    return Injected(subject, (name_of(subject.model, chain[1], "bias"),))


def _constant(layer: nn.Module, value: float) -> None:
    with torch.no_grad():
        layer.weight.fill_(value / layer.weight[0].numel() ** 0.5)
        if layer.bias is not None:
            layer.bias.zero_()


def constant_pair(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None:
        return None
    for layer in chain[:2]:
        _constant(layer, 0.5)
    return Injected(subject, tuple(name_of(subject.model, layer) for layer in chain[:2]))


def constant_everywhere(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None:
        return None
    for layer in chain:
        _constant(layer, 0.5)
    return Injected(subject, tuple(name_of(subject.model, layer) for layer in chain))


def duplicated_units(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None or chain[1].weight.shape[1] != chain[0].weight.shape[0]:
        return None
    half = chain[0].weight.shape[0] // 2
    with torch.no_grad():
        chain[0].weight[half:] = chain[0].weight[:half]
        if chain[0].bias is not None:
            chain[0].bias[half:] = chain[0].bias[:half]
        chain[1].weight[:, half:] = chain[1].weight[:, :half]
    return Injected(subject, (name_of(subject.model, chain[0]), name_of(subject.model, chain[1])))


def class_sums(subject: Subject, generator: torch.Generator) -> Injected | None:
    """Units of the second map whose weights differ, and agree in sums over twins of the first."""
    model = subject.model
    chain = chain_of(model)
    if not isinstance(model, nn.Sequential) or chain is None or len(chain) != 3 or len(model) != 5:
        return None
    if chain[1].weight.shape != (32, 32):
        return None
    first, second, third = (layer.weight for layer in chain)
    with torch.no_grad():
        for weight in (first, second, third):
            weight.copy_((weight * 64).round() / 64)
        first[16:] = first[:16]
        second[16:, :16], second[16:, 16:] = second[:16, 16:].clone(), second[:16, :16].clone()
        third[:, 16:] = third[:, :16]
        for layer in chain[:2]:
            layer.bias.zero_()
    return Injected(subject, tuple(name_of(model, layer) for layer in chain[:2]))


def constant_recurrent(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if not isinstance(model, Recurrent):
        return None
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.1)
    return Injected(subject, tuple(f"rnn.{n}" for n, _ in model.rnn.named_parameters() if "weight" in n))


def copied_heads(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if not isinstance(model, Attention) or len(model.gates):
        return None
    width = model.query[0].weight.shape[0] // 4
    with torch.no_grad():
        for maps in (model.query, model.key, model.value):
            maps[0].weight[width : 2 * width] = maps[0].weight[:width]
            maps[0].bias[width : 2 * width] = maps[0].bias[:width]
        model.out[0].weight[:, width : 2 * width] = model.out[0].weight[:, :width]
    return Injected(subject, tuple(f"{n}.0.weight" for n in ("query", "key", "value", "out")))


def copied_experts(subject: Subject, generator: torch.Generator) -> Injected | None:
    model = subject.model
    if not isinstance(model, Experts):
        return None
    with torch.no_grad():
        model.up[1:] = model.up[0]
        model.down[1:] = model.down[0]
        model.router.weight[1:] = model.router.weight[0]
    model.__class__ = DenseExperts
    return Injected(subject, ("up", "down", "router.weight"))


class DenseExperts(Experts):
    """Every expert, weighed: ties in a choice have no order."""

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.nn.functional.gelu(torch.einsum("nd,edh->neh", x, self.up))
        out = torch.einsum("neh,ehd->ned", hidden, self.down)
        return self.head(x + (self.router(x).softmax(-1)[..., None] * out).sum(1))


class NormalizedExperts(Experts):
    def forward(self, x: Tensor) -> Tensor:
        weights, chosen = self.router(x).softmax(-1).topk(1)
        weights = weights / weights.sum(-1, keepdim=True)
        hidden = torch.nn.functional.gelu(torch.einsum("nd,edh->neh", x, self.up))
        out = torch.einsum("neh,ehd->ned", hidden, self.down)
        picked = out.gather(1, chosen[..., None].expand(-1, -1, 16))
        return self.head(x + (weights[..., None] * picked).sum(1))


def normalized_router(subject: Subject, generator: torch.Generator) -> Injected | None:
    if type(subject.model) is not Experts or subject.model.top != 1:
        return None
    subject.model.__class__ = NormalizedExperts
    return Injected(subject, ("router.weight",))


class Detached(nn.Module):
    """A module whose output carries no gradient."""

    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.inner(*args, **kwargs)


def detached_branch(subject: Subject, generator: torch.Generator) -> Injected | None:
    hidden = hidden_of(subject.model)
    if not hidden or any(n.startswith("base_model") for n, _ in hidden):
        return None
    name, module = hidden[len(hidden) // 2]
    owner, _, leaf = name.rpartition(".")
    setattr(subject.model.get_submodule(owner), leaf, Detached(module))
    wrapped = f"{name}.inner.weight"
    return Injected(subject, (wrapped, *((f"{name}.inner.bias",) if module.bias is not None else ())))


# Graded: true to a degree, and harmful or not by training.


def dead_units(subject: Subject, generator: torch.Generator) -> Injected | None:
    broken = dead_by_bias(subject, generator)
    if broken is None:
        return None
    chain = chain_of(subject.model) or []
    off = torch.rand(len(chain[1].bias), generator=generator) < 0.7
    with torch.no_grad():
        chain[1].bias.copy_(torch.where(off, -100.0, 0.0))
    return broken


def _scaled_hidden(factor: float) -> Callable[[Subject, torch.Generator], Injected | None]:
    def inject(subject: Subject, generator: torch.Generator) -> Injected | None:
        chain = chain_of(subject.model)
        if chain is None:
            return None
        with torch.no_grad():
            for layer in chain[:-1]:
                layer.weight.mul_(factor)
        return Injected(subject, tuple(name_of(subject.model, layer) for layer in chain[:-1]))

    return inject


def _deep(activation: type[nn.Module]) -> Callable[[Subject, torch.Generator], Injected | None]:
    def inject(subject: Subject, generator: torch.Generator) -> Injected | None:
        model = subject.model
        if chain_of(model) is None or not isinstance(model, nn.Sequential) or isinstance(model[0], nn.Conv2d):
            return None
        if not any(isinstance(m, activation) for m in model) or any(
            isinstance(m, nn.LayerNorm | nn.BatchNorm1d) for m in model
        ):
            return None
        with torch.random.fork_rng():
            torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
            layers = [m for _ in range(30) for m in (nn.Linear(32, 32), activation())]
        deep = nn.Sequential(model[0], activation(), *layers, model[-1])
        names = tuple(f"{i}.weight" for i, m in enumerate(deep[:-1]) if isinstance(m, nn.Linear))
        return Injected(replace(subject, model=deep), names)

    return inject


def saturated(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None or not any(isinstance(m, nn.Tanh) for m in subject.model.modules()):
        return None
    if any(hasattr(m, "parametrizations") for m in subject.model.modules()):
        return None
    with torch.no_grad():
        chain[0].weight.mul_(100.0)
    return Injected(subject, (name_of(subject.model, chain[0]),))


def rank_one(subject: Subject, generator: torch.Generator) -> Injected | None:
    chain = chain_of(subject.model)
    if chain is None or not isinstance(chain[1], nn.Linear):
        return None
    with torch.no_grad():
        size = chain[1].weight.square().mean().sqrt()
        left, right = (torch.randn(n, 1, generator=generator) for n in chain[1].weight.shape)
        chain[1].weight.copy_(size * left @ right.T)
        chain[1].bias.zero_()
    return Injected(subject, (name_of(subject.model, chain[1]),))


def huge_scores(subject: Subject, generator: torch.Generator) -> Injected | None:
    pair = _query_key(subject.model)
    if pair is None:
        return None
    with torch.no_grad():
        for module in pair:
            module.weight.mul_(100.0 / (module.weight.norm() / module.weight.shape[1] ** 0.5).clamp_min(1e-3) / 4)
    return Injected(subject, tuple(name_of(subject.model, module) for module in pair))


def head_size(subject: Subject, generator: torch.Generator) -> Injected | None:
    heads = [(n, m) for n, m in maps_of(subject.model) if isinstance(m, nn.Linear) and m.out_features in {CLASSES, 96}]
    if not heads or not bool(heads[-1][1].weight.any()):
        return None
    head = heads[-1]
    if subject.loss.__name__ not in {"classify", "own"}:
        return None
    with torch.no_grad():
        head[1].weight.mul_(50.0)
    return Injected(subject, (f"{head[0]}.weight",))


class Softened(nn.Module):
    def __init__(self, inner: nn.Module):
        super().__init__()
        self.inner = inner

    def forward(self, x: Any) -> Tensor:
        return self.inner(x).softmax(-1)


def double_softmax(subject: Subject, generator: torch.Generator) -> Injected | None:
    if subject.loss.__name__ != "classify":
        return None
    heads = [n for n, m in maps_of(subject.model) if isinstance(m, nn.Linear) and m.out_features == CLASSES]
    return Injected(replace(subject, model=Softened(subject.model)), (f"inner.{heads[-1]}.weight",)) if heads else None


def embedding_size(subject: Subject, generator: torch.Generator) -> Injected | None:
    tables = [(n, m) for n, m in subject.model.named_modules() if isinstance(m, nn.Embedding)]
    tied = [
        (n, m)
        for n, m in tables
        if sum(p is m.weight for _, p in subject.model.named_parameters(remove_duplicate=False)) > 1
    ]
    if not tied or not tied[0][1].weight.requires_grad:
        return None
    with torch.no_grad():
        tied[0][1].weight.normal_(generator=generator)
    return Injected(subject, (f"{tied[0][0]}.weight",))


def rate(factor: float) -> Callable[[Subject, torch.Generator], Injected | None]:
    def inject(subject: Subject, generator: torch.Generator) -> Injected | None:
        if subject.loss.__name__ not in {"classify", "regress"} or not maps_of(subject.model):
            return None
        return Injected(subject, (), {"lr": factor})

    return inject


FAULTS = [
    Fault("zero-hidden", "structural", zero_hidden, "still"),
    Fault("zero-all", "structural", zero_all, "still"),
    Fault("two-zero-maps", "structural", two_zero_maps, "still"),
    Fault("both-zero-low-rank", "structural", both_zero_low_rank, "still"),
    Fault("zero-gate-zero-branch", "structural", zero_gate_zero_branch, "still"),
    Fault("query-key-zero", "structural", query_key_zero, "still"),
    Fault("zero-gamma-no-skip", "structural", zero_gamma_no_skip, "still"),
    Fault("dead-by-bias", "structural", dead_by_bias, "still"),
    Fault("constant-pair", "structural", constant_pair, "twins"),
    Fault("constant-everywhere", "structural", constant_everywhere, "twins"),
    Fault("duplicated-units", "structural", duplicated_units, "twins"),
    Fault("class-sum-duplicates", "structural", class_sums, "twins"),
    Fault("constant-recurrent", "structural", constant_recurrent, "twins"),
    Fault("copied-heads", "structural", copied_heads, "twins"),
    Fault("copied-experts", "structural", copied_experts, "twins"),
    Fault("normalized-router", "structural", normalized_router, "still"),
    Fault("detached-branch", "structural", detached_branch, "still"),
    Fault("dead-units-70", "graded", dead_units),
    Fault("gain-0.2", "graded", _scaled_hidden(0.2)),
    Fault("gain-10", "graded", _scaled_hidden(10.0)),
    Fault("deep-plain-relu", "graded", _deep(nn.ReLU)),
    Fault("deep-plain-tanh", "graded", _deep(nn.Tanh)),
    Fault("saturated", "graded", saturated),
    Fault("rank-one", "graded", rank_one),
    Fault("huge-scores", "graded", huge_scores),
    Fault("head-size", "graded", head_size),
    Fault("double-softmax", "graded", double_softmax),
    Fault("tied-embedding-size", "graded", embedding_size),
    Fault("rate-10", "graded", rate(10.0)),
    Fault("rate-0.3", "graded", rate(0.3)),
]
