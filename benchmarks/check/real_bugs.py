"""Initialization bugs of public PyTorch projects, rebuilt small and in our own words, each buggy and fixed.

What a look at one model before training cannot see in principle is listed too, as not visible, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from benchmarks.check.bug_models import (
    Adapter,
    Attending,
    Background,
    Deep,
    Fusion,
    Language,
    OwnConvolution,
    Projected,
    Saved,
    Scored,
    TimeFirst,
    grown,
    next_word,
    norms_by_mistake,
    overwritten,
    spatial,
    uniform_fill,
    with_softmax,
)
from benchmarks.check.faults import NormalizedExperts
from benchmarks.check.plain import Experts, Tokens, ids
from benchmarks.check.subjects import Subject, classify, images, made, vectors, words
from torch import Tensor, nn

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
        "cloneofsimo/lora#26",
        "a checkpoint over a block with adapters, behind maps that are frozen, blocks their updates",
        partial(Saved, True),
        partial(Saved, False),
        ("down.weight", "up.weight", "down.bias", "up.bias"),
    ),
    RealBug(
        "microsoft/LoRA#120",
        "a reentrant checkpoint behind a frozen table leaves adapters without a gradient",
        partial(Deep, True),
        partial(Deep, False),
        ("down.weight", "up.weight"),
        **LANGUAGE,
    ),
    RealBug(
        "pytorch/pytorch#1538",
        "a recurrent layer without batch_first reads the samples as time",
        partial(TimeFirst, True),
        partial(TimeFirst, False),
        ("over.weight_ih_l0", "over.weight_hh_l0"),
    ),
    RealBug(
        "Lightning-Universe/lightning-bolts#654",
        "the loss of a softmax's logarithm is taken of a softmax",
        partial(with_softmax, True, False),
        partial(with_softmax, False, False),
        ("0.weight",),
    ),
    RealBug(
        "jindongwang/Deep-learning-activity-recognition#10",
        "the last layer is a softmax, and the loss expects logits",
        partial(with_softmax, True),
        partial(with_softmax, False),
        ("2.weight",),
    ),
    RealBug(
        "gitabcworld/MatchingNetworks#5",
        "similarities go through a softmax, and then into a cross-entropy",
        partial(Scored, True),
        partial(Scored, False),
        ("map.weight", "support"),
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
