"""P1: a ReLU network of 30 layers learns from He's start, and stalls from Xavier's (He et al., 2015)."""

from exnihilo.claims.claim import Claim, Found, Reading, factor_of
from exnihilo.claims.presets import Preset
from exnihilo.claims.published.arms import (
    LEARNED,
    Arm,
    all_or_none,
    arms,
    conclude_all,
    curves,
    has_learned,
    span,
    table,
)
from exnihilo.claims.records import Cell, Evidence
from exnihilo.lab.records import Network, Optimizer, OptimizerName, RunRecord, Start
from exnihilo.lab.study import Study

DEPTH, WIDTH = 30, 32
HE, XAVIER = Start(name="he_normal"), Start(name="xavier_normal")
# Of ten classes: twice chance.
STALLED = 0.2
STUDIES: dict[OptimizerName, str] = {
    "momentum": "P1 He and Xavier, SGD with momentum",
    "adam": "P1 He and Xavier, Adam",
}
_RATES = {"momentum": (0.001, 0.003, 0.01, 0.03, 0.1), "adam": (0.001, 0.003, 0.01)}


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Both starts, tuned, under the paper's optimizer and under Adam."""
    return tuple(
        preset.study(
            name,
            "Do ReLU networks of 30 layers learn from He's start and from Xavier's?",
            seed=seed,
            tasks=("digits",),
            networks=(Network(depth=DEPTH, width=WIDTH),),
            starts=(XAVIER, HE),
            lrs=_RATES[optimizer],
            looks=(preset.model_seeds,),
            steps=4 * preset.steps,  # both are slow at this depth
            optimizers=(Optimizer(name=optimizer),),
        )
        for optimizer, name in STUDIES.items()
    )


def _stalled(record: RunRecord) -> bool:
    return record.diverged or record.train_score[-1] <= STALLED  # either way it does not learn


def read(found: Found) -> Reading:
    """He's runs must learn, and Xavier's must stall, under each optimizer."""
    of = arms(found, *STUDIES.values())
    cells = tuple(_cell(arm) for arm in of)
    told = (f"{arm.start.label} under {arm.place.optimizer.label} {span(arm, 'train_score')}" for arm in of)
    return Reading(
        verdict=conclude_all(cells),
        finding=f"Training accuracy at {DEPTH} layers after {of[0].records[0].run.steps} steps: {'; '.join(told)}.",
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    of,
                    f"ReLU networks of {DEPTH} layers on digits, each start at its tuned rate, median over seeds",
                    {"training loss": "train_loss", "training accuracy": "train_score", "test accuracy": "test_score"},
                ),
            ),
            figures=(
                curves(
                    "p1-thirty-layers",
                    f"Training loss of ReLU networks of {DEPTH} layers",
                    of,
                    facet=lambda arm: arm.place.optimizer.label,
                    y_max=3.0,
                ),
            ),
        ),
    )


def _cell(arm: Arm) -> Cell:
    where = f"{arm.place.optimizer.label} · {arm.start.label}"
    if arm.start == HE:
        return all_or_none(where, arm.records, has_learned, f"reach a training accuracy of {LEARNED:g}")
    return all_or_none(where, arm.records, _stalled, f"stay at or below {STALLED:g}, or diverge")


SNIPPET = """\
import torch

for name, fill in (("he", torch.nn.init.kaiming_normal_), ("xavier", torch.nn.init.xavier_normal_)):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(32, 32) for _ in range(30)]
    x = torch.randn(256, 32)
    for layer in layers:
        fill(layer.weight, **({"nonlinearity": "relu"} if name == "he" else {}))
        torch.nn.init.zeros_(layer.bias)
        x = torch.relu(layer(x))
    print(name, "the signal behind 30 layers:", x.std().item())
"""

CLAIM = Claim(
    id="P1",
    title="He's start trains 30 ReLU layers where Xavier's stalls",
    statement=(
        "He, Zhang, Ren and Sun (2015), section 2.2: a plain ReLU network of 30 layers learns from N(0, 2/fan_in), "
        "and its learning stalls from Xavier's start."
    ),
    basis="measured",
    rule=(
        f"Plain ReLU networks of {DEPTH} layers and {WIDTH} units on digits; each start at its tuned rate, on fresh "
        "seeds, under SGD with momentum (as the paper) and under Adam. He's cell supports the claim if every run "
        f"ends with a training accuracy of at least {LEARNED:g}, Xavier's if every run ends at or below {STALLED:g} "
        "or diverges; each refutes it if no run does, and stays open between."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
