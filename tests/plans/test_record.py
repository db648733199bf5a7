"""The verb ``record``: laws of real constructors, values that stay, and factories that no plan can tell."""

import copy
import io
import math
import pickle
import random
import resource
import threading
import time

import numpy as np
import pytest
import real_starts
import torch
from torch import nn
from torch.nn.utils import parametrizations

import exnihilo as xn
from exnihilo.errors import RecordError
from exnihilo.plans.files import from_json, to_json
from exnihilo.schemes.spec import from_text


def schemes(factory):
    """The scheme's text, or the action, by name; the plan goes through JSON on its way."""
    plan = xn.record(factory).plan
    assert from_json(to_json(plan)) == plan
    return {row.parameter: row.scheme or row.action for row in plan.rows}


def written(shape, write, dtype=None):
    """A factory of one parameter ``0`` that a function writes to."""

    def build():
        parameter = nn.Parameter(torch.empty(shape, dtype=dtype))
        with torch.no_grad():
            write(parameter)
        return nn.ParameterList([parameter])

    return build


def made(make):
    """A factory of parameters that a function makes as tensors."""

    def build():
        tensors = make()
        return nn.ParameterList([nn.Parameter(t) for t in (tensors if isinstance(tensors, tuple) else (tensors,))])

    return build


def old_trunc_normal_(tensor, mean, std, low, high):
    """Truncated normal by quantiles, as PyTorch had it before 2.12 and timm has it."""
    bounds = (2 * torch.special.ndtr(torch.tensor((b - mean) / std).double()).item() - 1 for b in (low, high))
    return tensor.uniform_(*bounds).erfinv_().mul_(std * math.sqrt(2.0)).add_(mean).clamp_(min=low, max=high)


def row_by_row(tensor):
    for row in tensor:
        row.normal_(std=0.5)


def thirds(tensor):
    for third, std in zip(tensor.chunk(3), (1.0, 0.5, 0.25), strict=True):
        third.normal_(std=std)


def orthogonal_thirds(tensor):
    for third in tensor.chunk(3):
        nn.init.orthogonal_(third)


def twice(tensor):
    nn.init.zeros_(nn.init.normal_(nn.init.kaiming_uniform_(tensor), std=0.3)[2])


TRUNCATED = "TruncatedNormal(std=0.0175925132206847"  # 0.02 times 0.8796; the bounds are those by default
WRITTEN = {
    "normal": ((6, 4), lambda w: w.normal_(0.5, 2.0), "Normal(std=2.0, mean=0.5)"),
    "named arguments": ((6, 4), lambda w: w.normal_(std=2.0), "Normal(std=2.0)"),
    "of no spread": ((6, 4), lambda w: w.normal_(0.5, 0.0), "Constant(value=0.5)"),
    "uniform": ((6, 4), lambda w: w.uniform_(-1, 3), "Uniform(bound=2.0, mean=1.0)"),
    "the last of three, but for a row": ((6, 4), twice, "ZeroRow(base=Normal(std=0.3), row=2)"),
    "scaled": ((6, 4), lambda w: w.normal_().mul_(0.02).add_(1).neg_(), "Normal(std=0.02, mean=-1.0)"),
    "scaled by a tensor": ((6, 4), lambda w: w.normal_().div_(torch.tensor(4.0)), "Normal(std=0.25)"),
    "transposed": ((6, 4), lambda w: w.t().normal_(), "Normal(std=1.0)"),
    "through .data": ((6, 4), lambda w: w.data.copy_(torch.randn(6, 4) * 3), "Normal(std=3.0)"),
    "row by row": ((6, 4), row_by_row, "Normal(std=0.5)"),
    "rows that are multiples": (
        (6, 4),
        thirds,
        "Weighted(base=Normal(std=1.0), factors=(1.0, 0.5, 0.25), lengths=(2.0, 2.0, 2.0))",
    ),
    "orthogonal": ((6, 4), lambda w: nn.init.orthogonal_(w, 1.5), "Orthogonal(gain=1.5)"),
    "orthogonal and wide": ((4, 2, 3), nn.init.orthogonal_, "Orthogonal(gain=1.0)"),
    "orthogonal in parts": ((6, 4), orthogonal_thirds, "Orthogonal(gain=1.0)"),
    "truncated": ((6, 4), lambda w: nn.init.trunc_normal_(w, std=0.02, a=-0.04, b=0.04), TRUNCATED),
    "truncated far out": ((6, 4), lambda w: nn.init.trunc_normal_(w, std=0.02), "Normal(std=0.02)"),
    "truncated by quantiles": ((6, 4), lambda w: old_trunc_normal_(w, 0.0, 0.02, -0.04, 0.04), TRUNCATED),
    "clamped": (
        (6, 4),
        lambda w: w.normal_().clamp_(-1, 1),
        "Formula(base=Normal(std=1.0), of='clamp(x, -1, 1)')",
    ),
    "two formulas of one draw": (
        (6, 4),
        lambda w: w.copy_((u := torch.rand(6, 4).exp()) + u.log()),
        "Formula(base=Uniform(bound=0.5, mean=0.5), of='(exp(x) + log(exp(x)))')",
    ),
    "into itself": ((6, 4), lambda w: torch.mul(w.uniform_(-1, 1), 0.01, out=w), "Uniform(bound=0.01)"),
    "into what was drawn": (
        (6, 4),
        lambda w: torch.sub(torch.randn(6, 4), 1, out=w.uniform_()),
        "Normal(std=1.0, mean=-1.0)",
    ),
    "into some rows": (
        (6, 4),
        lambda w: torch.mul(torch.randn(4, 4), 0.5, out=w.normal_()[2:]),
        "Weighted(base=Normal(std=1.0), factors=(1.0, 0.5), lengths=(2.0, 4.0))",
    ),
    "drawn into": ((6, 4), lambda w: torch.normal(0.0, 0.3, (6, 4), out=w.zero_()), "Normal(std=0.3)"),
    "zeros into what was drawn": ((6, 4), lambda w: torch.zeros(6, 4, out=w.normal_()), "zeros"),
    "large zeros into what was drawn": ((512, 512), lambda w: torch.zeros(512, 512, out=w.normal_()), "zeros"),
    "a row into what was drawn": (
        (6, 4),
        lambda w: torch.zeros(4, out=w.normal_()[2]),
        "ZeroRow(base=Normal(std=1.0), row=2)",
    ),
    "large numbers into themselves": ((512, 512), lambda w: torch.mul(w.fill_(3.0), 2.0, out=w), "Constant(value=6.0)"),
    "an identity over a draw": ((6, 4), lambda w: nn.init.eye_(w.normal_()), "keep"),
    "a computed number over a draw": (
        (6, 4),
        lambda w: nn.init.constant_(w.uniform_(), -torch.log(torch.tensor(99.0))),
        "Constant(value=-4.59512)",
    ),
    "a computed number over rows": (
        (6, 4),
        lambda w: w.normal_()[3].fill_(torch.zeros(2).sum()),
        "ZeroRow(base=Normal(std=1.0), row=3)",
    ),
    "a large computed number": ((512, 512), lambda w: w.normal_().fill_(torch.tensor(1.0)), "ones"),
    "large zeros": ((512, 512), nn.init.zeros_, "zeros"),
    "large zeros, drawn but for a row": (
        (512, 512),
        lambda w: w.zero_()[1:].normal_(),
        "ZeroRow(base=Normal(std=1.0))",
    ),
    "one value": ((6,), lambda w: w.fill_(0.1), "Constant(value=0.1)"),
    "one value in double": ((6,), lambda w: w.fill_(0.1), "keep"),
    "values": ((6,), lambda w: w.copy_(torch.arange(6.0)), "keep"),
    "one number": ((), lambda w: w.fill_(2.6592), "Constant(value=2.6592)"),
}
DTYPES = {"one value in double": torch.float64}


@pytest.mark.parametrize("case", WRITTEN)
def test_a_law_is_told_and_is_that_of_the_factory_run_for_real(case):
    shape, write, expected = WRITTEN[case]
    factory = written(shape, write, DTYPES.get(case))
    assert schemes(factory)["0"].startswith(expected)
    assert real_starts.disagreements(factory) == {}


def test_sparse_columns_have_as_many_zeros_as_the_factory_writes():
    factory = written((40, 3), lambda w: nn.init.sparse_(w, 0.3, std=0.1))
    (row,) = xn.record(factory).plan.rows
    assert row.scheme == "Sparse(sparsity=0.3, std=0.1)"
    drawn = from_text(row.scheme).sample(row.layout, xn.Key(0, "0"))
    assert (drawn == 0).sum(dim=0).tolist() == [12] * 3 == (factory()[0] == 0).sum(dim=0).tolist()
    assert (drawn == 0).any(dim=1).sum() > 12


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_laws_are_told_in_any_real_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        recorded = xn.record(lambda: nn.Sequential(nn.Linear(16, 4), nn.LayerNorm(4)))
    finally:
        torch.set_default_dtype(before)
    assert [row.scheme for row in recorded.plan.rows] == ["Uniform(bound=0.25)"] * 2 + ["ones", "zeros"]
    assert {p.dtype for p in recorded.model.parameters()} == {dtype}


def encoder():
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    return nn.TransformerEncoder(layer, 3)


def shared():
    model = nn.Sequential(nn.Embedding(11, 4, padding_idx=3), nn.Linear(4, 11, bias=False))
    model[1].weight = model[0].weight
    return model


PLAIN = {
    "attention": lambda: nn.MultiheadAttention(8, 2, kdim=4, vdim=6),
    "lstm": lambda: nn.LSTM(4, 6, num_layers=2, bidirectional=True, proj_size=3),
    "encoder of copies": encoder,
    "transformer": lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
    "convolutions": lambda: nn.Sequential(nn.Conv2d(4, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ConvTranspose1d(8, 4, 2)),
    "bilinear": lambda: nn.Sequential(nn.Bilinear(3, 4, 5), nn.EmbeddingBag(7, 3), nn.PReLU(), nn.GroupNorm(1, 3)),
    "tied embedding with padding": shared,
    "orthogonal map": lambda: parametrizations.orthogonal(nn.Linear(4, 4), use_trivialization=False),
}


@pytest.mark.parametrize("name", PLAIN)
def test_a_module_of_pytorch_is_recorded_as_it_begins(name):
    assert real_starts.disagreements(PLAIN[name]) == {}


def test_layers_that_are_copied_are_drawn_as_copies():
    found = schemes(encoder)
    name = "layers.0.linear1.weight"
    assert found["layers.2.linear1.weight"] == f"Shared(base={found[name]}, name='{name}')"


def test_halves_of_one_draw_are_independent():
    assert schemes(made(lambda: tuple(torch.randn(6, 4).clone().chunk(2)))) == {
        "0": "Normal(std=1.0)",
        "1": "Normal(std=1.0)",
    }


def test_what_is_drawn_is_on_meta_and_all_else_has_its_values():
    class Rotary(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)
            self.register_buffer("frequencies", 1.0 / 10000 ** (torch.arange(0, 4, 2) / 4), persistent=False)
            self.mask = torch.ones(1024, 1024).tril()
            self.large = torch.zeros(512, 512)

    model, plan = xn.record(Rotary)
    assert [name for name, p in model.named_parameters() if p.is_meta] == ["map.weight", "map.bias"]
    assert plan.counts == {"assign": 4, "keep": 0, "tied": 0}
    assert model.frequencies.tolist() == pytest.approx([1.0, 0.01])
    assert model.mask.sum() == 1024 * 1025 / 2
    assert model.norm.running_var.tolist() == [1.0] * 4
    assert not model.large.any()


@pytest.mark.parametrize("seed", [None, 5])
def test_what_is_made_by_a_generator_is_told_as_without_one(seed):
    def build():
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        given = torch.randn(6, 4, generator=generator), torch.rand(6, 4, generator=generator) * 2
        layer = nn.ParameterList([nn.Parameter(tensor) for tensor in given])
        layer.order = torch.randperm(6, generator=generator), torch.randint(0, 3, (6,), generator=generator)
        del layer.order
        layer.append(torch.normal(0.0, 0.5, (6, 4), generator=generator))
        return layer

    assert schemes(build) == {"0": "Normal(std=1.0)", "1": "Uniform(bound=1.0, mean=1.0)", "2": "Normal(std=0.5)"}


def test_parameters_stay_the_objects_that_the_model_knows():
    class Holding(nn.Module):
        def __init__(self):
            super().__init__()
            self.map = nn.Linear(4, 4)
            self.held = [self.map.weight]
            self.map.weight.no_decay = True
            self.map.bias.requires_grad_(False)

    model, plan = xn.record(Holding)
    assert model.held[0] is model.map.weight
    assert (model.map.weight.is_meta, model.map.weight.no_decay) == (True, True)
    assert plan.by_name["map.bias"].frozen
    recurrent, _ = xn.record(lambda: nn.LSTM(4, 4))
    assert recurrent._flat_weights[0] is recurrent.weight_ih_l0


def test_values_under_later_writes_are_those_of_the_factory():
    def build():
        index = torch.zeros(300, 300, dtype=torch.long)
        index[1:, 1:] = torch.arange(299)[:, None]
        index[0] = 7
        index[:, 0] = 8
        model = nn.Linear(2, 2)
        model.register_buffer("index", index)
        return model

    assert torch.equal(xn.record(build).model.index, build().index)


class Scaled(nn.Module):
    """Tensors made of Python's numbers, as each of the calls that do so makes them."""

    def __init__(self):
        super().__init__()
        self.map, self.norm = nn.Linear(4, 8), nn.BatchNorm1d(8)
        self.logit = nn.Parameter(torch.tensor(2.65))
        self.register_buffer("scale", torch.tensor([2.65]))
        self.register_buffer("positions", torch.as_tensor([1.0, 2.0], dtype=torch.float64))
        self.register_buffer("numbers", torch.asarray(np.arange(3)))
        self.register_buffer("both", torch.tensor([[self.scale[0], torch.full((512, 512), 5.0)[0, 0]]]))
        self.register_buffer("one", torch.scalar_tensor(3.0))
        self.register_buffer("like", self.scale.new_tensor([4.0]))
        self.register_buffer("again", torch.as_tensor(self.scale))


def placed(device, make):
    """What a call makes while a device is the default one."""
    torch.set_default_device(device)
    try:
        return make()
    finally:
        torch.set_default_device(None)


def scaled_on(device):
    with torch.device(device):
        return Scaled()


def asked_for(device):
    model = Scaled()
    model.scale = torch.tensor([2.65], device=device)
    model.positions = torch.as_tensor([1.0, 2.0], dtype=torch.float64, device=torch.device(device))
    model.like = model.scale.new_tensor([4.0], device=device)
    return model


ON_META = {
    "in a block": lambda: xn.record(lambda: scaled_on("meta")),
    "by default in the factory": lambda: xn.record(lambda: placed("meta", Scaled)),
    "by default around it": lambda: placed("meta", lambda: xn.record(Scaled)),
    "by argument": lambda: xn.record(lambda: asked_for("meta")),
}


@pytest.mark.parametrize("case", ON_META)
def test_a_factory_that_builds_on_meta_is_recorded_as_if_it_had_memory(case):
    model, plan = ON_META[case]()
    assert [row.scheme for row in plan.rows] == [
        *("Constant(value=2.65)", "Uniform(bound=0.5)", "Uniform(bound=0.5)", "ones", "zeros")
    ]
    found, expected = (dict(one.named_buffers(remove_duplicate=False)) for one in (model, Scaled()))
    assert {name: (b.dtype, b.tolist()) for name, b in found.items()} == {
        name: (b.dtype, b.tolist()) for name, b in expected.items()
    }


def test_what_a_factory_returns_beside_the_model_is_dropped():
    recorded = xn.record(lambda: (nn.Linear(4, 2), torch.randn(3, 4)))
    assert list(recorded) == [recorded.model, recorded.plan]


def test_no_random_state_is_read_or_advanced():
    torch.manual_seed(3)
    before = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    xn.record(lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before[1:]  # noqa: NPY002
    one = to_json(xn.record(encoder).plan)
    torch.manual_seed(4)
    assert to_json(xn.record(encoder).plan) == one


def test_values_that_numpy_draws_are_kept_and_the_reason_says_so():
    state = np.random.get_state()  # noqa: NPY002
    try:
        rows = xn.record(made(lambda: torch.from_numpy(np.random.randn(3, 4)))).plan.rows  # noqa: NPY002
    finally:
        np.random.set_state(state)  # noqa: NPY002
    assert rows[0].action == "keep"
    assert "NumPy" in rows[0].reason


def test_a_plan_that_is_applied_has_the_laws_of_the_model():
    def build():
        return nn.Sequential(nn.Linear(256, 256), nn.LayerNorm(256))

    plan = xn.record(build).plan
    xn.apply(plan, model := build(), seed=0)
    assert model[0].weight.std().item() == pytest.approx(plan.by_name["0.weight"].expected_std, rel=0.02)
    assert from_text(plan.by_name["0.weight"].scheme).bound == 1 / 16


def test_other_threads_draw_while_a_factory_is_recorded():
    drawn = {}

    def beside():
        weight = torch.full((64, 64), 9.0)
        generator = torch.Generator().manual_seed(0)
        nn.init.trunc_normal_(weight, generator=generator)
        drawn["max"] = weight.abs().max().item()

    def build():
        thread = threading.Thread(target=beside)
        thread.start()
        thread.join()
        return nn.Linear(2, 2)

    inner = nn.init._no_grad_trunc_normal_
    xn.record(build)
    assert 1.0 < drawn["max"] <= 2.0
    assert nn.init._no_grad_trunc_normal_ is inner


def test_everything_is_put_back_where_a_factory_fails():
    def found():
        return (
            nn.init._no_grad_trunc_normal_,
            torch.random.default_generator,
            torch.to_dlpack,
            torch.utils.dlpack.to_dlpack,
        )

    before, during = found(), []

    def build():
        during.extend(found())
        raise ZeroDivisionError("of the factory's own")

    with pytest.raises(ZeroDivisionError):
        xn.record(build)
    assert not set(map(id, during)) & set(map(id, before))
    assert found() == before
    assert nn.init.normal_(torch.zeros(64), generator=torch.Generator().manual_seed(0)).any()


def reads():
    layer = nn.Linear(4, 2)
    return layer if layer.weight.max() > 0 else nn.Linear(4, 3)


def reads_unnoticed():
    layer = nn.Linear(4, 2)
    try:
        layer.values = layer.weight.tolist()
    except ValueError:
        layer.values = []
    return layer


def buffered():
    layer = nn.Linear(4, 2)
    layer.register_buffer("noise", torch.randn(3))
    layer.extra = {"more": [torch.rand(2)]}
    return layer


def repeated():
    row = torch.randn(4)
    return torch.stack([row, row])


def overlapping():
    draw = torch.randn(6, 4)
    return draw[:4].clone(), draw[2:].clone()


def gated(bias):
    bias.uniform_(-0.5, 0.5)
    bias[4:8] = 1.0


class Lazy(nn.Module):
    """Learns its shapes, and in train mode its statistics, from the first input."""

    def __init__(self):
        super().__init__()
        self.map, self.norm = nn.LazyLinear(4), nn.LazyBatchNorm1d()

    def forward(self, x):
        return self.norm(self.map(x))


def run_once(*, is_trained):
    model = Lazy().train(is_trained)
    model(torch.ones(3, 4))
    return model.train()


def ran(model):
    model(torch.ones(1, 4, 4))
    return model


def saved_and_loaded(layer):
    file = io.BytesIO()
    torch.save(layer.state_dict(), file)
    file.seek(0)
    layer.load_state_dict(torch.load(file))
    return layer


def tagged():
    layer = nn.Linear(4, 2)
    noise = torch.randn(2)
    noise.tag = "a tensor with an attribute is reduced another way"
    layer.bias = nn.Parameter(pickle.loads(pickle.dumps(noise)))
    return layer


def seeded(*steps):
    """A factory that runs steps, each a seed or a function; what these return are its layers."""

    def build():
        made = [torch.manual_seed(step) if isinstance(step, int) else step() for step in steps]
        return nn.ModuleList([layer for layer in made if isinstance(layer, nn.Module)])

    return build


def forked(*steps):
    def run():
        with torch.random.fork_rng(devices=[]):
            return seeded(*steps)()

    return run


def layer():
    return nn.Linear(4, 2)


def drawn_by(make_generator):
    """A layer that another generator draws."""

    def make():
        generator, made = make_generator(), layer()
        for parameter in made.parameters():
            nn.init.uniform_(parameter, -0.5, 0.5, generator=generator)
        return made

    return make


def of_seed(seed):
    return lambda: torch.Generator().manual_seed(seed)


def one_generator():
    generator = torch.Generator().manual_seed(0)
    return seeded(*[drawn_by(lambda: generator)] * 2)()


def truncated_by(seed):
    def make():
        generator, made = of_seed(seed)(), layer()
        for parameter in made.parameters():
            nn.init.trunc_normal_(parameter, generator=generator)
        return made

    return make


def state_put_back():
    state = torch.get_rng_state()
    first = layer()
    torch.set_rng_state(state)
    return nn.ModuleList([first, layer()])


def copy_of_a_state_put_back():
    state = torch.get_rng_state().clone()
    first = layer()
    torch.random.set_rng_state(state)
    return nn.ModuleList([first, layer()])


SAME_NUMBERS = {
    "one seed twice": seeded(0, layer, 0, layer),
    "one seed twice, and another between": seeded(0, layer, 1, layer, 0, layer),
    "a seed that the caller gave before": seeded(layer, 31, layer),
    "a state put back": state_put_back,
    "a copy of a state put back": copy_of_a_state_put_back,
    "what was drawn in a fork": seeded(forked(layer), layer),
    "two generators of one seed": seeded(drawn_by(of_seed(3)), drawn_by(of_seed(3))),
    "two generators of one seed, truncated": seeded(truncated_by(3), truncated_by(3)),
    "a seed, and a generator of it": seeded(3, layer, drawn_by(of_seed(3))),
    "two forks of one seed": seeded(forked(3, layer), forked(3, layer)),
}
INDEPENDENT = {
    "one seed": seeded(0, layer, layer),
    "one seed, given twice before any draw": seeded(0, 0, layer, layer),
    "other seeds": seeded(layer, 0, layer, 1, layer),
    "a fork with a seed of its own": seeded(layer, forked(0, layer), layer),
    "what was drawn first is drawn anew": seeded(0, lambda: layer() and None, 0, layer),
    "one generator": one_generator,
    "generators of other seeds": seeded(0, layer, drawn_by(of_seed(1)), drawn_by(of_seed(2))),
    "the global generator, by its name": seeded(0, layer, drawn_by(lambda: torch.default_generator), layer),
    "a copy": seeded(0, layer, lambda: copy.deepcopy(layer())),
}


@pytest.fixture
def caller_seed():
    """The random state of a caller who gave a seed; what was there before comes back."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(31)
        yield


@pytest.mark.usefixtures("caller_seed")
@pytest.mark.parametrize("case", SAME_NUMBERS)
def test_layers_that_a_seed_makes_equal_are_not_told_as_independent(case):
    layers = [one for one in SAME_NUMBERS[case]().modules() if isinstance(one, nn.Linear)]
    assert torch.equal(layers[0].weight, layers[-1].weight)
    torch.manual_seed(31)
    with pytest.raises(
        RecordError, match=r"Parameters '.*weight' and '.*weight' of ModuleList are drawn from the same"
    ):
        xn.record(SAME_NUMBERS[case])


@pytest.mark.usefixtures("caller_seed")
@pytest.mark.parametrize("case", INDEPENDENT)
def test_seeds_that_make_no_layers_equal_are_harmless(case):
    layers = [one for one in INDEPENDENT[case]().modules() if isinstance(one, nn.Linear)]
    assert len({tuple(one.weight.flatten().tolist()) for one in layers}) == len(layers)
    torch.manual_seed(31)
    assert set(schemes(INDEPENDENT[case]).values()) == {"Uniform(bound=0.5)"}


def test_seeds_of_other_threads_are_their_own():
    def build():
        first = layer()
        for _ in range(2):
            thread = threading.Thread(target=torch.manual_seed, args=(5,))
            thread.start()
            thread.join()
        return nn.ModuleList([first, layer()])

    with torch.random.fork_rng(devices=[]):
        assert len(schemes(build)) == 4


REFUSED = {
    "values are read": (reads, "reads values that are drawn: '_local_scalar_dense'.*"),
    "values are read and the error caught": (reads_unnoticed, "reads values that are drawn: 'tolist'"),
    "a buffer": (buffered, "2 tensors of it cannot be told(.|\n)*noise: (.|\n)*extra: "),
    "a row repeated": (made(repeated), "0: written by randn"),
    "parts of one draw that overlap": (made(overlapping), "1: drawn by randn, of entries that 0 holds too"),
    "laws side by side": (written((16,), gated), "0: written by uniform_"),
    "norms of a draw": (lambda: parametrizations.weight_norm(nn.Linear(4, 2)), "original0: written by uniform_, norm"),
    "vectors of a power iteration": (lambda: parametrizations.spectral_norm(nn.Linear(4, 2)), "_u: no parameter"),
    "a law without scheme": (written((4,), lambda w: w.exponential_()), "0: written by exponential_"),
    "statistics of a run": (
        lambda: run_once(is_trained=True),
        "norm.running_(mean|var): no parameter, and written by uniform_, (.|\n)*native_batch_norm",
    ),
    "instance statistics of a run": (
        lambda: ran(nn.Sequential(nn.Linear(4, 4), nn.InstanceNorm1d(4, track_running_stats=True))),
        "1.running_(mean|var): no parameter, and written by uniform_",
    ),
    "a pickled layer": (
        lambda: pickle.loads(pickle.dumps(nn.Linear(4, 2))),
        "reads values that are drawn: 'pickle' of a tensor of shape \\(2, 4\\)",
    ),
    "a pickled tensor": (tagged, "reads values that are drawn: 'pickle'"),
    "a saved layer": (lambda: saved_and_loaded(nn.Linear(4, 2)), "reads values that are drawn: 'pickle'"),
    "a capsule": (
        lambda: nn.ParameterList([nn.Parameter(torch.from_dlpack(torch.utils.dlpack.to_dlpack(torch.randn(3))))]),
        "reads values that are drawn: 'to_dlpack'",
    ),
    "a list of drawn numbers": (
        made(lambda: torch.tensor([1.0, torch.rand(3)[0]])),
        "reads values that are drawn: 'tensor' of a tensor of shape \\(\\)",
    ),
    "lists of drawn numbers": (
        made(lambda: torch.as_tensor([[1.0, 2.0], [3.0, torch.rand(())]])),
        "reads values that are drawn: 'as_tensor'",
    ),
    "parts of a draw, into a list": (
        made(
            lambda: (
                torch.split_copy(torch.ones(2) @ torch.randn(2, 4), 2, out=(halves := [torch.empty(2)] * 2))
                or halves[0]
            )
        ),
        "0: written by randn, ",
    ),
    "a Python function of each entry": (
        written((4,), lambda w: w.normal_().apply_(abs)),
        "reads values that are drawn: 'apply'",
    ),
    "a Python function of two entries": (
        written((4,), lambda w: w.zero_().map_(torch.randn(4), max)),
        "reads values that are drawn: 'map'",
    ),
    "random signs": (written((4,), lambda w: w.bernoulli_()), "0: written by bernoulli_"),
    "a mask": (written((4,), lambda w: w.normal_().mul_(torch.arange(4.0))), "0: written by normal_, mul_"),
    "one drawn number": (written((4,), lambda w: w.fill_(torch.randn(()))), "0: written by randn"),
    "what is drawn, mixed into": (
        written((4, 4), lambda w: torch.mm(torch.ones(4, 4), torch.randn(4, 4), out=w)),
        "0: written by randn, mm",
    ),
    "complex numbers": (lambda: nn.Linear(4, 2, dtype=torch.complex64), "weight: written by uniform_"),
    "never written": (lambda: nn.ParameterList([nn.Parameter(torch.empty(3))]), "0: never written"),
    "no shape": (lambda: nn.LazyLinear(3), "has no shape yet"),
    "no element": (lambda: nn.ParameterList([nn.Parameter(torch.zeros(0, 3))]), "has no element"),
    "no module": (lambda: 3, "returns int; it must return a module"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_plan_can_tell_ends_in_one_error(case):
    factory, message = REFUSED[case]
    with pytest.raises(RecordError, match=message):
        xn.record(factory)


def test_the_fix_for_a_model_without_shapes_works():
    with pytest.raises(RecordError, match=r"has no shape yet(.|\n)*model = build\(\).eval\(\); model\(example\)"):
        xn.record(Lazy)
    model, plan = xn.record(lambda: run_once(is_trained=False))
    assert [row.scheme for row in plan.rows][:2] == ["Uniform(bound=0.5)"] * 2
    assert (model.norm.running_mean.tolist(), model.norm.num_batches_tracked.item()) == ([0.0] * 4, 0)
    assert model.training


def test_known_values_are_pickled_and_drawn_ones_copied():
    def build():
        known = pickle.loads(pickle.dumps(saved_and_loaded(nn.LayerNorm(4))))
        layer = nn.Linear(4, 2)
        layers = nn.ModuleList([layer, copy.deepcopy(layer)])
        shared = copy.copy(layer.bias.data)
        layer.bias.data.zero_()
        layers.append(known).append(nn.ParameterList([nn.Parameter(shared + 1)]))
        return layers.append(copy.copy(layer))

    assert schemes(build) == {
        "0.weight": "Uniform(bound=0.5)",
        "0.bias": "zeros",
        "1.weight": "Shared(base=Uniform(bound=0.5), name='0.weight')",
        "1.bias": "Uniform(bound=0.5)",
        "2.weight": "ones",
        "2.bias": "zeros",
        "3.0": "ones",
        "4.weight": "tied",
        "4.bias": "tied",
    }


def test_numbers_that_are_not_written_yet_are_read_as_they_will_be():
    def build():
        large = torch.full((512, 512), 3.0)
        return torch.from_numpy(large.numpy() + 1.0), torch.tensor(torch.full((512, 512), 2.0)[:2, :2].tolist())

    assert schemes(made(build)) == {"0": "Constant(value=4.0)", "1": "Constant(value=2.0)"}


def test_what_a_python_function_writes_is_known():
    assert schemes(made(lambda: torch.zeros(512, 512).apply_(lambda entry: entry + 2))) == {"0": "Constant(value=2.0)"}
    assert schemes(made(lambda: torch.empty(4).apply_(lambda _: 3.0))) == {"0": "Constant(value=3.0)"}


def test_statistics_of_known_values_are_kept():
    def build():
        norm = nn.BatchNorm1d(2)
        norm(torch.tensor([[1.0, 2.0], [3.0, 6.0]]))
        return norm

    assert torch.equal(xn.record(build).model.running_mean, build().running_mean)


def test_an_error_names_the_line_of_the_factory():
    with pytest.raises(RecordError, match=r"in reads, test_record.py:\d+: return layer if layer.weight.max"):
        xn.record(reads)


def test_a_model_that_would_fill_the_memory_is_recorded_in_a_moment():
    def build():
        layers = [nn.TransformerEncoderLayer(8192, 64, 32768, batch_first=True) for _ in range(4)]
        unwritten = nn.Parameter(torch.empty(2**29).to(torch.bfloat16))
        nn.init.normal_(unwritten)
        embedding = nn.Embedding(100_000, 8192, padding_idx=1)
        return nn.ModuleList([*layers, copy.deepcopy(layers[0]), nn.ParameterList([unwritten]), embedding])

    began, peak = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    model, plan = xn.record(build)
    assert time.process_time() - began < 5.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak < 200_000  # kilobytes
    assert sum(p.numel() for p in model.parameters()) > 4e9
    assert plan.rows[-1].scheme == "ZeroRow(base=Normal(std=1.0), row=1)"


def test_the_oracle_sees_a_wrong_plan():
    def real():
        return nn.Linear(64, 64)

    def scaled():
        layer = nn.Linear(64, 64)
        if torch.empty(1).device.type == "cpu" and not _is_recorded():
            layer.weight.data.mul_(1.1)
        return layer

    assert real_starts.disagreements(real) == {}
    assert list(real_starts.disagreements(scaled)) == ["weight"]


def _is_recorded():
    return bool(torch.utils._python_dispatch._get_current_dispatch_mode_stack())


class KeyedByHand(nn.Module):
    """A constructor that writes by exnihilo's own functions."""

    def __init__(self, key):
        super().__init__()
        self.map = nn.Linear(8, 8)
        xn.init.normal_(self.map.weight, 0.0, 0.3, key=key)
        self.turned = nn.Linear(8, 8, bias=False)
        xn.init.kaiming_uniform_(self.turned.weight.T, key=key)


def test_what_is_drawn_under_a_key_is_kept_as_it_is():
    key = xn.Key(3, "by hand")
    model, plan = xn.record(lambda: KeyedByHand(key))
    xn.materialize(model, plan, seed=0)
    real = KeyedByHand(key)
    assert torch.equal(model.map.weight, real.map.weight) and torch.equal(model.turned.weight, real.turned.weight)
    assert {row.parameter: row.action for row in plan.rows} == {
        "map.weight": "keep",
        "map.bias": "assign",
        "turned.weight": "keep",
    }


def test_a_key_that_comes_out_of_a_generator_is_a_drawn_value_that_is_read():
    with pytest.raises(RecordError, match="reads values that are drawn"):
        xn.record(lambda: KeyedByHand(None))
