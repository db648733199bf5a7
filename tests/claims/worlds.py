"""Made-up worlds: what a claim would be shown if runs ended otherwise than they do."""

from collections.abc import Callable
from typing import Any

from exnihilo.claims.claim import Claim, Found
from exnihilo.claims.presets import Preset
from exnihilo.lab.networks import hidden_layers, maps
from exnihilo.lab.recording import evenly
from exnihilo.lab.records import Model, Run, RunRecord
from exnihilo.lab.schedule import pending

SMALL = Preset(
    model_seeds=6,
    model_steps=4,
    deep_seeds=2,
    deep_steps=4,
    name="small",
    tasks=("digits", "wine", "breast_cancer", "spirals"),
    lrs=(0.03, 0.1, 0.3),
    tuning_seeds=1,
    looks=(10, 16),
    shown_seeds=3,
    steps=20,
)

World = Callable[[Run], dict[str, Any]]


def record(run: Run, **changes: Any) -> RunRecord:
    """A healthy record of a run, with changes: a number stands for a whole curve, or for every layer and step."""
    evaluated, measured = evenly(run.steps, run.evaluations), evenly(run.steps, run.measurements)
    is_model = isinstance(run.network, Model)  # its units are not counted
    layers, hidden = (("head",), ()) if is_model else (maps(run.network), hidden_layers(run.network))
    # A little of the seed, so that no two seeds are alike and the middle rate is the best one.
    jitter = (run.seed * 2654435761 % 1000) / 1e6 + abs(run.lr - 0.1) / 1e3
    values: dict[str, Any] = {
        "train_loss": 0.1 + jitter,
        "validation_loss": 0.2 + jitter,
        "train_score": 0.97 - jitter,
        "validation_score": 0.95 - jitter,
        "test_loss": 0.2 + jitter,
        "test_score": 0.95 - jitter,
        "gradient_norm": 1.0,
        "effective_width": run.network.width,
        "effective_width_relative": run.network.width,
        "dead_units": 0.0,
        "saturated_units": 0.0,
        "zero_weights": 0.0,
        "zero_activations": 0.4,
        "diverged": False,
        "moved": True,
    }
    for name, value in changes.items():
        values[name] = value + jitter if isinstance(value, float) and name.endswith(("_loss",)) else value
    for name in ("train_loss", "validation_loss", "train_score", "validation_score"):
        values[name] = _spread(values[name], len(evaluated))
    for name in ("zero_weights", "zero_activations"):
        values[name] = _spread(values[name], len(measured))
    for name, width in (
        ("gradient_norm", len(layers)),
        ("effective_width", len(hidden)),
        ("effective_width_relative", len(hidden)),
        ("dead_units", len(hidden)),
        ("saturated_units", len(hidden)),
    ):
        if not isinstance(values[name], tuple):
            values[name] = tuple((values[name],) * width for _ in measured)
    return RunRecord(run=run, layers=layers, evaluation_steps=evaluated, measurement_steps=measured, **values)


def _spread(value: Any, length: int) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,) * length


def found_in(claim: Claim, world: World, *, measured: Any = None, preset: Preset = SMALL) -> Found:
    """What the claim finds where every run ends as ``world`` says."""
    studies = claim.studies(preset, 0)
    records: dict[Run, RunRecord] = {}
    for study in studies:
        while runs := pending(study, records):
            records |= {run: record(run, **world(run)) for run in runs}
    return Found(preset=preset, studies={study.name: study for study in studies}, records=records, measured=measured)


def verdict_in(claim: Claim, world: World, *, measured: Any = None) -> str:
    """The claim's verdict in a world."""
    return claim.answer(found_in(claim, world, measured=measured)).verdict
