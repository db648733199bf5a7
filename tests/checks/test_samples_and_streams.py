"""What a check says of samples, tokens, routers, padding and streams, each with its healthy like."""

import pytest
import torch
from torch import nn

from exnihilo import check

CRITERION = nn.CrossEntropyLoss()
WIDTH, PLACES, CLASSES = 32, 6, 4


def sequences(n=16):
    torch.manual_seed(1)
    return torch.randn(n, PLACES, 12), torch.arange(n) % CLASSES


def ids(n=16, length=20):
    torch.manual_seed(1)
    return torch.randint(1, 50, (n, length)), torch.arange(n) % CLASSES


class Places(nn.Module):
    """One map for each place, a mean over places, and a head; what ``forward`` does between them is the question."""

    def __init__(self, between=lambda h: h, before=lambda x: x):
        super().__init__()
        self.map, self.head, self.before, self.between = (
            nn.Linear(12, WIDTH),
            nn.Linear(WIDTH, CLASSES),
            before,
            between,
        )

    def forward(self, x):
        return self.head(self.between(torch.relu(self.map(self.before(x))))).mean(1)


class Recurrent(nn.Module):
    def __init__(self, batch_first):
        super().__init__()
        self.over, self.head = nn.LSTM(12, WIDTH, batch_first=batch_first), nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        return self.head(self.over(x)[0].mean(1))


class Mixing(nn.Module):
    """A block that lets the samples change places with the steps of a sequence."""

    def forward(self, h):
        return h.transpose(0, 1).reshape(h.shape)


class Routed(nn.Module):
    def __init__(self, shift=0.0, experts=4):
        super().__init__()
        self.router = nn.Linear(12, experts)
        self.experts = nn.ModuleList(nn.Linear(12, 12) for _ in range(experts))
        self.head = nn.Linear(12, CLASSES)
        with torch.no_grad():
            self.router.bias[1] += shift

    def forward(self, x):
        share, chosen = self.router(x).softmax(-1).topk(1, -1)
        given = sum(torch.where(chosen == e, expert(x) * share, 0 * x) for e, expert in enumerate(self.experts))
        return self.head(x + given).mean(1)


class Attending(nn.Module):
    def __init__(self, *, skip, fused):
        super().__init__()
        self.skip, self.fused = skip, fused
        self.words = nn.Embedding(50, WIDTH)
        self.maps = nn.ModuleList(nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(3)) for _ in range(8))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x):
        h = self.words(x)
        for maps in self.maps:
            q, k, v = (m(h) for m in maps)
            if self.fused:
                a = nn.functional.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]
            else:
                a = (q @ k.transpose(1, 2) / WIDTH**0.5).softmax(-1) @ v
            h = h + a if self.skip else a
        return self.head(h).mean(1)


class Stream(nn.Module):
    def __init__(self, gain):
        super().__init__()
        self.first, self.last = nn.Linear(12, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)) for _ in range(30)
        )
        for block in self.blocks:
            nn.init.kaiming_normal_(block[0].weight)
            nn.init.normal_(block[2].weight, std=gain * WIDTH**-0.5)

    def forward(self, x):
        h = self.first(x.mean(1))
        for block in self.blocks:
            h = h + block(h)
        return self.last(h)


class Padded(nn.Module):
    def __init__(self, *, filled):
        super().__init__()
        self.words, self.head = nn.Embedding(50, WIDTH, padding_idx=0), nn.Linear(WIDTH, CLASSES)
        if filled:
            nn.init.normal_(self.words.weight)

    def forward(self, x):
        return self.head(self.words(x).mean(1))


def named(found, code):
    return next((finding for finding in found.findings if finding.code == code), None)


def checked(make, batch):
    torch.manual_seed(0)
    return check(make(), batch, criterion=CRITERION)


WRONG = {
    "a constant in the place of the input": (
        lambda: Places(before=torch.ones_like),
        sequences,
        "ignores-input",
        "FAIL",
    ),
    "an input times zero": (lambda: Places(before=lambda x: 0 * x), sequences, "ignores-input", "FAIL"),
    "a transposed view": (lambda: Places(Mixing()), sequences, "mixes-samples", "WARN"),
    "time first": (lambda: Recurrent(batch_first=False), sequences, "mixes-samples", "WARN"),
    "one expert for all": (lambda: Routed(20.0), sequences, "router-balance", "WARN"),
    "attention without shortcuts": (lambda: Attending(skip=False, fused=False), ids, "rank-collapse", "FAIL"),
    "fused attention without shortcuts": (lambda: Attending(skip=False, fused=True), ids, "rank-collapse", "FAIL"),
    "branches as large as the stream": (lambda: Stream(2.0), sequences, "growing-stream", "WARN"),
    "a filled padding row": (lambda: Padded(filled=True), ids, "padding-row", "INFO"),
}
RIGHT = {
    "places": (Places, sequences, {"ignores-input", "mixes-samples"}),
    "batch norm": (lambda: Places(normed_over_samples()), sequences, {"mixes-samples"}),
    "a zero head": (lambda: zero_head(Places()), sequences, {"ignores-input"}),
    "batch first": (lambda: Recurrent(batch_first=True), sequences, {"mixes-samples"}),
    "routed": (Routed, sequences, {"router-balance", "dead-region"}),
    "many experts": (lambda: Routed(experts=64), lambda: sequences(8), {"router-balance", "dead-region"}),
    "attention": (lambda: Attending(skip=True, fused=False), ids, {"rank-collapse"}),
    "fused attention": (lambda: Attending(skip=True, fused=True), ids, {"rank-collapse"}),
    "small branches": (lambda: Stream(0.1), sequences, {"growing-stream"}),
    "a padding row of zeros": (lambda: Padded(filled=False), ids, {"padding-row"}),
}  # fmt: skip


def normed_over_samples():
    return nn.Sequential(nn.Flatten(0, 1), nn.BatchNorm1d(WIDTH), nn.Unflatten(0, (-1, PLACES)))


def zero_head(model):
    nn.init.zeros_(model.head.weight)
    return model


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_said(name):
    make, batch, code, severity = WRONG[name]
    finding = named(checked(make, batch()), code)
    assert finding is not None
    assert finding.severity == severity


@pytest.mark.parametrize("name", RIGHT)
def test_its_healthy_like_is_not(name):
    make, batch, codes = RIGHT[name]
    found = checked(make, batch())
    assert not [finding for finding in found.with_severity("FAIL", "WARN") if finding.code in codes]
    assert "padding-row" not in codes or named(found, "padding-row") is None


def test_the_innermost_module_that_mixes_is_named():
    finding = named(checked(lambda: Places(nn.Sequential(nn.Identity(), Mixing())), sequences()), "mixes-samples")
    assert "it begins in between.1" in finding.evidence


def test_a_graph_may_mix_its_nodes():
    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.head = nn.Linear(12, WIDTH), nn.Linear(WIDTH, CLASSES)

        def forward(self, x, near):
            return self.head(torch.relu(near @ self.map(x)))

    torch.manual_seed(0)
    x, near, y = torch.randn(8, 12), torch.rand(8, 8), torch.arange(8) % CLASSES
    found = check(Graph(), ((x, near), y), criterion=CRITERION)
    assert named(found, "mixes-samples").severity == "INFO"
    assert found.ok


def test_sequences_that_lie_time_first_may_be_meant():
    class Tagger(nn.Module):
        def __init__(self):
            super().__init__()
            self.over, self.head = nn.LSTM(12, WIDTH), nn.Linear(WIDTH, CLASSES)

        def forward(self, x):
            return self.head(self.over(x)[0]).flatten(0, 1)

    torch.manual_seed(0)
    x, y = torch.randn(8, 5, 12), torch.randint(0, CLASSES, (8, 5))
    found = check(Tagger(), (x, y), lambda model, batch: CRITERION(model(batch[0]), batch[1].flatten()))
    assert named(found, "mixes-samples") is None or named(found, "mixes-samples").severity == "INFO"


def test_a_model_that_draws_its_own_noise_mixes_nothing():
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.map, self.noise = nn.Linear(12, CLASSES), torch.Generator().manual_seed(3)

        def forward(self, x):
            return self.map(x.mean(1)) + torch.randn(len(x), CLASSES, generator=self.noise)

    model, state = Noisy(), torch.Generator().manual_seed(3).get_state()
    assert named(check(model, sequences(), criterion=CRITERION), "mixes-samples") is None
    assert torch.equal(model.noise.get_state(), state)


def test_closed_branches_hold_a_stream_that_grew():
    finding = named(checked(lambda: Stream(2.0), sequences()), "growing-stream")
    assert finding.remedy.verified == "not found again"
    assert {edit.parameter for edit in finding.remedy.edits} >= {f"blocks.{i}.2.weight" for i in range(30)}


def test_experts_that_rest_are_told_as_information():
    found = checked(lambda: Routed(experts=64), sequences(8))
    assert found.ok
    assert any("experts that no place" in finding.evidence for finding in found.with_severity("INFO"))
