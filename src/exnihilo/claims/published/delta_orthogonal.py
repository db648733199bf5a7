"""P8: a plain CNN of 1,000 layers learns from delta-orthogonal kernels (Xiao et al., 2018)."""

from exnihilo.claims.claim import Claim, Found, Reading
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.learning import Depth, deep_study, read_depth, seeds_of_depth
from exnihilo.lab.records import Model, Optimizer, Start
from exnihilo.lab.study import Study

ASKED = Depth(
    study="P8 plain CNNs of 1,000 layers",
    question="Do plain tanh CNNs of 1,000 layers learn from delta-orthogonal kernels, and from Xavier's?",
    task="digits",
    model=Model(family="plain_cnn", depth=1000, width=8, activation="tanh"),
    wanted={Start(name="delta-orthogonal"): True, Start(name="xavier"): False},
    optimizer=Optimizer(name="adam"),
    lrs=(0.0001, 0.0003),
    below=0.9,
    figure="p8-thousand-convolutions",
    what="Plain tanh CNNs of 1,000 layers on digits",
)


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Both starts at both rates."""
    return (deep_study(ASKED, preset, seed),)


def read(found: Found) -> Reading:
    """Delta-orthogonal runs must learn; Xavier's must not."""
    return read_depth(found, ASKED)


SNIPPET = """\
import torch

for name in ("delta-orthogonal", "xavier"):
    torch.manual_seed(0)
    x = torch.randn(32, 8, 8, 8, requires_grad=True)
    y = x
    for _ in range(300):
        kernel = torch.zeros(8, 8, 3, 3)
        if name == "xavier":
            torch.nn.init.xavier_normal_(kernel)
        else:
            torch.nn.init.orthogonal_(kernel[:, :, 1, 1])
        y = torch.tanh(torch.conv2d(y, kernel, padding=1))
    y.square().sum().backward()
    print(name, "signal", y.std().item(), "gradient at the input", x.grad.std().item())
"""

CLAIM = Claim(
    id="P8",
    title="Delta-orthogonal kernels train a plain CNN of 1,000 layers",
    statement=(
        "Xiao, Bahri, Sohl-Dickstein, Schoenholz and Pennington (2018): plain tanh CNNs of thousands of "
        "layers, without shortcuts or norms, learn from delta-orthogonal kernels at the critical gain; Gaussian ones "
        "do not."
    ),
    basis="measured",
    rule=(
        f"Plain tanh CNNs of {ASKED.model.depth:,} convolutions, 3x3 with {ASKED.model.width} channels, on digits "
        f"(the paper: CIFAR-10, 256 channels, many more steps), Adam, {seeds_of_depth()}; delta-orthogonal at the "
        "better of two rates, chosen on the same runs, Xavier at both. The cell of delta-orthogonal supports the "
        f"claim if every run ends at or below {ASKED.below:g} of the loss of the best constant answer, and refutes "
        "it if none does; Xavier's the other way round; both are open between."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
