"""P6: residual networks of 1,000 blocks learn without normalization from Fixup (Zhang, Dauphin and Ma, 2019)."""

from exnihilo.claims.claim import Claim, Found, Reading
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.learning import Depth, deep_study, read_depth, seeds_of_depth
from exnihilo.lab.records import Model, Optimizer, Start
from exnihilo.lab.study import Study

ASKED = Depth(
    study="P6 residual networks of 1,000 blocks",
    question="Do residual networks of 1,000 blocks without norms learn from Fixup, and from He's and PyTorch's starts?",
    task="digits",
    model=Model(family="residual_mlp", depth=1000, width=16),
    wanted={Start(name="fixup"): True, Start(name="he"): False, Start(name="default"): False},
    optimizer=Optimizer(name="momentum"),
    lrs=(0.0003, 0.003, 0.01),
    below=0.9,
    figure="p6-thousand-blocks",
    what="Residual networks of 1,000 blocks on digits",
)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """All three starts at all rates."""
    return (deep_study(ASKED, preset, seed),)


def read(found: Found) -> Reading:
    """Fixup's runs must learn; the others must not."""
    return read_depth(found, ASKED)


SNIPPET = """\
import torch

for name, std in (("he", (2 / 16) ** 0.5), ("default", (1 / 48) ** 0.5), ("fixup", 0.0)):
    torch.manual_seed(0)
    x = torch.randn(32, 16)
    for _ in range(1000):
        inner, outer = torch.randn(16, 16) * (2 / 16) ** 0.5, torch.randn(16, 16) * std
        x = x + torch.relu(x @ inner) @ outer
    print(name, "the stream behind 1,000 blocks:", x.std().item())
"""

CLAIM = Claim(
    id="P6",
    title="Fixup trains 1,000 residual blocks without normalization",
    statement=(
        "Zhang, Dauphin and Ma (2019), sections 3 and 4: residual networks of thousands of layers learn without "
        "normalization from Fixup; the usual starts let their stream explode."
    ),
    basis="measured",
    rule=(
        f"Residual networks of {ASKED.model.depth:,} blocks of two maps, width {ASKED.model.width}, no norms, on "
        f"digits (the paper: convolutions on CIFAR-10), SGD with momentum, {seeds_of_depth()}; each start at the "
        "best of three rates, chosen on the same runs, and those that are to fail at all three. The cell of Fixup "
        f"supports the claim if every run ends at or below {ASKED.below:g} of the loss of the best constant answer, "
        "and refutes it if none does; those of He's and PyTorch's own starts the other way round; all are open "
        "between."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
