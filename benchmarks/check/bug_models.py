"""Models of public initialization bugs, rebuilt small and in our own words, each with its bug and without."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.subjects import CLASSES
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WIDTH = 32


class Adapter(nn.Module):
    """A frozen map with a low-rank path; which of its factors are zero, and when they are written, is the question."""

    def __init__(self, zero_down: bool, random_up: bool = False):
        super().__init__()
        self.base = nn.Linear(16, WIDTH).requires_grad_(False)
        self.down, self.up, self.head = (
            nn.Linear(16, 4, bias=False),
            nn.Linear(4, WIDTH, bias=False),
            nn.Linear(WIDTH, CLASSES),
        )
        if not random_up:
            nn.init.zeros_(self.up.weight)
        if zero_down:
            nn.init.zeros_(self.down.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.base(x) + self.up(self.down(x))))


class Fusion(nn.Module):
    """A gate of two maps on a residual stream."""

    def __init__(self, both: bool):
        super().__init__()
        self.stem, self.head = nn.Linear(16, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.first, self.second = nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
        nn.init.zeros_(self.second.weight)
        if both:
            nn.init.zeros_(self.first.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.stem(x))
        return self.head(x + torch.tanh(self.second(torch.relu(self.first(x)))) * x)


class Attending(nn.Module):
    """Graph attention whose scores come from two vectors."""

    def __init__(self, written: bool, size: int = WIDTH):
        super().__init__()
        self.map, self.head = nn.Linear(16, size), nn.Linear(size, CLASSES)
        self.source, self.target = nn.Parameter(torch.Tensor(1, size)), nn.Parameter(torch.Tensor(1, size))
        if written:
            nn.init.xavier_uniform_(self.source)
            nn.init.xavier_uniform_(self.target)

    def forward(self, x: Tensor) -> Tensor:
        h = self.map(x)
        scores = (h * self.source).sum(-1)[:, None] + (h * self.target).sum(-1)[None]
        return self.head(torch.relu(F.leaky_relu(scores, 0.2).softmax(-1) @ h + h))


class Background(nn.Module):
    """Class scores against learned embeddings, of which one is the background's."""

    def __init__(self, written: bool):
        super().__init__()
        self.map, self.classes = nn.Linear(16, WIDTH), nn.Parameter(torch.randn(CLASSES - 1, WIDTH) * 0.1)
        self.background = nn.Parameter(torch.empty(1, WIDTH))
        if written:
            nn.init.kaiming_uniform_(self.background)

    def forward(self, x: Tensor) -> Tensor:
        return F.normalize(self.map(x), dim=-1) @ F.normalize(torch.cat([self.classes, self.background]), dim=-1).T * 5


class Projected(nn.Module):
    """A projection and a position table that are made empty."""

    def __init__(self, written: bool):
        super().__init__()
        self.places = nn.Parameter(torch.empty(4, 4))
        self.map, self.projection = nn.Linear(16, WIDTH), nn.Parameter(torch.empty(WIDTH, CLASSES))
        if written:
            nn.init.normal_(self.places, std=0.01)
            nn.init.normal_(self.projection, std=WIDTH**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.map((x.unflatten(-1, (4, 4)) + self.places).flatten(1))) @ self.projection


class OwnConvolution(nn.Module):
    """A convolution of one's own whose bias is never written."""

    def __init__(self, written: bool):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(8, 3, 3, 3) / 5), nn.Parameter(torch.empty(8))
        self.head = nn.Linear(8, CLASSES)
        if written:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(F.conv2d(x, self.weight, self.bias)).mean((2, 3)))


def uniform_fill(broken: bool) -> nn.Module:
    """A test network whose maps are all filled with one value, or with a slope over it."""
    model = nn.Sequential(
        nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES)
    )
    for layer in (model[0], model[2], model[4]):
        with torch.no_grad():
            layer.weight.fill_(0.05)
            if not broken:
                layer.weight.add_(0.1 * torch.randn_like(layer.weight))
            layer.bias.zero_()
    return model


class Language(nn.Module):
    """A small language model; the sizes of its table and its head are the question."""

    def __init__(self, table: float, head: float, tied: bool):
        super().__init__()
        self.words, self.head = nn.Embedding(96, 64), nn.Linear(64, 96, bias=False)
        self.norm, self.up, self.down = nn.LayerNorm(64), nn.Linear(64, 128), nn.Linear(128, 64)
        nn.init.normal_(self.words.weight, std=table)
        nn.init.normal_(self.head.weight, std=head)
        if tied:
            self.head.weight = self.words.weight

    def forward(self, input_ids: Tensor, labels: Tensor) -> Any:
        x = self.words(input_ids)
        x = self.norm(x + self.down(F.gelu(self.up(x))))
        return self.head(x)


def next_word(model: nn.Module, batch: Any) -> Tensor:
    return F.cross_entropy(model(**batch)[:, :-1].flatten(0, 1), batch["labels"][:, 1:].flatten())


def spatial(broken: bool) -> nn.Module:
    """A localization network that is to begin at the identity: its last map is zero, and so was the one before it."""

    class Localized(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(16, WIDTH), nn.Linear(WIDTH, 16, bias=False)
            self.head = nn.Linear(16, CLASSES)
            nn.init.zeros_(self.last.weight)
            if broken:
                nn.init.zeros_(self.first.weight)
                nn.init.zeros_(self.first.bias)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(torch.relu(x * (1 + self.last(torch.relu(self.first(x))))))

    return Localized()


def grown(broken: bool) -> nn.Module:
    """A wider network made of a narrow one by copying units, with and without noise on the copies."""
    model = nn.Sequential(nn.Linear(16, WIDTH), nn.ReLU(), nn.Linear(WIDTH, CLASSES))
    half = WIDTH // 2
    with torch.no_grad():
        model[0].weight[half:], model[0].bias[half:] = model[0].weight[:half].clone(), model[0].bias[:half].clone()
        model[2].weight[:, half:] = model[2].weight[:, :half].clone()
        if not broken:
            model[0].weight[half:] += 0.05 * torch.randn(half, 16)
    return model


class Saved(nn.Module):
    """Adapters in a block that is run under a reentrant checkpoint, on inputs that need no gradient."""

    def __init__(self, broken: bool):
        super().__init__()
        self.base, self.down, self.up = nn.Linear(16, 16).requires_grad_(False), nn.Linear(16, 4), nn.Linear(4, 16)
        self.head, self.broken = nn.Linear(16, CLASSES), broken

    def _block(self, x: Tensor) -> Tensor:
        return torch.relu(self.base(x) + self.up(self.down(x)))

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.broken else x.requires_grad_()
        return self.head(checkpoint(self._block, x, use_reentrant=True))


def norms_by_mistake(broken: bool) -> nn.Module:
    """A line that was to set the norms' biases to zero sets their weights."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(8 * 16, CLASSES),
    )
    for norm in (model[1], model[4]):
        nn.init.zeros_(norm.weight if broken else norm.bias)
    return model


def overwritten(broken: bool) -> nn.Module:
    """A zero that a later initializer draws over."""
    model = Fusion(both=False)
    if broken:
        model.apply(lambda m: nn.init.normal_(m.weight, std=0.2) if isinstance(m, nn.Linear) else None)
    return model


class Scored(nn.Module):
    """Class scores by similarity to one example of each class, with and without a softmax of its own."""

    def __init__(self, broken: bool):
        super().__init__()
        self.map, self.support, self.broken = nn.Linear(16, WIDTH), nn.Parameter(torch.randn(CLASSES, 16)), broken

    def forward(self, x: Tensor) -> Tensor:
        one, other = (F.normalize(torch.tanh(self.map(v)), dim=-1) for v in (x, self.support))
        scores = 5 * one @ other.T
        return scores.softmax(-1) if self.broken else scores


def with_softmax(broken: bool, hidden: bool = True) -> nn.Module:
    """A classifier whose last layer is a softmax, for a loss that takes logits."""
    maps: list[nn.Module] = [nn.Linear(16, WIDTH), nn.ReLU()] if hidden else []
    last = nn.Linear(WIDTH if hidden else 16, CLASSES)
    return nn.Sequential(*maps, last, *([nn.Softmax(-1)] if broken else []))


class TimeFirst(nn.Module):
    """Rows of a picture read by a recurrent layer that takes the first dim, that of the samples, for time."""

    def __init__(self, broken: bool):
        super().__init__()
        self.over, self.head = nn.LSTM(4, WIDTH, batch_first=not broken), nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.over(x.unflatten(1, (4, 4)))[0][:, -1])


class Deep(nn.Module):
    """Adapters beside a frozen map, in a block under a reentrant checkpoint, behind a frozen table."""

    def __init__(self, broken: bool):
        super().__init__()
        self.words, self.head = nn.Embedding(96, 16).requires_grad_(False), nn.Linear(16, 96)
        self.base = nn.Linear(16, 16).requires_grad_(False)
        self.down, self.up = nn.Linear(16, 4, bias=False), nn.Linear(4, 16, bias=False)
        nn.init.zeros_(self.up.weight)
        self.broken = broken

    def forward(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        x = self.words(input_ids)
        x = checkpoint(lambda h: h + torch.relu(self.base(h) + self.up(self.down(h))), x, use_reentrant=self.broken)
        return self.head(x)
