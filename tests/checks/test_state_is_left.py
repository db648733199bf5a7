"""After a check, also one that raises, a model and its surroundings are bit for bit what they were."""

import threading
import types
from contextlib import contextmanager, nullcontext

import pytest
import state
import stateful
import torch
from torch import nn

from exnihilo.checks.check import check
from exnihilo.errors import CheckError
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial


@pytest.fixture(scope="module", autouse=True)
def imported():
    """A first check imports modules, which may add warning filters of their own."""
    check(stateful.plain(), batch_for(stateful.plain()), criterion=nn.CrossEntropyLoss())


def batch_for(model):
    dtype = next(model.parameters()).dtype
    return torch.randn(12, stateful.D, dtype=dtype), torch.arange(12) % 3


@pytest.mark.parametrize("name", stateful.MODELS)
def test_a_model_is_left_as_it_was(name):
    torch.manual_seed(0)
    model = stateful.MODELS[name]()
    batch = batch_for(model)
    before, around = state.of_model(model), state.of_surroundings()
    given = [state.bits(t) for t in batch]
    check(model, batch, criterion=nn.CrossEntropyLoss())
    assert state.differences(before, state.of_model(model)) == []
    assert state.differences(around, state.of_surroundings()) == []
    assert [state.bits(t) for t in batch] == given


class Failing(Exception):
    pass


@pytest.mark.parametrize("name", stateful.MODELS)
def test_a_model_is_left_as_it_was_where_the_loss_raises(name):
    torch.manual_seed(0)
    model = stateful.MODELS[name]()
    batch = batch_for(model)

    def loss(model, batch):
        model(batch[0]).square().mean().backward()
        raise Failing

    before, around = state.of_model(model), state.of_surroundings()
    with pytest.raises(CheckError, match="Failing"):
        check(model, batch, loss=loss)
    assert state.differences(before, state.of_model(model)) == []
    assert state.differences(around, state.of_surroundings()) == []


def surroundings():
    yield "autocast", lambda: torch.autocast("cpu", torch.bfloat16)
    yield "no_grad", torch.no_grad
    yield "inference mode", torch.inference_mode
    yield "a default dtype", lambda: set_and_back(torch.set_default_dtype, torch.float64, torch.float32)
    yield "deterministic algorithms", lambda: set_and_back(torch.use_deterministic_algorithms, True, False)


@contextmanager
def set_and_back(setter, value, before):
    setter(value)
    try:
        yield
    finally:
        setter(before)


@pytest.mark.parametrize("name", [name for name, _ in surroundings()])
def test_surroundings_change_no_finding_and_are_left_as_they_were(name):
    torch.manual_seed(0)
    model = stateful.plain()
    nn.init.zeros_(model[4].weight)
    batch = batch_for(model)
    within = dict(surroundings())[name]
    plainly = check(model, batch, criterion=nn.CrossEntropyLoss())
    with within():
        around = state.of_surroundings()
        found = check(model, batch, criterion=nn.CrossEntropyLoss())
        assert state.differences(around, state.of_surroundings()) == []
    assert found.opening_step == plainly.opening_step
    assert found.facts.loss == pytest.approx(plainly.facts.loss, rel=1e-6)
    assert found.facts.certified == plainly.facts.certified  # nothing looked closed that had to be looked at again
    assert found.findings == plainly.findings


class Mixed(nn.Module):
    """Casts its weights by autocast, which would keep the casts from one step to the next."""

    def __init__(self):
        super().__init__()
        self.net = stateful.plain()

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.net(x)


def test_a_model_with_autocast_of_its_own_opens_as_without():
    torch.manual_seed(0)
    model = Mixed()
    nn.init.zeros_(model.net[4].weight)
    batch = batch_for(model)
    found, plainly = (check(m, batch, criterion=nn.CrossEntropyLoss()) for m in (model, model.net))
    assert list(found.opening_step.values()) == list(plainly.opening_step.values())
    assert found.facts.certified == "float32"


def test_hooks_on_all_modules_are_silent_too():
    def never(*_args):
        raise AssertionError("a user's hook was called")

    handles = [
        nn.modules.module.register_module_forward_hook(never),
        nn.modules.module.register_module_forward_pre_hook(never),
        nn.modules.module.register_module_full_backward_hook(never),
    ]
    try:
        model = stateful.plain()
        assert check(model, batch_for(model), criterion=nn.CrossEntropyLoss()).ok
        with pytest.raises(AssertionError):
            model(torch.zeros(2, stateful.D))
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.parametrize("name", ["torch.compile", "a module compiled in place", "DataParallel", "hooks"])
def test_what_wraps_a_model_changes_nothing_that_is_found(name):
    torch.manual_seed(0)
    model, bare = stateful.MODELS[name](), stateful.plain()
    inner = getattr(model, "_orig_mod", getattr(model, "module", model))
    bare.load_state_dict(nn.Sequential.state_dict(nn.Sequential(*inner)))
    batch = batch_for(model)
    found, plainly = (check(m, batch, criterion=nn.CrossEntropyLoss()) for m in (model, bare))
    assert found.opening_step == plainly.opening_step
    assert found.findings == plainly.findings
    assert found.facts.loss == plainly.facts.loss


def test_what_cannot_be_copied_is_diagnosed_as_what_can():
    torch.manual_seed(0)
    model = stateful.uncopyable_with_gradients().eval()
    nn.init.zeros_(model.head.weight)
    twin = stateful.Uncopyable()
    twin.load_state_dict(model.state_dict())
    twin.lock = None
    twin.forward = types.MethodType(without_lock, twin)
    batch = batch_for(model)
    found, plainly = (check(m, batch, criterion=nn.CrossEntropyLoss()) for m in (model, twin))
    by_hand = {"inner.bias": None, "norm.weight": 2, "norm.bias": 2, "head.weight": 1, "head.bias": 1}
    assert found.opening_step == plainly.opening_step == by_hand
    assert found.facts.loss == plainly.facts.loss


def without_lock(self, x):
    self.lock = nullcontext()
    try:
        return stateful.Uncopyable.forward(self, x)
    finally:
        self.lock = None


def test_weights_that_are_tied_stay_so_in_a_model_that_cannot_be_copied():
    """A stand-in takes the place of each of their names: else half of their gradient would be missing."""
    torch.manual_seed(0)
    model = stateful.tied()
    batch = batch_for(model)
    plainly = learning_of(model, Question(batch=batch, criterion=nn.CrossEntropyLoss()))
    model.lock = threading.Lock()
    found = learning_of(model, Question(batch=batch, criterion=nn.CrossEntropyLoss()))
    assert [o.gradient for o in found.openings] == [o.gradient for o in plainly.openings]


@pytest.mark.parametrize(
    "name", ["spectral norm by a hook", "weight norm by a hook", "parametrizations", "a pruned layer"]
)
def test_what_a_module_computes_by_hooks_and_parametrizations_acts_on_the_copy(name):
    torch.manual_seed(0)
    model = stateful.MODELS[name]()
    batch = batch_for(model)
    found = Trial(model, Question(batch=batch, criterion=nn.CrossEntropyLoss()), samples=None).evaluate().loss
    loss = nn.CrossEntropyLoss()(model.double()(batch[0].double()), batch[1])
    assert float(found.detach()) == pytest.approx(float(loss.detach()), rel=1e-12)


def test_a_closure_that_ties_a_copy_to_its_model_is_seen_through():
    torch.manual_seed(0)
    model = stateful.closure()
    nn.init.zeros_(model[2].weight)
    found = check(model, batch_for(model), criterion=nn.CrossEntropyLoss())
    assert found.opening_step == {"0.weight": 2, "0.bias": 2, "2.weight": 1, "2.bias": 1}
