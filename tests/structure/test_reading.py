"""What `read` does with models and examples that cannot be read, and that it does not disturb what is around it."""

import random

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

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
