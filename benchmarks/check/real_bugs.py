"""Initialization bugs of public PyTorch projects, rebuilt small and in our own words, each buggy and fixed.

What a look at one model before training cannot see in principle is listed too, as not visible, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.check.faults import NormalizedExperts
from benchmarks.check.plain import Experts, Tokens, ids
from benchmarks.check.subjects import CLASSES, Subject, classify, images, made, vectors, words
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

WIDTH = 32
VECTORS = vectors()


@dataclass(frozen=True)
class RealBug:
    """A bug and its fix.

    Args:
        source: Where it was told of.
        what: What was wrong.
        buggy: Builds the broken model.
        fixed: Builds the mended one.
        parameters: Where the bug sits.
        batch: What is learned.
        loss: How.
        by_factory: Two constructions are needed to see it.
        hidden: Empty, or why a check before training cannot see it.
    """

    source: str
    what: str
    buggy: Callable[[], nn.Module]
    fixed: Callable[[], nn.Module]
    parameters: tuple[str, ...]
    batch: Callable[[torch.Generator], Any] = VECTORS
    loss: Callable[..., Tensor] = classify
    by_factory: bool = False
    hidden: str = ""

    def subject(self, *, fixed: bool, seed: int = 0) -> Subject:
        """One of the two, from a seed."""
        return made(self.fixed if fixed else self.buggy, self.batch, self.loss)(seed)


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


SMALL_IMAGES = images(8)
LANGUAGE: dict[str, Any] = {"batch": words(), "loss": next_word}
BUGS = [
    RealBug(
        "Guitaricet/relora#18",
        "wrapping writes zeros into A too, and B is zero already",
        partial(Adapter, True),
        partial(Adapter, False),
        ("down.weight", "up.weight"),
    ),
    RealBug(
        "nvidia-cosmos/cosmos-predict2.5#15",
        "adapters are added before the weights are written, which zeroes A",
        partial(Adapter, True),
        partial(Adapter, False),
        ("down.weight", "up.weight"),
    ),
    RealBug(
        "NovaSky-AI/SkyRL#852",
        "both factors of an adapter begin at zero",
        partial(Adapter, True),
        partial(Adapter, False),
        ("down.weight", "up.weight"),
    ),
    RealBug(
        "yz93/LAVT-RIS#25",
        "both maps of a gate are zero, as the constructor has it",
        partial(Fusion, True),
        partial(Fusion, False),
        ("first.weight", "second.weight"),
    ),
    RealBug(
        "dnkirill/stn_idsia_convnet#4",
        "the localization network is zero as a whole",
        partial(spatial, True),
        partial(spatial, False),
        ("first.weight", "last.weight"),
    ),
    RealBug(
        "jingyaogong/minimind#858",
        "one expert's weight is normalized by itself, so the router learns nothing",
        partial(NormalizedExperts, 1),
        partial(Experts, 1),
        ("router.weight",),
    ),
    RealBug(
        "databricks/megablocks#87",
        "the weight of the only expert is divided by its own norm",
        partial(NormalizedExperts, 1),
        partial(Experts, 2),
        ("router.weight",),
    ),
    RealBug(
        "gordicaleksa/pytorch-GAT#11",
        "score vectors are made of torch.Tensor and never written",
        partial(Attending, False),
        partial(Attending, True),
        ("source", "target"),
        by_factory=True,
    ),
    RealBug(
        "sauradip/STALE#16",
        "the background's embedding is torch.empty",
        partial(Background, False),
        partial(Background, True),
        ("background",),
        by_factory=True,
    ),
    RealBug(
        "openai/CLIP#15",
        "a position table and a projection are torch.empty",
        partial(Projected, False),
        partial(Projected, True),
        ("places", "projection"),
        by_factory=True,
    ),
    RealBug(
        "pvjosue/pytorch_convNd#4",
        "a convolution's bias is never written",
        partial(OwnConvolution, False),
        partial(OwnConvolution, True),
        ("bias",),
        SMALL_IMAGES,
        by_factory=True,
    ),
    RealBug(
        "HomericIntelligence/Mnemosyne#1987",
        "every map is filled with one value",
        partial(uniform_fill, True),
        partial(uniform_fill, False),
        ("0.weight", "2.weight", "4.weight"),
    ),
    RealBug(
        "soumith/net2net.torch#3",
        "copied units get no noise",
        partial(grown, True),
        partial(grown, False),
        ("0.weight", "2.weight"),
    ),
    RealBug(
        "huggingface/transformers#26441",
        "a head is drawn with variance 1",
        partial(Language, 0.02, 1.0, False),
        partial(Language, 0.02, 0.125, False),
        ("head.weight",),
        **LANGUAGE,
    ),
    RealBug(
        "pytorch/torchtitan#2342",
        "a tied head keeps the table's standard deviation of 1",
        partial(Language, 1.0, 0.02, True),
        partial(Language, 0.02, 0.02, True),
        ("words.weight", "head.weight"),
        **LANGUAGE,
    ),
    RealBug(
        "kohya-ss/sd-scripts#91",
        "a reentrant checkpoint on inputs without a gradient cuts the adapters off",
        partial(Saved, True),
        partial(Saved, False),
        ("down.weight", "up.weight", "down.bias", "up.bias"),
    ),
    RealBug(
        "kazuto1011/deeplab-pytorch#44",
        "zeros meant for the norms' biases go into their weights",
        partial(norms_by_mistake, True),
        partial(norms_by_mistake, False),
        ("1.weight", "4.weight"),
        SMALL_IMAGES,
    ),
    RealBug(
        "yz93/LAVT-RIS#15",
        "a later initializer draws over a zero gate",
        partial(overwritten, True),
        partial(overwritten, False),
        ("second.weight",),
        hidden="the model trains: only the plan that was applied tells what was meant",
    ),
    RealBug(
        "SWivid/F5-TTS#793",
        "the zeros of adaLN-zero are missing",
        partial(overwritten, True),
        partial(overwritten, False),
        ("second.weight",),
        hidden="the model trains: that zeros were meant stands in no weight",
    ),
    RealBug(
        "hao-ai-lab/FastVideo#781",
        "B of an adapter is drawn at random",
        partial(Adapter, False, True),
        partial(Adapter, False),
        ("up.weight",),
        hidden="the adapter learns; only the first output differs from the base's",
    ),
    RealBug(
        "karpathy/minGPT#62",
        "positions begin at zero",
        Tokens,
        Tokens,
        ("places",),
        ids,
        hidden="a zero that adds is harmless, as its own author says",
    ),
    RealBug(
        "lmsdss/LayerNorm-Scaling#6",
        "a table is drawn with standard deviation 0.6",
        partial(Language, 0.6, 0.125, False),
        partial(Language, 0.02, 0.125, False),
        ("words.weight",),
        **LANGUAGE,
        hidden="a norm follows, so the loss at the start and the gradients are as they were",
    ),
]


def main() -> None:
    """Ask about each bug and its fix, and print what was said."""
    import warnings

    from exnihilo import check

    warnings.simplefilter("ignore")
    found = quiet = first = visible = 0
    for bug in BUGS:
        said = []
        for fixed in (False, True):
            subject = bug.subject(fixed=fixed)
            if bug.by_factory and not fixed:
                for name in bug.parameters:  # what such memory holds is chance: here nothing strange
                    nn.init.normal_(dict(subject.model.named_parameters())[name], std=0.1)
            factory = (bug.fixed if fixed else bug.buggy) if bug.by_factory else None
            said.append(
                check(subject.model, subject.batch, subject.loss, factory=factory).with_severity("FAIL", "WARN")
            )
        buggy, mended = said
        named = buggy[0].parameters[0] if buggy and buggy[0].parameters else ""
        visible += not bug.hidden
        found += bool(buggy) and not bug.hidden
        first += named in bug.parameters and not bug.hidden
        quiet += not mended
        codes = ", ".join(f"{f.severity} {f.code}" for f in buggy) or "nothing"
        print(
            f"{bug.source:38} {codes:32} {named:18} fixed: {', '.join(f.code for f in mended) or 'quiet'}"
            + (f"   ({bug.hidden})" if bug.hidden else "")
        )
    print(f"\n{found} of {visible} visible bugs found, {first} named first; {quiet} of {len(BUGS)} fixed models quiet")


if __name__ == "__main__":
    main()
