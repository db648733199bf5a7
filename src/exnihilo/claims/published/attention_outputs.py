"""P13: whether the output maps of a transformer's attention should start at zero; recipes went back and forth."""

from collections.abc import Mapping, Sequence

from exnihilo.claims.claim import Claim, Found, Reading, conclude, contrast, factor_of
from exnihilo.claims.clauses import place
from exnihilo.claims.presets import ALPHA, PRESETS, Preset
from exnihilo.claims.published.arms import Arm, arms, compared, curves, span, table
from exnihilo.claims.records import Cell, Evidence
from exnihilo.lab.records import Model, Optimizer, Start
from exnihilo.lab.study import Study

STUDY = "P13 zero output maps"
MODEL = Model(family="transformer", depth=4, width=32, norm="pre")
RATES = (0.002, 0.004)
DRAWN, ATTENTION, MLP, BOTH = (
    Start(name=name) for name in ("gpt2", "attention_outputs_zero", "mlp_outputs_zero", "both_outputs_zero")
)
# Attention's outputs zero against drawn, all else alike: by what the last maps of the MLPs are.
PAIRS: Mapping[str, tuple[Start, Start]] = {"MLPs drawn": (ATTENTION, DRAWN), "MLPs zero": (BOTH, MLP)}
# In nats: two percent of the likelihood of a character.
MARGIN = 0.02


def num_seeds(preset: Preset) -> int:
    """One more than models have: six seeds can decide one comparison, and there are two."""
    return preset.model_seeds + 1


def studies(preset: Preset, seed: int) -> tuple[Study, ...]:
    """Zero or drawn, of attention and of the MLPs: all four, each at its tuned rate."""
    return (
        preset.study(
            STUDY,
            "Should the output maps of attention start at zero?",
            seed=seed,
            tasks=("characters",),
            networks=(MODEL,),
            starts=(DRAWN, ATTENTION, MLP, BOTH),
            optimizers=(Optimizer(name="adam"),),
            lrs=RATES,
            extend=0,
            tuning_seeds=1,  # of a loss over three thousand characters
            looks=(num_seeds(preset),),
            steps=preset.model_steps,
            evaluations=5,
            measurements=1,
            metric="test_loss",
            margin=MARGIN,
        ),
    )


def read(found: Found) -> Reading:
    """Two comparisons: with the last maps of the MLPs drawn, and with them zero."""
    of = arms(found, STUDY)
    cells = _cells(found)
    return Reading(
        verdict=conclude(cells),
        finding=_finding(of, cells),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    of,
                    "Transformers on the characters of Python's standard library, each start at its tuned rate, "
                    "median over seeds",
                    {"training loss": "train_loss", "test loss": "test_loss", "test accuracy": "test_score"},
                ),
            ),
            figures=(
                curves(
                    "p13-outputs",
                    "Training loss of a transformer by which output maps start at zero",
                    of,
                    facet=lambda arm: arm.place.network.label,
                ),
            ),
        ),
    )


def _cells(found: Found) -> tuple[Cell, ...]:
    [where] = found.studies[STUDY].places
    runs = {name: tuple(found.judged(STUDY, where, start) for start in pair) for name, pair in PAIRS.items()}
    verdicts = contrast(
        found,
        {name: (zero, drawn) for name, (zero, drawn) in runs.items()},
        metric="test_loss",
        margin=MARGIN,
        num_seeds=num_seeds(found.preset),
    )
    return tuple(
        compared(place("attention's outputs zero", name), verdict, "nats of test loss")
        for name, verdict in verdicts.items()
    )


def _finding(of: Sequence[Arm], cells: Sequence[Cell]) -> str:
    losses = "; ".join(f"{arm.start.label} {span(arm, 'test_loss')}" for arm in of)
    gains = ", ".join(f"{cell.estimate or 0.0:+.3f} with {cell.where.split(' · ')[1]}" for cell in cells)
    return (
        f"Test loss after {of[0].records[0].run.steps} steps: {losses}. Zero output maps of attention gain "
        f"{gains} (nats, mean over seeds)."
    )


SNIPPET = """\
import torch

torch.manual_seed(0)
attention = torch.nn.MultiheadAttention(32, 2, batch_first=True)
x, y = torch.randn(8, 16, 32), torch.randn(8, 16, 32)
for start in ("drawn", "zero"):
    if start == "zero":
        torch.nn.init.zeros_(attention.out_proj.weight)
    attention.zero_grad()
    torch.nn.functional.mse_loss(x + attention(x, x, x)[0], y).backward()
    for name, weight in (("q, k, v", attention.in_proj_weight), ("out", attention.out_proj.weight)):
        print(f"output map {start}: norm of the gradient of {name}", weight.grad.norm().item())
"""

CLAIM = Claim(
    id="P13",
    title="Zero output maps of attention are better",
    statement=(
        "Speed-run recipes for transformers, which went back and forth on it: zero output maps of attention are better "
        "than drawn ones."
    ),
    basis="measured",
    rule=(
        f"A causal transformer of {MODEL.depth} layers and width {MODEL.width}, normalized before its sums, on "
        "characters under Adam (the recipes: 12 layers, width 768, Muon, billions of tokens). By GPT-2's law, with "
        "the output maps of attention zero or drawn, once with the last maps of the MLPs drawn and once with them "
        f"zero; each at the better of the rates {RATES[0]:g} and {RATES[1]:g}; test loss of "
        f"{num_seeds(PRESETS['quick'])} fresh seeds (full preset: {num_seeds(PRESETS['full'])}), exact sign-flip, "
        f"Holm over 2, alpha {ALPHA:g}. Better supports; worse, or equivalent within {MARGIN:g} nats, refutes."
    ),
    read=read,
    studies=studies,
    snippet=SNIPPET,
)
