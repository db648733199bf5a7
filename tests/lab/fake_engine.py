"""A stand-in for the engine: a record as a pure function of its run, without training anything.

Scores peak at a rate that each start prefers; the environment asks for a log of what was trained, delays and deaths.
"""

import hashlib
import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

from exnihilo.lab.records import Run, RunRecord
from exnihilo.lab.tasks import Task

BEST_RATE = {
    "he_normal": 0.1,
    "xavier_normal": 0.1,
    "zero_head": 0.1,
    "normal": 3.0,
    "small_normal": 30.0,
    "zeros": 0.1,
}
QUALITY = {"he_normal": 0.9, "xavier_normal": 0.9, "zero_head": 0.9, "normal": 0.5, "small_normal": 0.7, "zeros": 0.1}
DIVERGES_FROM = 5.0
NOISE = 0.02


def train(task: Task, runs: Sequence[Run]) -> tuple[RunRecord, ...]:
    time.sleep(float(os.environ.get("FAKE_ENGINE_SECONDS", "0")))
    log = os.environ.get("FAKE_ENGINE_LOG")
    if log:
        with Path(log).open("a") as file:
            file.write("".join(f"{os.getpid()} {run.identity}\n" for run in runs))
    if os.environ.get("FAKE_ENGINE_DIES") and any(run.seed == int(os.environ["FAKE_ENGINE_DIES"]) for run in runs):
        os._exit(9)
    return tuple(record_of(run) for run in runs)


def noise(run: Run, what: str) -> float:
    digest = hashlib.sha256(f"{what} {run.canonical()}".encode()).digest()
    return (int.from_bytes(digest[:4], "big") / 2**32 - 0.5) * 2 * NOISE


def record_of(run: Run, quality: float | None = None, **changes: object) -> RunRecord:
    diverged = run.lr >= DIVERGES_FROM and run.start.name != "small_normal"
    quality = QUALITY[run.start.name] if quality is None else quality
    peak = quality - 0.05 * abs(math.log10(run.lr / BEST_RATE[run.start.name]))
    validation, test = (math.nan if diverged else peak + noise(run, part) for part in ("validation", "test"))
    evaluations, measurements = run.evaluations + 1, run.measurements + 1
    num_layers, num_hidden = run.network.depth + 1, run.network.depth
    fields = {
        "run": run,
        "layers": tuple(f"layers.{index}" for index in range(num_layers)),
        "evaluation_steps": tuple(run.steps * index // run.evaluations for index in range(evaluations)),
        "train_loss": tuple(1.0 - peak * index / evaluations for index in range(evaluations)),
        "validation_loss": (1.0 - validation,) * evaluations,
        "train_score": (validation,) * evaluations,
        "validation_score": (validation,) * evaluations,
        "test_loss": 1.0 - test,
        "test_score": test,
        "measurement_steps": tuple(run.steps * index // run.measurements for index in range(measurements)),
        "gradient_norm": ((0.5,) * num_layers,) * measurements,
        "effective_width": ((run.network.width,) * num_hidden,) * measurements,
        "effective_width_relative": ((run.network.width,) * num_hidden,) * measurements,
        "dead_units": ((0.25,) * num_hidden,) * measurements,
        "saturated_units": ((0.0,) * num_hidden,) * measurements,
        "zero_weights": (0.0,) * measurements,
        "zero_activations": (0.5,) * measurements,
        "diverged": diverged,
        "moved": run.start.name != "zeros",
    }
    return RunRecord(**{**fields, **changes})  # type: ignore[arg-type]
