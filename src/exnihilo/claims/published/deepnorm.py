"""P9: post-norm transformers of 200 layers learn with DeepNorm (Wang et al., 2022)."""

from exnihilo.claims.claim import Claim, Found, Reading
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.learning import Depth, deep_study, read_depth, seeds_of_depth
from exnihilo.lab.records import Model, Optimizer, Start
from exnihilo.lab.study import Study

ASKED = Depth(
    study="P9 post-norm transformers of 200 layers",
    question="Do post-norm transformers of 200 layers learn with DeepNorm, and from Xavier's start?",
    task="characters",
    model=Model(family="transformer", depth=200, width=32, norm="post"),
    wanted={Start(name="deepnorm"): True, Start(name="xavier"): False},
    optimizer=Optimizer(name="adam"),
    lrs=(0.001, 0.003),
    below=0.95,
    figure="p9-two-hundred-layers",
    what="Post-norm transformers of 200 layers on characters",
    # Small batches are cheap, and context is learned only after the frequencies are.
    batch_size=8,
    times=2,
)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Both starts at both rates, without warm-up: a step passes through 400 branches."""
    return (deep_study(ASKED, preset, seed),)


def read(found: Found) -> Reading:
    """DeepNorm's runs must learn from context; Xavier's must not."""
    return read_depth(found, ASKED)


CLAIM = Claim(
    id="P9",
    title="DeepNorm trains post-norm transformers of 200 layers",
    statement=(
        "Wang, Ma, Dong, Huang, Zhang and Wei (2022): post-norm transformers of hundreds of layers "
        "learn where the shortcut is multiplied by alpha and the branch's maps are drawn smaller by beta; they fail "
        "from the usual start."
    ),
    basis="measured",
    rule=(
        f"Causal post-norm transformers of {ASKED.model.depth} layers and width {ASKED.model.width}, on characters "
        "of Python's standard library (the paper: translation, width 512 and more), Adam without warm-up, "
        f"{seeds_of_depth()}; DeepNorm at the better of two rates, chosen on the same runs, Xavier at both. "
        f"DeepNorm's cell supports the claim if every run ends at or below {ASKED.below:g} of the loss that the "
        "characters' frequencies alone allow, and refutes it if none does; Xavier's the other way round; both are "
        "open between."
    ),
    read=read,
    studies=studies,
)
