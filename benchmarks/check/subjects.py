"""What is checked: a model with its batch and loss, and an architecture that makes one from a seed."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CLASSES, SAMPLES = 4, 16


@dataclass(frozen=True)
class Subject:
    """A model, what one training step is given, and the scalar that is trained: ``loss(model, batch)``."""

    model: nn.Module
    batch: Any
    loss: Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class Architecture:
    """How to make a subject.

    Args:
        name: Unique.
        family: Such as ``"transformer"``.
        build: From a seed.
        zero: The deliberate zero or trap that it holds; empty where there is none.
        float64: It can be trained in float64, so that the labels of faults are exact.
    """

    name: str
    family: str
    build: Callable[[int], Subject]
    zero: str = ""
    float64: bool = True

    @property
    def half(self) -> str:
        """``"tuning"`` or ``"held-out"``, by the hash of its name: fixed before any threshold was chosen."""
        return "tuning" if hashlib.blake2b(self.name.encode()).digest()[0] % 2 else "held-out"


def made(build: Callable[[], nn.Module], batch: Callable[[torch.Generator], Any], loss: Callable[..., Tensor]) -> Any:
    """The builder of a subject from a seed: the model's own draws, and a batch of its own."""

    def from_seed(seed: int) -> Subject:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            model = build()
        return Subject(model, batch(torch.Generator().manual_seed(1000 + seed)), loss)

    return from_seed


def classify(model: nn.Module, batch: Any) -> Tensor:
    """Cross-entropy of classes."""
    return F.cross_entropy(model(batch[0]), batch[1])


def regress(model: nn.Module, batch: Any) -> Tensor:
    """Mean squared error."""
    return F.mse_loss(model(batch[0]), batch[1])


def own(model: nn.Module, batch: Any) -> Tensor:
    """The loss that the model returns."""
    return model(**batch).loss


def vectors(size: int = 16, samples: int = SAMPLES) -> Callable[[torch.Generator], Any]:
    """Clusters, one for each class."""

    def draw(generator: torch.Generator) -> Any:
        y = torch.arange(samples) % CLASSES
        centers = torch.randn(CLASSES, size, generator=generator)
        return centers[y] + 0.5 * torch.randn(samples, size, generator=generator), y

    return draw


def images(size: int = 32, samples: int = SAMPLES, channels: int = 3) -> Callable[[torch.Generator], Any]:
    """Noise over one pattern for each class."""

    def draw(generator: torch.Generator) -> Any:
        y = torch.arange(samples) % CLASSES
        patterns = torch.randn(CLASSES, channels, size, size, generator=generator)
        return patterns[y] + 0.5 * torch.randn(samples, channels, size, size, generator=generator), y

    return draw


def sequences(length: int = 12, size: int = 16, samples: int = SAMPLES) -> Callable[[torch.Generator], Any]:
    """Vectors in a row, around one for each class."""

    def draw(generator: torch.Generator) -> Any:
        y = torch.arange(samples) % CLASSES
        centers = torch.randn(CLASSES, length, size, generator=generator)
        return centers[y] + 0.5 * torch.randn(samples, length, size, generator=generator), y

    return draw


def words(vocabulary: int = 96, length: int = 20, samples: int = 8) -> Callable[[torch.Generator], Any]:
    """Token ids from short cycles, which a language model can learn; as labels too."""

    def draw(generator: torch.Generator) -> Any:
        starts = torch.randint(8, vocabulary, (samples, 1), generator=generator)
        ids = 8 + (starts + 3 * torch.arange(length)) % (vocabulary - 8)
        return {"input_ids": ids, "labels": ids.clone()}

    return draw


def labeled_words(vocabulary: int = 96, length: int = 20, samples: int = 8) -> Callable[[torch.Generator], Any]:
    """Token ids with a class each."""

    def draw(generator: torch.Generator) -> Any:
        batch = words(vocabulary, length, samples)(generator)
        return {"input_ids": batch["input_ids"], "labels": torch.arange(samples) % 2}

    return draw


def as_bfloat16(subject: Subject) -> Subject:
    """The same in bfloat16, inputs too."""
    return replace(subject, model=copy.deepcopy(subject.model).bfloat16(), batch=_cast(subject.batch))


def _cast(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.bfloat16() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: _cast(entry) for key, entry in value.items()}
    return type(value)(_cast(entry) for entry in value) if isinstance(value, tuple | list) else value
