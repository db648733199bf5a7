"""Collects what a stack of runs shows on its way, and turns it into one record a run."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import TypeVar

from exnihilo.lab.records import Run, RunRecord

T = TypeVar("T")
LossAndScore = tuple[list[float], list[float]]


def evenly(steps: int, count: int) -> tuple[int, ...]:
    """Step 0 and ``count`` evenly spaced steps, the last one included (fewer where there are fewer steps).

    Example:
        >>> evenly(100, 4)
        (0, 25, 50, 75, 100)
    """
    return tuple(sorted({0, *(-(-steps * (i + 1) // count) for i in range(count))}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured at one step; one entry a run, and in it one a layer (see ``RunRecord``)."""

    step: int
    gradient_norm: list[list[float]]
    effective_width: list[list[int]]
    effective_width_relative: list[list[int]]
    dead_units: list[list[float]]
    saturated_units: list[list[float]]
    zero_weights: list[float]
    zero_activations: list[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluated:
    """Loss and score of every run at one step."""

    step: int
    train: LossAndScore
    validation: LossAndScore


@dataclass(kw_only=True)
class Log:
    """The stack's log while it trains."""

    runs: Sequence[Run]
    layers: tuple[str, ...]
    evaluated: list[Evaluated] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)

    def records(self, test: LossAndScore, finite: Sequence[bool], moved: Sequence[bool]) -> list[RunRecord]:
        """One record a run."""
        return [self._record(i, test, finite[i], moved[i]) for i in range(len(self.runs))]

    def _record(self, i: int, test: LossAndScore, finite: bool, moved: bool) -> RunRecord:
        train_loss = tuple(e.train[0][i] for e in self.evaluated)
        return RunRecord(
            run=self.runs[i],
            layers=self.layers,
            evaluation_steps=tuple(e.step for e in self.evaluated),
            train_loss=train_loss,
            validation_loss=tuple(e.validation[0][i] for e in self.evaluated),
            train_score=tuple(e.train[1][i] for e in self.evaluated),
            validation_score=tuple(e.validation[1][i] for e in self.evaluated),
            test_loss=test[0][i],
            test_score=test[1][i],
            measurement_steps=tuple(m.step for m in self.measured),
            gradient_norm=tuple(tuple(m.gradient_norm[i]) for m in self.measured),
            effective_width=tuple(tuple(m.effective_width[i]) for m in self.measured),
            effective_width_relative=tuple(tuple(m.effective_width_relative[i]) for m in self.measured),
            dead_units=tuple(tuple(m.dead_units[i]) for m in self.measured),
            saturated_units=tuple(tuple(m.saturated_units[i]) for m in self.measured),
            zero_weights=tuple(m.zero_weights[i] for m in self.measured),
            zero_activations=tuple(m.zero_activations[i] for m in self.measured),
            diverged=not (finite and all(isfinite(loss) for loss in train_loss)),
            moved=moved,
        )


def by_run(by_layer: Sequence[Sequence[T]]) -> list[list[T]]:
    """From one list a layer to one list a run."""
    return [list(run) for run in zip(*by_layer, strict=True)]
