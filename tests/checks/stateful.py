"""Models that keep something, share something, or cannot be copied."""

import copy
import threading
import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import prune
from torch.utils.checkpoint import checkpoint

D = 6


def plain():
    return nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.ReLU(), nn.Dropout(0.3), nn.Linear(D, 3))


def with_gradients():
    model = plain()
    model(torch.randn(8, D)).square().mean().backward()
    return model


def partly_in_eval_mode():
    model = plain().eval()
    model[1].train()
    return model


class Uncopyable(nn.Module):
    """A lock cannot be copied, so stand-ins take the place of its tensors while it runs itself."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()
        self.inner, self.norm, self.head = nn.Linear(D, D), nn.BatchNorm1d(D), nn.Linear(D, 3)
        self.register_buffer("average", torch.zeros(D))
        self.calls, self.last = 0, None
        self.inner.weight.requires_grad_(False)

    def forward(self, x):
        with self.lock:
            x = self.norm(self.inner(x))
            self.average.mul_(0.9).add_(0.1 * x.detach().mean(0))
            self.calls, self.last = self.calls + 1, x
            return self.head(torch.tanh(x) + self.average)


def uncopyable_with_gradients():
    model = Uncopyable()
    model(torch.randn(8, D)).square().mean().backward()
    return model


class Keeping(nn.Module):
    """Writes to plain attributes, tensors among them, and to lists and dicts."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 3)
        self.mean, self.kept, self.log = torch.zeros(D), [], {"norm": torch.zeros(())}

    def forward(self, x):
        x = self.inner(x)
        self.mean.lerp_(x.detach().mean(0), 0.5)
        self.kept.append(x)
        self.log["norm"] = x.detach().norm()
        self.log["norm"].mul_(2.0)
        return self.head(x - self.mean)


class Average(nn.Module):
    """Replaces a buffer instead of writing to it, and counts in an integer buffer."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 3)
        self.register_buffer("average", torch.ones(D))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x):
        x = self.inner(x)
        self.average = 0.9 * self.average + 0.1 * x.detach().mean(0)
        self.count += 1
        return self.head(x - self.average)


def closure():
    """forward is an attribute that reaches the model itself."""
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 3))
    steps = list(model)
    model.forward = lambda x: steps[2](steps[1](steps[0](x)))
    return model


def closure_with_gradients():
    model = closure()
    model(torch.randn(8, D)).square().mean().backward()
    return model


def in_inference_tensors():
    with torch.inference_mode():
        return nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D), nn.Tanh(), nn.Linear(D, 3))


def compiled():
    return torch.compile(plain(), backend="eager")


def compiled_in_place():
    model = plain()
    model.compile(backend="eager")
    return model


def data_parallel():
    return nn.DataParallel(plain())


class Checkpointed(nn.Module):
    def __init__(self, reentrant):
        super().__init__()
        self.inner, self.middle, self.head = nn.Linear(D, D), nn.Linear(D, D), nn.Linear(D, 3)
        self.drop, self.reentrant = nn.Dropout(0.5), reentrant

    def forward(self, x):
        x = torch.tanh(self.inner(x))
        x = checkpoint(lambda t: self.drop(torch.tanh(self.middle(t))), x, use_reentrant=self.reentrant)
        return self.head(x)


def tied():
    model = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D), nn.Tanh(), nn.Linear(D, 3))
    model[2].weight = model[0].weight
    return model


def frozen():
    model = plain()
    model[0].requires_grad_(False)
    return model


def spectral():
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(D, D)), nn.Tanh(), nn.Linear(D, 3))


def weight_normed():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(D, D)), nn.Tanh(), nn.Linear(D, 3))


def parametrized():
    first = nn.utils.parametrizations.spectral_norm(nn.utils.parametrizations.weight_norm(nn.Linear(D, D)))
    return nn.Sequential(first, nn.Tanh(), nn.utils.parametrizations.orthogonal(nn.Linear(D, 3)))


def pruned():
    layer = prune.random_unstructured(nn.Linear(D, D), "weight", 0.3)
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(D, 3))


def recurrent():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(D, D, num_layers=2, dropout=0.2, batch_first=True), nn.Linear(D, 3)

        def forward(self, x):
            return self.head(self.lstm(x[:, None].expand(-1, 3, -1))[0][:, -1])

    return Recurrent()


def double():
    return plain().double()


def bfloat16():
    return plain().bfloat16()


def half():
    return nn.Sequential(nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 3)).half()


def hooked():
    """User hooks of every kind, each of which would raise."""
    model = plain()

    def never(*_args, **_kwargs):
        raise AssertionError("a user's hook was called")

    model.register_forward_hook(never)
    model[0].register_forward_pre_hook(never)
    model[0].register_forward_hook(never, with_kwargs=True)
    model[2].register_full_backward_hook(never)
    model[2].register_full_backward_pre_hook(never)
    model[0].weight.register_hook(never)
    model[4].weight.register_post_accumulate_grad_hook(never)
    model.register_state_dict_post_hook(never)
    model.register_state_dict_pre_hook(never)
    model.register_load_state_dict_pre_hook(never)
    model.register_load_state_dict_post_hook(never)
    return model


def hooked_uncopyable():
    model = Uncopyable()

    def never(*_args, **_kwargs):
        raise AssertionError("a user's hook was called")

    model.register_forward_hook(never)
    model.inner.register_forward_pre_hook(never)
    model.head.register_full_backward_hook(never)
    model.head.weight.register_hook(never)
    return model


class OwnCopy(nn.Module):
    """Keeps what its own copy shares with it."""

    def __init__(self):
        super().__init__()
        self.inner, self.head = nn.Linear(D, D), nn.Linear(D, 3)
        self.shared = torch.zeros(3)

    def __deepcopy__(self, memo):
        made = OwnCopy()
        memo[id(self)] = made
        made.inner, made.head = copy.deepcopy(self.inner, memo), copy.deepcopy(self.head, memo)
        made.shared = self.shared
        return made

    def forward(self, x):
        self.shared += 1.0
        return self.head(F.relu(self.inner(x))) + 0.0 * self.shared


MODELS = {
    "a plain net": plain,
    "a net with gradients": with_gradients,
    "a net partly in eval mode": partly_in_eval_mode,
    "a net that cannot be copied": Uncopyable,
    "a net with gradients that cannot be copied": uncopyable_with_gradients,
    "plain attributes that a forward writes to": Keeping,
    "buffers that a forward replaces": Average,
    "a closure": closure,
    "a closure with gradients": closure_with_gradients,
    "inference tensors": in_inference_tensors,
    "torch.compile": compiled,
    "a module compiled in place": compiled_in_place,
    "DataParallel": data_parallel,
    "reentrant checkpointing": lambda: Checkpointed(True),
    "checkpointing": lambda: Checkpointed(False),
    "tied weights": tied,
    "a frozen layer": frozen,
    "spectral norm by a hook": spectral,
    "weight norm by a hook": weight_normed,
    "parametrizations": parametrized,
    "a pruned layer": pruned,
    "an LSTM": recurrent,
    "float64": double,
    "bfloat16": bfloat16,
    "float16": half,
    "hooks": hooked,
    "hooks of a net that cannot be copied": hooked_uncopyable,
    "a copy that shares": OwnCopy,
}
