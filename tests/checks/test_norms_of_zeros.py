"""Zeros in front of what divides by their size: norms of activations, and norms of weights."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations, spectral_norm, weight_norm

import exnihilo as xn
from exnihilo.errors import RecipeError
from gated_networks import CRITERION, Residual, pictures, vectors

WIDTH, HEADS, PLACES = 16, 2, 5


class Length(nn.Module):
    def forward(self, x):
        return F.normalize(x, dim=-1)


class ByHand(nn.Module):
    """As Llama and T5 write it."""

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Divided(nn.Module):
    def forward(self, x):
        return (x - x.mean(-1, keepdim=True)) / (x.std(-1, keepdim=True) + 1e-6)


# By what each enlarges the gradient of a query of zeros: one over the root of the epsilon, or one over the epsilon.
NORMS = {
    "LayerNorm": (lambda: nn.LayerNorm(WIDTH // HEADS), 1e-5**-0.5),
    "RMSNorm": (lambda: nn.RMSNorm(WIDTH // HEADS, eps=1e-6), 1e-6**-0.5),
    "by hand": (ByHand, 1e-6**-0.5),
    "divided": (Divided, 1e6),
    "length": (Length, 1e12),
}


class Attending(nn.Module):
    """Two heads, whose queries and keys are normalized, on a stream."""

    def __init__(self, norm=nn.Identity):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.head = nn.Linear(8, WIDTH), nn.Linear(WIDTH, 4)
        self.q, self.k, self.v, self.o = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(4))
        self.of_queries, self.of_keys = norm(), norm()

    def forward(self, x):
        x = self.stem(x)
        q, k, v = (m(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for m in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(self.of_queries(q), self.of_keys(k), v)
        return self.head((x + self.o(mixed.transpose(1, 2).flatten(2))).mean(1))


class Convolved(nn.Module):
    def __init__(self, norm):
        super().__init__()
        torch.manual_seed(0)
        self.stem, self.last, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1), norm
        self.head = nn.Linear(8, 4)

    def forward(self, x):
        x = self.stem(x)
        return self.head((x + self.norm(self.last(torch.relu(x)))).mean((2, 3)))


def tokens():
    torch.manual_seed(1)
    return torch.randn(16, PLACES, 8), torch.arange(16) % 4


def told(model, batch, optimizer=None):
    found = xn.check(model, batch, criterion=CRITERION, optimizer=optimizer)
    return {finding.code: finding for finding in found.with_severity("FAIL", "WARN")}


def zeroed(model, *names, factor=0.0):
    with torch.no_grad():
        for name in names:
            for parameter in model.get_submodule(name).parameters():
                parameter.mul_(factor)
    return model


@pytest.mark.parametrize("name", NORMS)
def test_a_query_of_zeros_in_front_of_a_norm_is_told_with_its_factor(name):
    norm, factor = NORMS[name]
    finding = told(zeroed(Attending(norm), "q"), tokens())["enlarged-gradients"]
    assert (finding.severity, finding.parameters) == ("WARN", ("q.weight",))
    assert f"{factor:,.3g} times" in finding.evidence
    assert finding.remedy.verified == "not found again"


@pytest.mark.parametrize("name", NORMS)
def test_the_factor_is_that_of_the_gradient(name):
    """The oracle: the gradient of a query of zeros with the norm, over that without."""
    norm, factor = NORMS[name]
    x, y = tokens()
    sizes = []
    for kind in (norm, nn.Identity):
        model = zeroed(Attending(kind), "q")
        model.of_keys = nn.Identity()
        CRITERION(model(x), y).backward()
        sizes.append(model.q.weight.grad.norm().item())
    assert sizes[0] / sizes[1] == pytest.approx(factor, rel=0.5)


@pytest.mark.parametrize("norm", [lambda: nn.GroupNorm(2, 8), lambda: nn.BatchNorm2d(8)])
def test_a_convolution_of_zeros_in_front_of_a_norm_is_told(norm):
    finding = told(zeroed(Convolved(norm()), "last"), pictures())["enlarged-gradients"]
    assert finding.parameters == ("last.weight",)
    assert "316 times" in finding.evidence


@pytest.mark.parametrize("factor", [1e-6, 1e-9])
def test_nearly_zero_is_told_too(factor):
    assert "enlarged-gradients" in told(zeroed(Attending(NORMS["RMSNorm"][0]), "q", factor=factor), tokens())


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3)


@pytest.mark.parametrize(
    ("norm", "optimizer", "severity"),
    [("length", sgd, "FAIL"), ("length", adam, "WARN"), ("RMSNorm", sgd, "WARN"), ("RMSNorm", adam, "WARN")],
)
def test_it_fails_where_a_step_of_the_optimizer_throws_the_map_away(norm, optimizer, severity):
    model = zeroed(Attending(NORMS[norm][0]), "q")
    finding = told(model, tokens(), optimizer(model))["enlarged-gradients"]
    assert finding.severity == severity
    # What the finding rests on: after the step no further one changes the map by a thousandth.
    taking = optimizer(model)
    for step in range(2):
        before = model.q.weight.detach().clone()
        taking.zero_grad()
        CRITERION(model(tokens()[0]), tokens()[1]).backward()
        taking.step()
        moved = (model.q.weight - before).norm() / before.norm().clamp_min(1e-30)
        assert step == 0 or (moved < 1e-3) == (severity == "FAIL")


HEALTHY = {
    **{f"{name} of random queries": (lambda name=name: Attending(NORMS[name][0]), tokens) for name in NORMS},
    "a query of zeros without a norm": (lambda: zeroed(Attending(), "q"), tokens),
    "an output map of zeros": (lambda: zeroed(Attending(NORMS["length"][0]), "o"), tokens),
    "a head of zeros": (lambda: zeroed(Attending(NORMS["length"][0]), "head"), tokens),
    "a norm of zero scale": (lambda: zeroed(Convolved(nn.BatchNorm2d(8)), "norm"), pictures),
    "a closed branch without a norm behind": (lambda: zeroed(Convolved(nn.Identity()), "last"), pictures),
    "a small input of usual size": (lambda: zeroed(Attending(NORMS["length"][0]), "q", factor=2e-3), tokens),
    "a norm of small scale": (
        lambda: zeroed(zeroed(Convolved(nn.BatchNorm2d(8)), "last"), "norm", factor=0.1),
        pictures,
    ),
    "a norm of one number": (lambda: nn.Sequential(nn.Linear(8, 1), nn.LayerNorm(1), nn.Linear(1, 4)), vectors),
}


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_models_are_not_told_of(name):
    make, batch = HEALTHY[name]
    assert "enlarged-gradients" not in told(make(), batch())


def mlp(normalize, place=2, zero=True):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    if zero:
        nn.init.zeros_(model[place].weight)
    normalize(model[place])
    return model


WEIGHTS = {
    "weight_norm": (weight_norm, "weight norm", "2.weight_v"),
    "parametrizations.weight_norm": (parametrizations.weight_norm, "weight norm", "2.weight.original1"),
    "spectral_norm": (spectral_norm, "spectral norm", "2.weight_orig"),
    "parametrizations.spectral_norm": (parametrizations.spectral_norm, "spectral norm", "2.weight"),
}
QUIET = pytest.mark.filterwarnings("ignore::FutureWarning")  # torch tells that the older function will go


@QUIET
@pytest.mark.parametrize("name", WEIGHTS)
def test_a_normalized_weight_of_zeros_is_named_first_with_its_cause(name):
    normalize, by, parameter = WEIGHTS[name]
    model = mlp(normalize)
    first = xn.check(model, vectors(), criterion=CRITERION).findings[0]
    assert (first.code, first.severity, first.parameters) == ("not-finite", "FAIL", (parameter,))
    assert first.cause == f"{by} of a zero weight"
    exec(first.remedy.line, {"nn": nn, "model": model})  # it is to be pasted
    assert torch.isfinite(model(vectors()[0])).all()


@QUIET
def test_another_number_that_is_not_finite_keeps_its_own_cause():
    model = mlp(weight_norm, zero=False)
    nn.init.constant_(model[0].bias, torch.inf)
    assert xn.check(model, vectors(), criterion=CRITERION).findings[0].cause.startswith("the first step")


@QUIET
@pytest.mark.parametrize(
    ("normalize", "length"), [(weight_norm, "weight_g"), (parametrizations.weight_norm, "weight.original0")]
)
@pytest.mark.parametrize(("recipe", "size"), [("zero-head", 0.0), ("zero-head(epsilon=0.001)", 1e-3)])
def test_a_head_with_a_normalized_weight_is_zeroed_by_its_length(normalize, length, recipe, size):
    model, (x, y) = mlp(normalize, place=4, zero=False), vectors()
    plan = xn.plan(model, recipe, example=x)
    assert {row.parameter for row in plan.rows if row.action == "assign"} == {f"4.{length}", "4.bias"}
    xn.apply(plan, model, seed=0)
    assert model(x).abs().max() <= 10 * size
    assert xn.check(model, (x, y), criterion=CRITERION).opening_step[f"4.{length}"] == 1


REFUSED = {
    "all zeros": (parametrizations.weight_norm, "zeros", {}),
    "an override": (parametrizations.weight_norm, "he", {"4.weight.original1": "zeros"}),
    "a head of spectral norm": (parametrizations.spectral_norm, "zero-head", {}),
    "all zeros of spectral norm": (parametrizations.spectral_norm, "zeros", {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_zeros_that_would_be_divided_by_their_length_are_refused(name):
    normalize, recipe, overrides = REFUSED[name]
    model, (x, _) = mlp(normalize, place=4, zero=False), vectors()
    with pytest.raises(RecipeError, match=r"divide(s|d)") as caught:
        xn.plan(model, recipe, example=x, overrides=overrides)
    assert caught.value.fix


def test_a_branch_that_ends_in_a_normalized_weight_is_closed_by_its_length():
    model, (x, _) = Residual(), vectors()
    for block in model.blocks:
        parametrizations.weight_norm(block.last)
    xn.initialize(model, "zero-residual", x, seed=0)
    assert xn.certify(model, x).exact
