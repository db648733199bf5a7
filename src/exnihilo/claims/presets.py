"""How much is spent on the claims: the one home of tasks, rates, seeds and steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from exnihilo.errors import UnknownNameError
from exnihilo.lab.records import Model, Network, Optimizer, Start
from exnihilo.lab.study import Study

# Chance of any false verdict within one claim.
ALPHA = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """What the claims' studies share.

    Args:
        name: As spelled on the command line.
        tasks: Data that every measured claim is put to; classifications.
        lrs: Grid of learning rates for momentum; an optimum at its edge extends it.
        tuning_seeds: Seeds that choose a rate.
        looks: Cumulative judging seeds; undecided comparisons go on to the next look.
        shown_seeds: Judging seeds of what is shown or described, and not compared.
        steps: Optimizer steps of a run.
        model_seeds, model_steps: Judging seeds and steps of models that train alone.
        deep_seeds, deep_steps: Those of models of hundreds of layers, whose step takes a good part of a second.
        margin: Difference of an accuracy that matters.
    """

    name: str
    tasks: tuple[str, ...]
    lrs: tuple[float, ...]
    tuning_seeds: int
    looks: tuple[int, ...]
    shown_seeds: int
    steps: int
    model_seeds: int
    model_steps: int
    deep_seeds: int
    deep_steps: int
    margin: float = 0.02

    @property
    def one_look(self) -> int:
        """Judging seeds of comparisons across studies and places, and of families too large for the first look.

        Those of the last look: such comparisons are judged once.
        """
        return self.looks[-1]

    def study(
        self,
        name: str,
        question: str,
        *,
        seed: int,
        networks: Sequence[Network | Model],
        starts: Sequence[Start],
        baseline: Start | None = None,
        share: float = 1.0,
        **changes: Any,
    ) -> Study:
        """A study with this preset's tasks, rates, seeds and steps.

        Args:
            share: The part of ``ALPHA`` that this study may spend; the studies of one claim share it.
            changes: Fields of ``Study`` that differ from the preset's.
        """
        fields: dict[str, Any] = {
            "tasks": self.tasks,
            "lrs": self.lrs,
            "tuning_seeds": self.tuning_seeds,
            "looks": self.looks,
            "steps": self.steps,
            "margin": self.margin,
            "optimizers": (Optimizer(name="momentum"),),
        }
        return Study(
            name=name,
            question=question,
            seed=seed,
            networks=tuple(networks),
            starts=tuple(starts),
            baseline=baseline,
            alpha=ALPHA * share,
            **{**fields, **changes},
        )


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="quick",
            tasks=("digits", "wine", "breast_cancer", "spirals"),
            lrs=(0.003, 0.01, 0.03, 0.1, 0.3),
            tuning_seeds=3,
            looks=(10, 16),
            shown_seeds=3,
            steps=300,
            model_seeds=6,
            model_steps=150,
            deep_seeds=3,
            deep_steps=40,
        ),
        Preset(
            name="full",
            tasks=("digits", "wine", "breast_cancer", "spirals", "teacher_student"),
            lrs=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
            tuning_seeds=5,
            looks=(16, 24, 40),
            shown_seeds=10,
            steps=1000,
            model_seeds=12,
            model_steps=600,
            deep_seeds=6,
            deep_steps=150,
        ),
    )
}


def preset_named(name: str) -> Preset:
    """The preset of that name.

    Raises:
        UnknownNameError: There is none.
    """
    if name not in PRESETS:
        raise UnknownNameError.of("preset", name, PRESETS)
    return PRESETS[name]
