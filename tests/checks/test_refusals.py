"""What cannot be checked is refused by one error with a fact, its context and a fix, and is left as it was."""

import re
import warnings

import pytest
import state
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn

from exnihilo.checks.check import check
from exnihilo.errors import CheckError
from gated import D, samples

X, Y = samples()
CRITERION = nn.CrossEntropyLoss()


def net(*front):
    return nn.Sequential(*front, nn.Linear(D, D), nn.ReLU(), nn.Linear(D, 4))


class Own(nn.Module):
    """Returns its loss where it is given labels."""

    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x, labels=None):
        logits = self.net(x)
        return {"logits": logits, "loss": None if labels is None else F.cross_entropy(logits, labels)}


class Raising(nn.Module):
    def __init__(self, error):
        super().__init__()
        self.net, self.error = net(), error

    def forward(self, x):
        self.net(x).sum().backward()  # leaves gradients behind
        raise self.error


def on_meta():
    return net(nn.Linear(D, D, device="meta").requires_grad_(False))


def scripted(wrap):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit tells of its own end
        return wrap(torch.jit.script(nn.Linear(D, D)))


def quantized():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # so does torch.ao.quantization
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(D, D)), {nn.Linear}, dtype=torch.qint8)


def failing():
    raise ZeroDivisionError("no such net")


def with_loss(loss):
    return (net, (X, Y), {"loss": loss})


def own(model, batch):
    return CRITERION(model(batch[0]), batch[1])


PLAIN = {"criterion": CRITERION}
# The model, the batch, the options; what the first line says, and what stands below it.
CASES = {
    "a model that raises": (
        lambda: Raising(KeyError("mask")),
        (X, Y),
        PLAIN,
        "raises KeyError: 'mask'",
        "in the model",
    ),
    "a model that raises without a word": (
        lambda: Raising(ValueError()),
        (X, Y),
        PLAIN,
        r"or its loss raises ValueError\.",
        "in the model, a Raising",
    ),
    "sizes that do not fit": (
        lambda: net(nn.Linear(D, D + 1)),
        (X, Y),
        PLAIN,
        "raises RuntimeError: mat1 and mat2",
        r"in '1', a Linear\n  its parameters: weight \(8, 8\), bias \(8,\)\n  batch: a tuple of \(16, 8\) float32",
    ),
    "labels beyond the classes": (net, (X, Y + 4), PLAIN, "raises IndexError: Target", "in the loss, a Cross"),
    "labels that are no classes": (net, (X, Y.double()), PLAIN, "raises RuntimeError: expected", "in the loss"),
    "one sample for batch norm": (
        lambda: net(nn.BatchNorm1d(D)),
        (X[:1], Y[:1]),
        PLAIN,
        "raises ValueError: Expected more than 1 value",
        "Fix: give a batch of at least 2 samples",
    ),
    "an argument too many": (Own, {"x": X, "mask": X}, {}, "unexpected keyword argument 'mask'", "in the model"),
    "no labels for a model with a loss": (Own, {"x": X}, {}, "Own returned no loss", "its loss is None"),
    "no loss at all": (net, X, {}, "Sequential returned no loss", r"it returned a tensor \(16, 4\) float32"),
    "no pair for a criterion": (net, X, PLAIN, r"must be a pair .* it is a tensor \(16, 8\)", "Fix: check"),
    "a batch without tensors": (net, "words", PLAIN, "must be a pair .* a str without tensors", "Fix: check"),
    "no samples": (net, (X[:0], Y[:0]), PLAIN, "The batch holds no sample", "Fix: give"),
    "loss and criterion": (net, (X, Y), {"loss": own, **PLAIN}, "Both loss and criterion", "Fix: give one"),
    "a loss that is no function": (net, (X, Y), {"loss": 3}, "The loss is 3; it must be callable", "Fix:"),
    "a loss of several numbers": (
        *with_loss(lambda m, b: F.cross_entropy(m(b[0]), b[1], reduction="none")),
        r"The loss has shape \(16,\)",
        'reduction="mean"',
    ),
    "a loss that is a number": (*with_loss(lambda m, b: own(m, b).item()), "The loss is a float", "without .item"),
    "no return": (*with_loss(lambda m, b: None), "The loss is a NoneType", "Fix: return"),
    "a loss of whole numbers": (*with_loss(lambda m, b: m(b[0]).argmax()), "must be real", "Fix: compute"),
    "a complex loss": (
        *with_loss(lambda m, b: torch.complex(own(m, b), own(m, b))),
        "complex64; it must be real",
        "Fix: compute",
    ),
    "a detached loss": (*with_loss(lambda m, b: own(m, b).detach()), "does not depend on any trainable", "it is"),
    "a constant loss": (*with_loss(lambda m, b: torch.tensor(1.0)), "does not depend on any trainable", "it is 1"),
    "no trainable parameter": (lambda: net().requires_grad_(False), (X, Y), PLAIN, "no trainable", "4 parameters, all"),
    "no parameter": (nn.ReLU, (X, Y), PLAIN, "ReLU has no trainable", "no parameters at all"),
    "quantized maps alone": (quantized, (X, Y), PLAIN, "no trainable", "no parameters at all"),
    "meta parameters": (on_meta, (X, Y), PLAIN, "'0.weight' of Sequential lies on the meta device", "to_empty"),
    "lazy parameters": (lambda: net(nn.LazyLinear(D)), (X, Y), PLAIN, "'0.weight' .* no shape yet", "a lazy module"),
    "lazy buffers": (
        lambda: net(nn.LazyBatchNorm1d(affine=False)),
        (X, Y),
        PLAIN,
        "'0.running_mean' .* no shape yet",
        "a lazy module",
    ),
    "a script": (lambda: scripted(lambda m: m), (X, Y), PLAIN, "holds a ScriptModule", "Fix: check the module"),
    "a script inside": (lambda: scripted(net), (X, Y), PLAIN, "Sequential holds a ScriptModule", "Fix: check the"),
    "no module": (lambda: torch.sin, (X, Y), PLAIN, "must be a torch.nn.Module", "Fix: check"),
    "no optimizer": (net, (X, Y), {**PLAIN, "optimizer": 3}, "The optimizer is 3", "Fix: check"),
    "another's optimizer": (
        net,
        (X, Y),
        {**PLAIN, "optimizer": torch.optim.SGD(net().parameters(), lr=0.1)},
        "holds none of the trainable parameters",
        "Fix: optimizer =",
    ),
    "no factory": (net, (X, Y), {**PLAIN, "factory": 3}, "The factory is 3; it must be callable", "Fix: check"),
    "a factory that raises": (
        net,
        (X, Y),
        {**PLAIN, "factory": failing},
        "The factory raises ZeroDivisionError: no such net",
        "Fix: check",
    ),
    "a factory of something else": (
        net,
        (X, Y),
        {**PLAIN, "factory": lambda: 3},
        "makes no torch.nn.Mod",
        "Fix: check",
    ),
    "codes without reasons": (net, (X, Y), {**PLAIN, "suppress": ["unused"]}, "it must be a dict", "Fix: check"),
}


def refused(model, batch, options, fact, below):
    before = state.of_model(model) if isinstance(model, nn.Module) else {}
    around = state.of_surroundings()
    with pytest.raises(CheckError, match=fact) as caught:
        check(model, batch, **options)
    assert state.differences(around, state.of_surroundings()) == []
    assert state.differences(before, state.of_model(model) if isinstance(model, nn.Module) else {}) == []
    first, rest = str(caught.value).split("\n", 1)
    assert first == caught.value.fact
    assert rest.endswith("[check]  docs/errors.md#check")
    assert "Fix: " in rest
    assert re.search(below, rest)


@pytest.fixture(scope="module", autouse=True)
def imported():
    """A first check imports modules, which may add warning filters of their own."""
    check(net(), (X, Y), **PLAIN)


@pytest.mark.parametrize("name", CASES)
def test_it_is_refused(name):
    torch.manual_seed(0)
    make, *rest = CASES[name]
    refused(make(), *rest)


def test_a_loss_that_ignores_its_argument_is_refused():
    model = net()
    refused(model, (X, Y), {"loss": lambda _, b: own(model, b)}, "ignores its model argument", "use the argument")


@pytest.mark.filterwarnings("ignore:FSDP is switching to use `NO_SHARD`")  # of one process
def test_what_is_sharded_is_refused():
    tensor = pytest.importorskip("torch.distributed.tensor")
    from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        mesh = tensor.init_device_mesh("cpu", (1,))
        model = tensor.distribute_module(net(), mesh)
        with pytest.raises(CheckError, match=r"'0\.weight' of Sequential is sharded") as caught:
            check(model, (X, Y), **PLAIN)
        assert "before it is sharded" in str(caught.value)
        parallel = nn.parallel.DistributedDataParallel(net())
        assert check(parallel, (X, Y), **PLAIN).opening_step["0.weight"] == 1
        flat = FullyShardedDataParallel(net(), device_id=torch.device("cpu"))
        with pytest.raises(CheckError, match="_flat_param' of FullyShardedDataParallel is sharded"):
            check(flat, (X, Y), **PLAIN)
        whole = net()
        fully_shard(whole)
        with pytest.raises(CheckError, match="is sharded over several processes"):
            check(whole, (X, Y), **PLAIN)
    finally:
        dist.destroy_process_group()


def test_an_interrupt_is_passed_on_and_leaves_nothing():
    model = Raising(KeyboardInterrupt())
    before, around = state.of_model(model), state.of_surroundings()
    with pytest.raises(KeyboardInterrupt):
        check(model, (X, Y), **PLAIN)
    assert state.differences(before, state.of_model(model)) == []
    assert state.differences(around, state.of_surroundings()) == []


def test_a_loss_of_nan_is_a_finding():
    found = check(net(), (X, Y), lambda m, b: own(m, b) * float("nan"))
    assert [(f.code, f.severity) for f in found.findings] == [("not-finite", "FAIL")]


class Partly(nn.Module):
    """A base that cannot be trained, and a parameter without elements, beside what can."""

    def __init__(self, base):
        super().__init__()
        self.base, self.nothing, self.net = base, nn.Parameter(torch.empty(0, 4)), net()

    def forward(self, x):
        return self.net(self.base(x))


class Whole(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.eye(D).to(torch.int8), requires_grad=False)

    def forward(self, x):
        return x @ self.weight.to(x.dtype)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("base", [quantized, Whole])
def test_what_cannot_be_trained_is_a_constant(base):
    torch.manual_seed(0)
    found = check(Partly(base()), (X, Y), **PLAIN)
    assert found.ok
    assert set(found.opening_step) == {"net.0.weight", "net.0.bias", "net.2.weight", "net.2.bias"}
