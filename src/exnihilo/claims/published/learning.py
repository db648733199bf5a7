"""The claims of one shape: at a depth, one start learns where another does not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from exnihilo.claims.claim import Found, Reading, factor_of
from exnihilo.claims.presets import PRESETS, Preset
from exnihilo.claims.prior import prior_entropy
from exnihilo.claims.published.arms import Arm, all_or_none, arms, conclude_all, curves, span, table
from exnihilo.claims.records import Evidence
from exnihilo.lab.records import Model, Optimizer, RunRecord, Start
from exnihilo.lab.study import Study


def seeds_of_depth() -> str:
    """How many seeds such a claim has, in words.

    Example:
        >>> seeds_of_depth()
        '3 seeds (full preset: 6)'
    """
    return f"{PRESETS['quick'].deep_seeds} seeds (full preset: {PRESETS['full'].deep_seeds})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Depth:
    """What is asked at a depth.

    Args:
        study: The study's name.
        question: What it asks.
        task: What is learned.
        model: The deep model.
        wanted: Whether the claim wants each start to learn.
        optimizer, lrs: Each start is judged at its best rate of these.
        below: A run has learned where its training loss is at most this part of that of the best constant answer,
            which a network reaches that moves the bias of its head alone.
        figure: The name of the figure.
        what: The model, in words that begin a title.
        batch_size: Of each step.
        times: How often the preset's steps of deep models are taken.
    """

    study: str
    question: str
    task: str
    model: Model
    wanted: Mapping[Start, bool]
    optimizer: Optimizer
    lrs: tuple[float, ...]
    below: float
    figure: str
    what: str
    batch_size: int = 32
    times: int = 1


def deep_study(asked: Depth, preset: Preset, seed: int) -> Study:
    """Every start at every rate: a step passes through hundreds of layers, so that the seeds are few."""
    return Study(
        name=asked.study,
        question=asked.question,
        tasks=(asked.task,),
        networks=(asked.model,),
        starts=tuple(asked.wanted),
        optimizers=(asked.optimizer,),
        lrs=asked.lrs,
        policy="grid",
        seed=seed,
        looks=(preset.deep_seeds,),
        steps=asked.times * preset.deep_steps,
        batch_size=asked.batch_size,
        evaluations=4,
        measurements=1,
    )


def read_depth(found: Found, asked: Depth) -> Reading:
    """Each start must learn, or must not, as the claim wants it: in all of its runs."""
    of, study = arms(found, asked.study), found.studies[asked.study]
    every = {
        arm.start: [record for lr in study.lrs for record in found.judged(asked.study, arm.place, arm.start, lr)]
        for arm in of
    }
    guessing = prior_entropy(asked.task)
    enough = asked.below * guessing

    def learns(record: RunRecord) -> bool:
        return not record.diverged and record.train_loss[-1] <= enough

    cells = tuple(
        all_or_none(
            arm.start.label,
            # A start that is to fail must fail at every rate, and one that is to learn need do so at its best.
            arm.records if asked.wanted[arm.start] else every[arm.start],
            learns,
            f"end at or below a training loss of {enough:.2f}",
            wanted=asked.wanted[arm.start],
        )
        for arm in of
    )
    told = "; ".join(_told(arm, every[arm.start]) for arm in of)
    return Reading(
        verdict=conclude_all(cells),
        finding=(
            f"Training loss after {of[0].records[0].run.steps} steps, where the best constant answer has "
            f"{guessing:.2f}: {told}."
        ),
        factor=factor_of(cells),
        evidence=Evidence(
            cells=cells,
            tables=(
                table(
                    of,
                    f"{asked.what}, each start at its best rate, median over seeds",
                    {"training loss": "train_loss", "test accuracy": "test_score"},
                ),
            ),
            figures=(
                curves(
                    asked.figure,
                    f"Training loss of {asked.what[0].lower()}{asked.what[1:]}",
                    of,
                    facet=lambda arm: arm.place.network.label,
                    y_max=2 * guessing,
                ),
            ),
        ),
    )


def _told(arm: Arm, every: Sequence[RunRecord]) -> str:
    if all(record.diverged for record in every):
        return f"{arm.start.label} diverged in all {len(every)} runs, at whatever rate"
    return f"{arm.start.label} {span(arm, 'train_loss')}"
