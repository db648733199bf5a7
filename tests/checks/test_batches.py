"""Batches of any form are cut where their model allows it, and what some samples do not reach is seen on all."""

from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import gated
from exnihilo.checks.check import check
from exnihilo.probes.batches import parts
from exnihilo.probes.fates import learning_of
from exnihilo.probes.question import Question
from exnihilo.probes.trial import Trial

D, N = gated.D, 20


class Sizes(nn.Module):
    """Notes how much it was given, in a list that the copies share."""

    def __init__(self, seen, reads):
        super().__init__()
        self.seen, self.reads = (lambda shape: seen.append(shape)), reads
        self.map, self.head = nn.Linear(D, D), nn.Linear(D, 4)

    def forward(self, *args, **kwargs):
        x = self.reads(*args, **kwargs)
        self.seen(tuple(x.shape))
        return self.head(torch.tanh(self.map(x)))


class Pair(NamedTuple):
    x: torch.Tensor
    y: torch.Tensor


class Own:
    """A user's own class, which says nothing of where its samples lie."""

    def __init__(self, x, y):
        self.x, self.y = x, y


def x_of(batch):
    return batch.x if hasattr(batch, "x") else batch["x"] if isinstance(batch, dict) else batch[0]


def nested():
    x, y = gated.samples(N)
    return (x, (x, x)), y


X, Y = gated.samples(N)
FORMS = {
    "a tuple": (X, Y),
    "a list": [X, Y],
    "a dict": {"x": X, "y": Y},
    "a named tuple": Pair(X, Y),
    "an object": Own(X, Y),
    "a dict with what is no tensor": {"x": X, "y": Y, "names": ["one", "two"], "scale": 2.0},
}
CUT = {"a tuple", "a list", "a dict", "a named tuple", "a dict with what is no tensor"}


def loss(model, batch):
    target = batch.y if hasattr(batch, "y") else batch["y"] if isinstance(batch, dict) else batch[1]
    return F.cross_entropy(model(x_of(batch)), target)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_in_any_form_is_cut_where_it_tells_its_samples(form):
    torch.manual_seed(0)
    seen = []
    model = Sizes(seen, lambda x: x)
    nn.init.zeros_(model.head.weight)
    found = check(model, FORMS[form], loss)
    assert found.opening_step == {"map.weight": 2, "map.bias": 2, "head.weight": 1, "head.bias": 1}
    sizes = [shape[0] for shape in seen]
    assert set(sizes) == ({8, N} if form in CUT else {N})
    assert sizes.count(N) == 1 or form not in CUT  # that the whole runs is seen once
    assert type(FORMS[form]) is type(parts(FORMS[form], 8)[0].batch)


def test_arguments_in_nested_tuples_are_cut_alike():
    torch.manual_seed(0)
    seen = []
    model = Sizes(seen, lambda x, pair: x + pair[0] * pair[1])
    found = check(model, nested(), criterion=nn.CrossEntropyLoss())
    assert found.ok
    assert set(seen) == {(8, D), (N, D)}
    assert seen.count((N, D)) == 1


def test_a_tokenizers_output_keeps_its_class():
    transformers = pytest.importorskip("transformers")
    batch = transformers.BatchEncoding({"input_ids": torch.ones(N, 5, dtype=torch.int64), "attention_mask": None})
    part = parts(batch, 8)[0].batch
    assert type(part) is transformers.BatchEncoding
    assert part.input_ids.shape == (8, 5)


class OnWhole(nn.Module):
    """Refuses any batch that is not the whole, as a model with a state for each sample does."""

    def __init__(self):
        super().__init__()
        self.state, self.head = nn.Parameter(torch.randn(N, D)), nn.Linear(D, 4)

    def forward(self, x):
        return self.head(x * self.state)


def test_a_batch_that_cannot_be_cut_is_taken_whole():
    torch.manual_seed(0)
    found = check(OnWhole(), (X, Y), criterion=nn.CrossEntropyLoss())
    assert found.ok
    assert found.facts.num_samples == N


class Graph(nn.Module):
    """Nodes with edges between them: the numbers of nodes and of edges differ."""

    def __init__(self):
        super().__init__()
        self.map, self.head = nn.Linear(D, D), nn.Linear(D, 4)

    def forward(self, x, edges):
        gathered = torch.zeros_like(x).index_add(0, edges[1], x[edges[0]])
        return self.head(torch.relu(self.map(x + gathered)))


def test_a_graph_whose_edges_point_beyond_the_first_nodes_is_taken_whole():
    torch.manual_seed(0)
    edges = torch.randint(0, N, (2, 50))
    found = check(Graph(), ((X, edges), Y), criterion=nn.CrossEntropyLoss())
    assert found.ok
    assert found.facts.num_samples == N


class Reached(nn.Module):
    """A layer behind a ReLU that only one of the samples switches on."""

    def __init__(self):
        super().__init__()
        self.gate, self.inner, self.head = nn.Linear(1, D), nn.Linear(D, D), nn.Linear(D, 4)
        nn.init.ones_(self.gate.weight)
        nn.init.zeros_(self.gate.bias)

    def forward(self, x):
        return self.head(x + torch.tanh(self.inner(torch.relu(self.gate(x[:, :1])))))


@pytest.mark.parametrize("which", [19, 150])
def test_what_one_late_sample_reaches_is_not_called_dead(which):
    torch.manual_seed(0)
    x, y = gated.samples(200)
    x[:, 0] = -1.0
    model = Reached()
    before = check(model, (x, y), criterion=nn.CrossEntropyLoss())
    assert before.opening_step["gate.weight"] is None
    assert not before.ok
    x[which, 0] = 1.0
    after = check(model, (x, y), criterion=nn.CrossEntropyLoss())
    assert after.opening_step["gate.weight"] == 1
    assert after.ok


class Expert(nn.Module):
    """A layer that is given only the samples whose first number is positive."""

    def __init__(self):
        super().__init__()
        self.expert, self.head = nn.Linear(D, D), nn.Linear(D, 4)

    def forward(self, x):
        rows = (x[:, 0] > 0).nonzero().flatten()
        return self.head(x.index_add(0, rows, torch.tanh(self.expert(x[rows]))))


@pytest.mark.parametrize("which", [19, 150])
def test_an_expert_that_one_late_sample_reaches_is_used(which):
    torch.manual_seed(0)
    x, y = gated.samples(200)
    x[:, 0] = -1.0
    question = Question(batch=(x, y), criterion=nn.CrossEntropyLoss())
    assert learning_of(Expert(), question).by_name["expert.weight"].fate == "unused"
    x[which, 0] = 1.0
    assert learning_of(Expert(), question).by_name["expert.weight"].step == 1


class Words(nn.Module):
    """Token ids to next tokens, of any length or of one length only."""

    def __init__(self, seen, length=None):
        super().__init__()
        self.table, self.map, self.head = nn.Embedding(30, D), nn.Linear(D, D), nn.Linear(D, 30)
        self.places = nn.Parameter(torch.randn(length, D)) if length else None
        self.seen = lambda shape: seen.append(shape)

    def forward(self, input_ids, labels=None):
        x = self.table(input_ids)
        x = x if self.places is None else x + self.places
        self.seen(tuple(input_ids.shape))
        logits = self.head(torch.tanh(self.map(x)))
        return {"loss": F.cross_entropy(logits.flatten(0, 1), labels.flatten())}


def long_words(length=200):
    ids = torch.randint(0, 30, (12, length), generator=torch.Generator().manual_seed(3))
    return {"input_ids": ids, "labels": ids.roll(1, 1)}


def test_long_sequences_are_shortened():
    torch.manual_seed(0)
    seen = []
    assert check(Words(seen), long_words()).ok
    assert set(seen) == {(8, 64), (12, 200)}
    assert seen.count((12, 200)) == 1


def test_sequences_whose_length_a_model_needs_are_taken_whole():
    torch.manual_seed(0)
    seen = []
    found = check(Words(seen, length=200), long_words())
    assert found.ok
    assert set(seen) == {(8, 200), (12, 200)}
    assert seen.count((12, 200)) == 1
    assert all(step == 1 for step in found.opening_step.values())


def test_labels_that_are_masked_at_first_make_no_loss_of_nan():
    torch.manual_seed(0)
    batch = long_words()
    batch["labels"][:, :150] = -100
    found = check(Words([]), batch)
    assert found.ok
    assert "not-finite" not in {finding.code for finding in found.findings}


def test_features_are_no_sequence():
    shapes = [tuple(part.batch[0].shape) for part in parts((torch.zeros(32, 784), torch.zeros(32)), 8)]
    assert shapes == [(8, 784), (32, 784)]


def test_what_was_heard_of_a_part_that_failed_is_forgotten():
    """Of a model that needs all of its sequences, the size of the first output is that on all of them."""
    torch.manual_seed(0)
    model, batch = Words([], length=200), long_words()
    with torch.no_grad():
        batch["input_ids"][:, 64:] = 7
        model.table.weight[7] = 100.0
    found = {stage.name: stage.forward for stage in check(model, batch).stages}
    size = model.table(batch["input_ids"][:8]).detach().square().mean().sqrt()
    assert found["table"] == pytest.approx(float(size), rel=1e-5)


def test_a_trial_looks_at_no_more_than_it_needs():
    trial = Trial(Words([]), Question(batch=long_words()), samples=3)
    assert (trial.num_samples, trial.is_whole) == (3, False)
    trial = Trial(Words([]), Question(batch=long_words()), samples=None)
    assert (trial.num_samples, trial.is_whole) == (12, True)
