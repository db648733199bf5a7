"""A fingerprint changes with every bit of a start, and with nothing else."""

import hashlib
import json
import shutil
import subprocess
import threading

import pytest
import torch
from started import Net, started
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper

import exnihilo as xn
from exnihilo.errors import InvalidValueError
from exnihilo.plans.values import digest
from exnihilo.provenance import fingerprint as module
from exnihilo.provenance.records import Fingerprint, TensorDigest


@pytest.fixture
def model():
    return started()[0]


def b2sum(raw):
    """BLAKE2b by another program than Python's hashlib."""
    done = subprocess.run(["b2sum", "-l", "128"], input=raw, capture_output=True, check=True)
    return done.stdout.decode().split()[0]


@pytest.mark.skipif(shutil.which("b2sum") is None, reason="needs b2sum of GNU coreutils")
def test_it_is_what_the_page_says_computed_by_another_program(model):
    bytes_of = {name: bytes(value.reshape(-1).view(torch.uint8).tolist()) for name, value in model.state_dict().items()}
    parameters = dict(model.named_parameters())
    lines = ["exnihilo fingerprint 1"]
    for name in sorted(bytes_of.keys() - {"head.weight"}):
        value = model.state_dict()[name]
        kind = "parameter" if name in parameters else "buffer"
        names = ["embed.weight", "head.weight"] if name == "embed.weight" else [name]
        dtype = str(value.dtype).split(".")[1]
        lines.append(json.dumps([kind, names, list(value.shape), dtype, b2sum(bytes_of[name])]))
    assert str(xn.fingerprint(model)) == b2sum("".join(f"{line}\n" for line in lines).encode())


def test_all_that_a_state_dict_holds_is_covered_and_nothing_else(model):
    print_of = xn.fingerprint(model)
    assert print_of.by_name.keys() == model.state_dict().keys()
    assert print_of.by_name["head.weight"] is print_of.by_name["embed.weight"]
    assert {name for name, entry in print_of.by_name.items() if entry.kind == "buffer"} == {
        name for name, _ in model.named_buffers()
    } - {"scratch"}


@pytest.mark.parametrize("name", [*Net().state_dict()])
def test_one_flipped_bit_of_any_tensor_changes_it_and_is_named(model, name):
    before = xn.fingerprint(model)
    held = model.state_dict()[name].view(-1).view(torch.uint8)
    held[-1] ^= 1
    after = xn.fingerprint(model)
    tied = {"embed.weight", "head.weight"}
    assert str(after) != str(before) and after != before
    assert set(before.differing(after)) == (tied if name in tied else {name})


def test_it_tells_zero_from_minus_zero():
    one, other = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    one.weight.data.fill_(0.0)
    other.weight.data.fill_(-0.0)
    assert xn.fingerprint(one) != xn.fingerprint(other)


def test_a_tie_is_part_of_it(model):
    before = xn.fingerprint(model)
    model.head.weight = nn.Parameter(model.embed.weight.detach().clone())
    after = xn.fingerprint(model)
    assert before.differing(after) == ("embed.weight", "head.weight")


def test_shape_and_dtype_are_part_of_it():
    plain = nn.ParameterDict({"w": torch.zeros(6)})
    prints = {
        str(xn.fingerprint(nn.ParameterDict({"w": w})))
        for w in (torch.zeros(6), torch.zeros(2, 3), torch.zeros(3, dtype=torch.float64), torch.zeros(12).bfloat16())
    }
    assert len(prints) == 4 and str(xn.fingerprint(plain)) in prints


class Other(nn.Module):
    def __init__(self, names):
        super().__init__()
        for name in names:
            setattr(self, name, nn.Linear(2, 2))
            nn.init.ones_(getattr(self, name).weight), nn.init.zeros_(getattr(self, name).bias)


def test_the_order_of_the_modules_is_no_part_of_it():
    one, other = xn.fingerprint(Other(["a", "b"])), xn.fingerprint(Other(["b", "a"]))
    assert (one, str(one), one.differing(other)) == (other, str(other), ())


def test_neither_is_the_order_of_tied_names():
    one, other = Other(["a", "b"]), Other(["b", "a"])
    one.a.weight, other.b.weight = one.b.weight, other.a.weight
    assert xn.fingerprint(one) == xn.fingerprint(other)
    assert xn.fingerprint(other).by_name["b.weight"].names == ("a.weight", "b.weight")


def test_gradients_and_requires_grad_are_no_part_of_it(model):
    before = xn.fingerprint(model)
    model.up.weight.grad = torch.ones(8, 8)
    model.up.bias.requires_grad_(False)
    model.eval()
    assert xn.fingerprint(model) == before


def test_wrappers_are_no_part_of_it(model):
    before = xn.fingerprint(model)
    assert xn.fingerprint(torch.compile(model, backend="eager")) == before
    assert xn.fingerprint(nn.DataParallel(model)) == before
    model.up = checkpoint_wrapper(model.up)
    assert "up._checkpoint_wrapped_module.weight" in dict(model.named_parameters())
    assert xn.fingerprint(nn.DataParallel(torch.compile(model, backend="eager"))) == before


def test_strides_are_no_part_of_it():
    w = torch.arange(6.0).reshape(2, 3)
    turned = w.t().contiguous().t()
    assert not turned.is_contiguous()
    one, other = (nn.ParameterDict({"w": value}) for value in (w, turned))
    assert xn.fingerprint(one) == xn.fingerprint(other)


@pytest.mark.parametrize(
    "values",
    [
        torch.arange(3 * 2**20, dtype=torch.float32).reshape(2**10, -1).t(),
        torch.arange(2**21, dtype=torch.int16).reshape(1, -1)[:, ::2],
        torch.arange(2**21, dtype=torch.bfloat16).reshape(4, 2, -1).permute(2, 0, 1),
        torch.ones(5, 1).expand(5, 4),
        torch.zeros(0, 3),
        torch.tensor(2.5),
        torch.randn(3, 4, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).conj(),
        torch.randn(3, dtype=torch.complex64, generator=torch.Generator().manual_seed(0)).conj().imag,
        torch.tensor([True, False]),
        torch.tensor([1.0, 2.0]).to(torch.float8_e4m3fn),
    ],
    ids=[
        "transposed",
        "strided row",
        "permuted",
        "expanded",
        "empty",
        "scalar",
        "conjugate",
        "negative",
        "bool",
        "8bit",
    ],
)
def test_a_digest_is_of_the_bytes_in_the_order_of_the_elements(values):
    plain = values.resolve_conj().resolve_neg().contiguous().flatten().view(torch.uint8)
    raw = plain.numpy().tobytes()
    assert digest(values) == hashlib.blake2b(raw, digest_size=16).hexdigest()


def test_large_tensors_that_do_not_lie_in_order_are_copied_in_parts(monkeypatch):
    copied = []
    real = torch.Tensor.contiguous

    def counting(tensor, *arguments, **options):
        copied.append(0 if tensor.is_contiguous() else tensor.numel())
        return real(tensor, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "contiguous", counting)
    digest(torch.zeros(2**11, 2**11).t())
    assert max(copied) <= 2**20 and sum(copied) == 2**22
    copied.clear()
    digest(torch.zeros(2**11, 2**11))
    assert sum(copied) == 0


def test_it_is_computed_in_as_many_threads_as_torch_has(monkeypatch):
    barrier = threading.Barrier(2, timeout=20)

    def meeting(tensor):
        barrier.wait()  # breaks unless two are hashed at once
        return digest(tensor)

    monkeypatch.setattr(module, "digest", meeting)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    model = nn.Linear(2, 2)
    made = xn.fingerprint(model)
    monkeypatch.undo()
    assert made == xn.fingerprint(model)


def test_a_model_without_tensors_has_one():
    empty = xn.fingerprint(nn.ReLU())
    assert (empty.tensors, len(str(empty))) == ((), 32)
    assert str(empty) == hashlib.blake2b(b"exnihilo fingerprint 1\n", digest_size=16).hexdigest()


def test_a_weight_that_is_computed_has_the_name_of_the_weight():
    model = nn.utils.parametrizations.orthogonal(nn.Linear(2, 2))
    assert "weight" in xn.fingerprint(model).by_name


class Blocks(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(2, 2, device="meta") for _ in range(12))
        self.norm, self.lazy = nn.BatchNorm1d(2), nn.LazyLinear(2)


def test_parameters_without_values_are_named():
    with pytest.raises(InvalidValueError) as raised:
        xn.fingerprint(Blocks())
    assert str(raised.value).splitlines()[:4] == [
        "26 tensors have no values that could be hashed.",
        "  blocks.{0-11}.weight is on the meta device",
        "  blocks.{0-11}.bias is on the meta device",
        "  lazy.weight is lazy, and has no shape yet",
    ]


def test_a_sparse_parameter_is_refused():
    model = nn.ParameterDict({"w": nn.Parameter(torch.eye(3).to_sparse())})
    with pytest.raises(InvalidValueError, match="1 tensor has no values") as raised:
        xn.fingerprint(model)
    assert raised.value.context == ("w has the layout sparse_coo",)


ENTRY = TensorDigest(names=("a",), kind="parameter", shape=(1,), dtype="float32", digest="00")


@pytest.mark.parametrize("names", [(), ("b", "a"), ("a", "a")])
def test_a_digest_has_sorted_names(names):
    with pytest.raises(ValueError, match="must be sorted"):
        TensorDigest(names=names, kind="parameter", shape=(1,), dtype="float32", digest="00")


def test_a_fingerprint_has_each_name_once():
    with pytest.raises(ValueError, match="two share one"):
        Fingerprint(tensors=(ENTRY, ENTRY))
