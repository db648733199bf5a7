"""What a study judges by: one number of each run, with its direction."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from exnihilo.errors import UnknownNameError
from exnihilo.lab.records import RunRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One number of a run.

    Args:
        name: The key in ``METRICS``.
        title: What it is, for tables and figures, with its unit.
        higher_is_better: The direction.
        read: The number, from a run that did not diverge and the study's target.
        tuned_by: The metric, of validation data alone, by which learning rates are chosen for it.
        worst: What a run without a finite number is counted as, and the worst that any other run is; None takes one
            step more than the run has. A constant prediction has an R² of 0, a loss of 1 on a standardized regression
            and of 2.3 on ten balanced classes: a loss of 10 is worse than knowing nothing.
        needs_target: The study must name a ``target``.
    """

    name: str
    title: str
    higher_is_better: bool
    read: Callable[[RunRecord, float], float]
    tuned_by: str
    worst: float | None
    needs_target: bool = False

    def of(self, record: RunRecord, target: float | None = None) -> float:
        """The run's number; NaN where it diverged, infinite where it never reached the target."""
        return math.nan if record.diverged else self.read(record, math.nan if target is None else target)

    def worst_of(self, steps: int) -> float:
        """The worst number of a run of ``steps`` steps; to never reach a target is worse than at the last step."""
        return steps + 1.0 if self.worst is None else self.worst


def _first(steps: tuple[int, ...], reached: list[bool]) -> float:
    """The first step that reached the target; infinite, and so censored at the run's steps, where none did."""
    return next((float(step) for step, is_reached in zip(steps, reached, strict=True) if is_reached), math.inf)


_ALL = (
    Metric(
        name="test_score",
        title="test score",
        read=lambda record, _: record.test_score,
        higher_is_better=True,
        tuned_by="validation_score",
        worst=0.0,
    ),
    Metric(
        name="test_loss",
        title="test loss",
        read=lambda record, _: record.test_loss,
        higher_is_better=False,
        tuned_by="validation_loss",
        worst=10.0,
    ),
    Metric(
        name="validation_score",
        title="validation score after the last step",
        read=lambda record, _: record.validation_score[-1],
        higher_is_better=True,
        tuned_by="validation_score",
        worst=0.0,
    ),
    Metric(
        name="validation_loss",
        title="validation loss after the last step",
        read=lambda record, _: record.validation_loss[-1],
        higher_is_better=False,
        tuned_by="validation_loss",
        worst=10.0,
    ),
    Metric(
        name="train_score",
        title="training score after the last step",
        read=lambda record, _: record.train_score[-1],
        higher_is_better=True,
        tuned_by="validation_score",
        worst=0.0,
    ),
    Metric(
        name="train_loss",
        title="training loss after the last step",
        read=lambda record, _: record.train_loss[-1],
        higher_is_better=False,
        tuned_by="validation_loss",
        worst=10.0,
    ),
    Metric(
        name="gap",
        title="generalization gap: training score minus test score",
        read=lambda record, _: record.train_score[-1] - record.test_score,
        higher_is_better=False,
        tuned_by="validation_score",
        worst=1.0,
    ),
    Metric(
        name="steps_to_train_loss",
        title="steps to the target training loss",
        read=lambda record, target: _first(record.evaluation_steps, [loss <= target for loss in record.train_loss]),
        higher_is_better=False,
        tuned_by="validation_loss",
        worst=None,
        needs_target=True,
    ),
    Metric(
        name="steps_to_validation_score",
        title="steps to the target validation score",
        read=lambda record, target: _first(
            record.evaluation_steps, [score >= target for score in record.validation_score]
        ),
        higher_is_better=False,
        tuned_by="steps_to_validation_score",
        worst=None,
        needs_target=True,
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ALL}


def metric_named(name: str) -> Metric:
    """The metric of that name.

    Raises:
        UnknownNameError: There is none.

    Example:
        >>> metric_named("test_loss").higher_is_better
        False
    """
    if name not in METRICS:
        raise UnknownNameError.of("metric", name, METRICS)
    return METRICS[name]
