"""Models and losses of real code that is none of the usual kind: what is healthy passes, and all is left as it was."""

import json
import math
import threading

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from exnihilo import check
from exnihilo.checks.files import from_json, to_json
from exnihilo.errors import CheckError

CRITERION = nn.CrossEntropyLoss()


def net(inputs=8, outputs=4):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(inputs, 16), nn.ReLU(), nn.Linear(16, outputs))


def batch(n=16, inputs=8):
    torch.manual_seed(1)
    return torch.randn(n, inputs), torch.arange(n) % 4


def grave(found):
    return [(finding.severity, finding.code) for finding in found.with_severity("FAIL", "WARN")]


def test_sparse_gradients():
    torch.manual_seed(0)
    model = nn.Sequential(nn.EmbeddingBag(50, 16, sparse=True), nn.Linear(16, 4))
    found = check(model, (torch.randint(0, 50, (16, 5)), torch.arange(16) % 4), criterion=CRITERION)
    assert grave(found) == []


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_checkpoint_computes_its_dropout_as_the_first_pass_did(reentrant):
    """The oracle: the same model without dropout, which is what a probe without dropout must see."""

    class Kept(nn.Module):
        def __init__(self, rate):
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.Linear(8, 16)
            self.inner = nn.Sequential(nn.Linear(16, 16), nn.Dropout(rate), nn.ReLU(), nn.Linear(16, 16))
            self.head = nn.Linear(16, 4)

        def forward(self, x):
            return self.head(checkpoint(self.inner, self.first(x), use_reentrant=reentrant))

    with_dropout, without = (check(Kept(rate), batch(), criterion=CRITERION) for rate in (0.4, 0.0))
    assert with_dropout.openings == without.openings


def test_a_bad_sample_behind_the_first_ones_is_found():
    x, y = batch()
    x[12] = math.nan
    found = check(net(), (x, y), criterion=CRITERION)
    (finding,) = found.with_severity("FAIL")
    assert finding.code == "not-finite"
    assert "the batch holds a number that is not finite, in its tensor of (16, 8) float32" in finding.evidence
    assert finding.remedy is not None


def test_a_bad_label_behind_the_first_ones_is_found():
    x, y = batch()
    y[13] = 99
    with pytest.raises(CheckError, match="out of bounds"):
        check(net(), (x, y), criterion=CRITERION)


def test_a_diagnosis_of_a_loss_that_is_not_finite_is_json():
    x, y = batch()
    x[:] = math.inf
    found = check(net(), (x, y), criterion=CRITERION)

    def refuse(name):
        raise AssertionError(name)

    json.loads(to_json(found), parse_constant=refuse)
    assert from_json(to_json(found)).facts.loss is None
    assert "loss not finite" in str(found)


def test_a_loss_of_the_gradient_of_an_energy_has_no_detached_bias():
    def loss(model, x):
        x = x.clone().requires_grad_()
        (slope,) = torch.autograd.grad(model(x).sum(), x, create_graph=True)
        return (slope - x).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Softplus(), nn.Linear(16, 1))
    found = check(model, torch.randn(16, 8), loss)
    assert grave(found) == []
    assert [f.parameters for f in found.findings if f.code == "never-matters"] == [("2.bias",)]


def test_what_is_cut_off_is_still_detached():
    class Cut(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.head = nn.Linear(8, 16), nn.Linear(16, 4)

        def forward(self, x):
            return self.head(torch.relu(self.first(x)).detach())

    torch.manual_seed(0)
    assert grave(check(Cut(), batch(), criterion=CRITERION)) == [("FAIL", "detached")]


def test_a_flat_loss_is_called_flat():
    found = check(net(), batch(), lambda model, b: torch.relu(-50 + model(b[0])[:, 0]).mean())
    (finding,) = found.with_severity("FAIL")
    assert "flat on this batch" in finding.cause


def test_complex_parameters_are_judged():
    class Waves(nn.Module):
        def __init__(self, *, both_zero):
            super().__init__()
            torch.manual_seed(0)
            one, other = (torch.randn(8, 8, dtype=torch.complex64) / 3 for _ in range(2))
            self.first = nn.Parameter(one * (not both_zero))
            self.second = nn.Parameter(other * (not both_zero))
            self.head = nn.Linear(8, 4)

        def forward(self, x):
            return self.head(x + torch.fft.ifft(torch.fft.fft(x) @ self.first @ self.second).real)

    assert grave(check(Waves(both_zero=False), batch(), criterion=CRITERION)) == []
    broken = check(Waves(both_zero=True), batch(), criterion=CRITERION)
    assert grave(broken) == [("FAIL", "stuck-saddle")]
    assert set(broken.findings[0].parameters) == {"first", "second"}


class Centered(nn.Module):
    """A criterion with a state and a parameter of its own, beside a teacher with statistics and a generator."""

    def __init__(self):
        super().__init__()
        self.register_buffer("center", torch.zeros(4))
        self.scale = nn.Parameter(torch.ones(4))

    def forward(self, output, target):
        self.center.lerp_(output.detach().mean(0), 0.1)
        return functional.cross_entropy(self.scale * output - self.center, target)


def test_what_a_loss_holds_is_left_as_it_was():
    criterion, teacher, noise = Centered(), nn.BatchNorm1d(8), torch.Generator().manual_seed(5)
    state = noise.get_state()

    def loss(model, b):
        x = teacher(b[0] + 0.1 * torch.randn(b[0].shape, generator=noise))
        return criterion(model(x), b[1])

    check(net(), batch(), loss)
    assert not criterion.center.any()
    assert criterion.scale.grad is None
    assert teacher.num_batches_tracked == 0
    assert teacher.weight.grad is None
    assert torch.equal(noise.get_state(), state)


def test_a_criterion_is_left_as_it_was():
    criterion = Centered()
    check(net(), batch(), criterion=criterion)
    assert not criterion.center.any()
    assert criterion.scale.grad is None


def test_the_generator_of_a_model_that_cannot_be_copied_is_left_as_it_was():
    class Locked(nn.Module):
        def __init__(self):
            super().__init__()
            self.lock, self.noise, self.net = threading.Lock(), torch.Generator().manual_seed(7), net()

        def forward(self, x):
            return self.net(x + 0.1 * torch.randn(x.shape, generator=self.noise))

    model = Locked()
    state = model.noise.get_state()
    assert grave(check(model, batch(), criterion=CRITERION)) == []
    assert torch.equal(model.noise.get_state(), state)


LOGS = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 10), nn.LogSoftmax(-1))


def test_logarithms_of_probabilities_start_where_they_should():
    torch.manual_seed(0)
    for module in LOGS:
        if isinstance(module, nn.Linear):
            module.reset_parameters()
    x, y = batch()
    assert grave(check(LOGS, (x, y), criterion=nn.NLLLoss())) == []
    found = check(LOGS, (x, y), criterion=nn.NLLLoss())
    assert found.facts.reference == pytest.approx(math.log(10), rel=1e-5)
    with torch.no_grad():
        LOGS[2].weight.mul_(60.0)
    (finding,) = check(LOGS, (x, y), criterion=nn.NLLLoss()).with_severity("FAIL", "WARN")
    assert finding.code == "initial-loss"


def test_rows_of_length_one_have_no_loss_at_zero():
    class Unit(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.scale = net(), nn.Parameter(torch.tensor(20.0))

        def forward(self, x):
            return functional.normalize(self.net(x), dim=-1)

    def loss(model, b):
        out = model(b[0])
        return functional.cross_entropy(model.scale * out @ out.roll(1, 0).T, torch.arange(len(out)))

    assert grave(check(Unit(), batch(), loss)) == []


def test_several_calls_of_a_model_mix_nothing():
    def triplets(model, b):
        return functional.triplet_margin_loss(model(b[:, 0]), model(b[:, 1]), model(b[:, 2]))

    torch.manual_seed(0)
    assert grave(check(net(5), torch.randn(32, 3, 5), triplets)) == []


def test_stochastic_depth_leaves_nothing_unused():
    class Deep(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.blocks, self.head = nn.ModuleList(nn.Linear(8, 8) for _ in range(6)), nn.Linear(8, 4)

        def forward(self, x):
            for block in self.blocks:
                if torch.rand(()) > 0.5:
                    x = x + torch.tanh(block(x))
            return self.head(x)

    found = check(Deep(), batch(), criterion=CRITERION)
    assert grave(found) == []
    assert any("random numbers" in finding.evidence for finding in found.with_severity("INFO"))


class Scheduled(torch.optim.SGD):
    """An optimizer whose constructor asks for more than groups."""

    def __init__(self, params, rate, horizon):
        super().__init__(params, lr=rate)
        self.horizon = horizon


def test_optimizers_of_any_constructor_are_judged_and_left():
    model = net()
    optimizer = Scheduled(model.parameters(), 1e-2, horizon=100)
    torch.optim.lr_scheduler.StepLR(optimizer, 10)  # wraps its step
    before = [p.clone() for p in model.parameters()]
    found = check(model, batch(), criterion=CRITERION, optimizer=optimizer)
    assert found.facts.optimizer == "Scheduled, lr 0.01"
    assert "learning-rate" in found.passed
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert not optimizer.state


def test_an_optimizer_that_asks_for_the_loss_again_is_not_judged():
    model = net()
    found = check(model, batch(), criterion=CRITERION, optimizer=torch.optim.LBFGS(model.parameters()))
    assert grave(found) == []
    assert "learning-rate" not in found.passed


def test_inputs_that_ask_for_a_gradient_do_on_copies_too():
    def forces(model, b):
        (force,) = torch.autograd.grad(model(b[0]).sum(), b[0], create_graph=True)
        return (force - b[1]).square().mean()

    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.Softplus(), nn.Linear(16, 1))
    x = torch.randn(16, 8, requires_grad=True)
    assert check(model, (x, torch.randn(16, 8)), forces).ok
    assert x.grad is None


def test_losses_of_function_transforms():
    def loss(model, b):
        parameters = dict(model.named_parameters())

        def one(x):
            return torch.func.functional_call(model, parameters, (x[None],))[0]

        return CRITERION(torch.func.vmap(one)(b[0]), b[1])

    assert grave(check(net(), batch(), loss)) == []


def test_sparse_inputs():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net()

        def forward(self, near, x):
            return self.net(torch.sparse.mm(near, x))

    x, y = batch()
    near = torch.eye(16).to_sparse()
    assert check(Graph(), ((near, x), y), criterion=CRITERION).ok


REFUSED = {
    "a loss that goes back by itself": (
        lambda m, b: backed(CRITERION(m(b[0]), b[1])),
        "leave .backward\\(\\) to the check",
    ),
    "a change in place": (lambda m, b: changed(m, b), "replace the in-place operation"),
}


def backed(loss):
    loss.backward()
    return loss


def changed(model, b):
    hidden = model[1](model[0](b[0]))
    return CRITERION(model[2](hidden.mul_(2)), b[1])


@pytest.mark.parametrize("name", REFUSED)
def test_what_fails_on_the_way_back_is_explained(name):
    loss, fix = REFUSED[name]
    with pytest.raises(CheckError, match=fix):
        check(net(), batch(), loss)
