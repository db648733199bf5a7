"""What `read` does with models and examples that cannot be read, and that it does not disturb what is around it."""

import random
import threading
from collections import UserDict
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from exnihilo.errors import ReadError
from exnihilo.structure.reader import read
from exnihilo.structure.records import Role


def two_layers():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


def test_a_model_that_does_not_run_says_why_and_how_far_it_got():
    with pytest.raises(ReadError) as caught:
        read(two_layers(), torch.zeros(1, 5))
    text = str(caught.value)
    assert text.startswith("Sequential does not run on the example: RuntimeError: ")
    assert "it got as far as a Linear" in text
    assert "example: (1, 5) float32 on cpu" in text
    assert "Fix: pass what the model's forward takes" in text


def test_a_model_whose_output_depends_on_no_parameter_is_refused():
    class Constant(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return x + 1

    with pytest.raises(ReadError, match="No output of Constant depends on a parameter"):
        read(Constant(), torch.zeros(1, 2))


def test_a_lazy_module_is_refused_with_the_parameter_that_has_no_shape():
    with pytest.raises(ReadError, match=r"Parameter '0.weight' of Sequential has no shape yet"):
        read(nn.Sequential(nn.LazyLinear(2)), torch.zeros(1, 2))


def test_an_example_on_another_device_is_refused():
    with FakeTensorMode():
        elsewhere = torch.empty(1, 4, device="cuda")
    with pytest.raises(ReadError, match=r"The example is on cuda:0, the parameters of Sequential on cpu"):
        read(two_layers(), elsewhere)


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_a_model_on_the_meta_device_is_read_like_any_other(device):
    on_meta = read(two_layers().to("meta"), torch.zeros(1, 4, device=device))
    plain = read(two_layers(), torch.zeros(1, 4))
    assert [(p.name, p.role, p.layout) for p in on_meta.parameters] == [
        (p.name, p.role, p.layout) for p in plain.parameters
    ]


def test_a_model_that_asks_for_values_is_read_with_real_ones_and_says_so():
    class Asks(nn.Module):
        def __init__(self):
            super().__init__()
            self.small, self.large = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            return self.large(x) if x.sum() > 0 else self.small(x)

    structure = read(Asks(), torch.ones(1, 2))
    assert structure.reading.mode == "real"
    assert len(structure.reading.failures) == 4
    assert [p.name for p in structure.parameters if not p.used] == ["small.weight", "small.bias"]


def test_layers_that_are_left_out_at_random_are_read_all_the_same():
    class Drops(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(20))

        def forward(self, x):
            for layer in self.layers:
                if not (self.training and torch.rand([]) < 0.9):
                    x = x + layer(torch.relu(x))
            return x

    structure = read(Drops(), torch.zeros(1, 3))
    assert structure.depth == 20
    assert all(p.used for p in structure.parameters)


def test_python_and_numpy_draws_of_a_model_leave_no_trace():
    class Draws(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x):
            return self.layer(x) * (1 + random.random() + np.random.rand())  # noqa: NPY002

    before, drawn = random.getstate(), np.random.get_state()[1].copy()  # noqa: NPY002
    read(Draws(), torch.zeros(1, 2))
    assert random.getstate() == before
    assert (np.random.get_state()[1] == drawn).all()  # noqa: NPY002


def test_a_tensor_that_a_forward_keeps_is_not_kept_in_the_model():
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.seen, self.calls = nn.Linear(2, 2), None, []

        def forward(self, x):
            self.seen = self.layer(x)
            self.calls.append(1)
            return self.seen

    model = Keeps()
    read(model, torch.zeros(1, 2))
    assert model.seen is None
    assert model.calls == []


def test_reading_needs_no_memory_for_weights():
    with torch.device("meta"):
        model = nn.Sequential(*(nn.Linear(100_000, 100_000, bias=False) for _ in range(20)))
    structure = read(model, torch.zeros(1, 100_000))
    assert [p.role for p in structure.parameters] == [Role.STEM, *[Role.HIDDEN] * 18, Role.HEAD]


class Counts(nn.Module):
    """A layer and a batch norm, with a counter for hooks to count in."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Linear(2, 2), nn.BatchNorm1d(2)
        self.register_buffer("n", torch.zeros(()))

    def forward(self, x):
        return self.norm(self.layer(x))


def test_a_hook_that_counts_in_the_model_itself_leaves_no_trace():
    model = Counts()
    counter = model.n

    def count(*_):
        model.n.add_(1)
        model.norm.running_mean.data.add_(1)
        model.n, model.seen = model.n + 1, True

    model.register_forward_hook(count)
    assert all(p.used for p in read(model, torch.ones(3, 2)).parameters)
    assert model.n is counter
    assert model.n == 0
    assert torch.equal(model.norm.running_mean, torch.zeros(2))
    assert not hasattr(model, "seen")


def test_a_forward_that_calls_the_models_own_is_refused_and_changes_no_buffer():
    model = Counts()
    own = model.forward
    model.forward = lambda x: own(x) * 2
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with pytest.raises(ReadError, match=r"A copy of Counts reads 'layer.weight' of the model itself"):
        read(model, torch.ones(3, 2))
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())


def test_a_hook_that_changes_a_parameter_of_the_model_itself_is_told():
    model = two_layers()
    model.register_forward_hook(lambda *_: model[0].bias.detach().zero_())
    with pytest.raises(ReadError, match=r"Running a copy of Sequential changed '0.bias' of the model itself"):
        read(model, torch.ones(1, 4))


def test_an_object_in_the_example_is_not_changed():
    class Cache:
        def __init__(self):
            self.keys, self.length = [torch.zeros(1, 2)], 0

    class Caches(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x, cache):
            cache.length += 1
            cache.keys[0].add_(1)
            cache.keys.append(self.layer(x + cache.keys[0]))
            return cache.keys[-1]

    cache = Cache()
    assert all(p.used for p in read(Caches(), (torch.ones(1, 2), cache)).parameters)
    assert cache.length == 0
    assert torch.equal(torch.stack(cache.keys), torch.zeros(1, 1, 2))


@pytest.mark.parametrize("kept", [lambda: torch.rand(()) < 0.8, lambda: random.random() < 0.5])
def test_layers_that_are_kept_at_random_are_read_in_eval_mode(kept):
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(3, 3) for _ in range(8))

        def forward(self, x):
            for layer in self.layers:
                if not self.training or kept():
                    x = x + layer(torch.relu(x))
            return x

    structure = read(Keeps(), torch.zeros(1, 3))
    assert structure.depth == 8
    assert not structure.reading.training
    assert structure.reading.failures == ()


def test_a_head_for_training_alone_is_read_in_training_mode():
    class Auxiliary(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.head, self.auxiliary, self.unused = (nn.Linear(3, 3) for _ in range(4))

        def forward(self, x):
            x = torch.relu(self.stem(x))
            return (self.head(x), self.auxiliary(x)) if self.training else self.head(x)

    structure = read(Auxiliary(), torch.zeros(1, 3))
    assert structure.reading.training
    assert [p.name for p in structure.parameters if not p.used] == ["unused.weight", "unused.bias"]


@pytest.mark.parametrize(("held", "kind"), [(threading.Lock(), "lock"), ((i for i in range(3)), "generator")])
def test_a_model_that_cannot_be_copied_names_the_attribute(held, kind):
    model = two_layers()
    model[2].held = held
    with pytest.raises(ReadError, match=r"^Sequential cannot be copied: TypeError: cannot pickle") as caught:
        read(model, torch.zeros(1, 4))
    assert f"it holds '2.held', a {kind}" in str(caught.value)
    assert "tried" not in str(caught.value)


def test_results_of_an_earlier_run_may_lie_in_a_models_attributes():
    model = two_layers()
    model.losses, model.kept = [model(torch.zeros(1, 4)).sum()], {"out": (model(torch.zeros(1, 4)),)}
    structure = read(model, torch.zeros(1, 4))
    assert structure.reading.mode == "meta"
    assert all(p.used for p in structure.parameters)


def test_a_list_of_tensors_that_are_no_buffers_is_read_without_memory():
    class Holds(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.shifts = nn.Linear(2, 2), [torch.ones(2)]

        def forward(self, x):
            return self.layer(x + self.shifts[0])

    assert read(Holds(), torch.zeros(1, 2)).reading.mode == "meta"


def test_three_hundred_modules_in_one_another_are_read():
    model = nn.Linear(4, 4)
    for _ in range(300):
        model = nn.Sequential(model)
    assert all(p.used for p in read(model, torch.zeros(1, 4)).parameters)


def test_what_a_parameter_carries_is_there_when_the_model_runs():
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(4, 4))
            self.weight.gain = 2

        def forward(self, x):
            return x @ self.weight * self.weight.gain

    assert read(Scaled(), torch.zeros(1, 4)).reading.mode == "meta"


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda model: torch.jit.trace(model, torch.zeros(1, 4))])
@pytest.mark.filterwarnings("ignore")
def test_a_script_module_is_refused(compiled):
    with pytest.raises(ReadError, match=r"^The model is a ScriptModule"):
        read(compiled(two_layers()), torch.zeros(1, 4))
    with pytest.raises(ReadError, match=r"^'0' of Sequential is a ScriptModule"):
        read(nn.Sequential(compiled(two_layers())), torch.zeros(1, 4))


def test_a_parameter_without_elements_is_named():
    model = two_layers()
    model.empty = nn.Module()
    model.empty.weight = nn.Parameter(torch.ones(4, 0))
    with pytest.raises(ReadError, match=r"Parameter 'empty.weight' of Sequential has no element"):
        read(model, torch.zeros(1, 4))


@dataclass(slots=True)
class Output:
    logits: torch.Tensor


class Named(nn.Module):
    """Takes its input by name, and returns an object without a __dict__."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, *, ids, mask=1):
        return Output(self.layer(ids * mask))


def test_any_mapping_is_keyword_arguments_and_an_output_with_slots_is_searched():
    structure = read(Named(), UserDict(ids=torch.ones(1, 2), mask=torch.ones(1, 2)))
    assert structure.reading.mode == "meta"
    assert all(p.used for p in structure.parameters)


def test_a_complex_output_behind_a_reentrant_checkpoint_is_followed():
    class Complex(nn.Module):
        def __init__(self):
            super().__init__()
            self.real, self.imaginary = nn.Linear(2, 2), nn.Linear(2, 2)

        def forward(self, x):
            both = lambda h: torch.complex(self.real(h), self.imaginary(h))  # noqa: E731
            return checkpoint(both, x.requires_grad_(), use_reentrant=True).conj()

    assert not any(p.detached for p in read(Complex(), torch.ones(1, 2)).parameters)


@pytest.mark.parametrize("shape", [(16, 8), (1, 16, 8)])
def test_learned_places_beside_looked_up_words_are_no_bias(shape):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            self.words, self.places = nn.Embedding(50, 8), nn.Parameter(torch.zeros(shape))
            self.head = nn.Linear(8, 4)

        def forward(self, ids):
            return self.head(self.words(ids) + self.places)

    roles = {p.name: p.role for p in read(Words(), torch.zeros(2, 16, dtype=torch.int64)).parameters}
    assert roles["places"] is Role.POSITION
    assert roles["words.weight"] is Role.EMBEDDING
