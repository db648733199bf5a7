"""A study: a question, and all that is done to answer it, declared before the first run."""

import hashlib
import itertools
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from typing import Any, Literal, cast

from exnihilo.errors import InvalidValueError
from exnihilo.lab.metrics import Metric, metric_named
from exnihilo.lab.models import check_model, start_of
from exnihilo.lab.records import NUMERICS_VERSION, Model, Network, Optimizer, Run, Start
from exnihilo.lab.starts import check_start
from exnihilo.lab.store import Declaration
from exnihilo.lab.tasks import Task, task_named
from exnihilo.schemes.activations import activation_named

# A study's seeds are the block that begins at seed * 2**20: judging seeds from its start, tuning seeds from its middle.
# Blocks of different base seeds never meet, nor do the halves of one block.
SEEDS_PER_STUDY = 2**20
MAX_LOOKS = 3

_BASELINE = 'baseline=Start(name="he_normal")'
# Of each axis: what an entry is, in words and as types, and an axis that can be pasted.
_AXES: dict[str, tuple[str, tuple[type, ...], str]] = {
    "tasks": ("a name or a Task", (str, Task), 'tasks=("digits",)'),
    "networks": ("a Network or a Model", (Network, Model), "networks=(Network(depth=2),)"),
    "starts": ("a Start", (Start,), 'starts=(Start(name="zeros"),)'),
    "optimizers": ("an Optimizer", (Optimizer,), 'optimizers=(Optimizer(name="adam"),)'),
    "lrs": ("a number", (Real,), "lrs=(0.01, 0.1)"),
    "looks": ("a whole number", (Integral,), "looks=(8, 12, 16)"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the starts of a study are compared."""

    task: str
    network: Network | Model
    optimizer: Optimizer


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A question with its whole method: what runs, how rates are chosen, what decides.

    With ``policy="tuned"`` each start's learning rate is chosen in each place (task, network, optimizer) on tuning
    seeds and validation data, with equal budgets; an optimum at the edge extends the grid for every start of the place.
    Then fresh judging seeds, shared by all starts, run at the chosen rates. With ``policy="grid"`` every rate runs on
    the judging seeds: for sweeps, trajectories and exact measurements.

    Args:
        name: Short, unique among the studies of one call.
        question: What is asked, in words.
        tasks: Names of ``exnihilo.lab.tasks.TASK_NAMES``, or tasks made from a user's data.
        networks: Networks of the places, or models, which train one by one.
        starts: What is compared; the baseline joins them where it is not among them.
        baseline: What each other start is compared with, in each place; None compares nothing, and runs the first look.
        optimizers: Optimizers of the places.
        lrs: The grid of learning rates, positive, ascending.
        policy: ``"tuned"`` or ``"grid"``.
        seed: The base seed; another one gives other data splits, initial values, data orders and masks throughout.
        tuning_seeds: Seeds that choose the rates; 3 tell neighbors of a grid of half-decades apart on the lab's tasks.
        looks: Judging seeds of each look, cumulative, at most three; a comparison that is undecided goes on to the next
            one. The level is spent over them as declared.
        steps, batch_size, evaluations, measurements: Of each run, as in ``Run``.
        metric: A key of ``exnihilo.lab.metrics.METRICS``.
        target: The target of a metric that counts steps to one.
        margin: Smallest difference of the metric that matters, positive: inside it two starts are equivalent.
        alpha: Chance of any false verdict of the study, in (0, 1).
        vary_split: Each seed splits the data anew; False keeps one split, and verdicts hold on this split.
        extend: How many rates an optimum at the edge may add on each side.

    Raises:
        UnknownNameError: A task, activation, start or metric that does not exist.
        InvalidValueError: A value outside its range, or a start that a network has no parameter for.

    Example:
        >>> study = Study(
        ...     name="zero-head", question="Does a zero head start better than He?", tasks=("digits",),
        ...     networks=(Network(),), starts=(Start(name="zero_head"),), baseline=Start(name="he_normal"),
        ...     lrs=(0.01, 0.03, 0.1), steps=200,
        ... )
        >>> [start.label for start in study.arms]
        ['he_normal', 'zero_head']
        >>> study.judging_seed(0), study.tuning_seed(0)
        (0, 524288)
    """

    name: str
    question: str
    tasks: tuple[str | Task, ...]
    networks: tuple[Network | Model, ...]
    starts: tuple[Start, ...]
    baseline: Start | None = None
    optimizers: tuple[Optimizer, ...] = (Optimizer(),)
    lrs: tuple[float, ...]
    policy: Literal["tuned", "grid"] = "tuned"
    seed: int = 0
    tuning_seeds: int = 3
    looks: tuple[int, ...] = (8, 12, 16)
    steps: int
    batch_size: int = 32
    evaluations: int = 20
    measurements: int = 4
    metric: str = "test_score"
    target: float | None = None
    margin: float = 0.01
    alpha: float = 0.05
    vary_split: bool = True
    extend: int = 2

    def __post_init__(self) -> None:
        for axis in _AXES:
            object.__setattr__(self, axis, self._entries(axis))
        baseline: Any = self.baseline
        if baseline is not None and not isinstance(baseline, Start):
            raise self._invalid(f"Study.baseline is {baseline!r}; it must be a Start.", _BASELINE)
        object.__setattr__(self, "lrs", tuple(sorted(map(float, self.lrs))))
        self._check_numbers()
        self._check_looks()
        self._check_metric()
        for task in self.task_records:
            for network in self.networks:
                self._check_network(task, network)
        for network, start in itertools.product(self.networks, self.arms):
            activation_named(network.activation)
            if isinstance(network, Model):
                start_of(start)
            else:
                check_start(start, network)

    @property
    def arms(self) -> tuple[Start, ...]:
        """All starts that run: the baseline first, where there is one."""
        return self.starts if self.baseline is None else tuple(dict.fromkeys((self.baseline, *self.starts)))

    @property
    def task_records(self) -> tuple[Task, ...]:
        """The tasks, those given by name looked up."""
        return tuple(task_named(task) if isinstance(task, str) else task for task in self.tasks)

    @property
    def places(self) -> tuple[Place, ...]:
        """Every place where the starts run."""
        names = [task.name for task in self.task_records]
        return tuple(
            Place(task=task, network=network, optimizer=optimizer)
            for task, network, optimizer in itertools.product(names, self.networks, self.optimizers)
        )

    @property
    def judged_by(self) -> Metric:
        """The metric that decides, on judging seeds."""
        return metric_named(self.metric)

    @property
    def tuned_by(self) -> Metric:
        """The metric that chooses the rates, on tuning seeds and validation data."""
        return metric_named(self.judged_by.tuned_by)

    def judging_seed(self, index: int) -> int:
        """The seed of the ``index``-th pair of judging runs."""
        return judging_seed(self.seed, index)

    def tuning_seed(self, index: int) -> int:
        """The seed of the ``index``-th tuning run; never a judging seed of any study."""
        return self.seed * SEEDS_PER_STUDY + SEEDS_PER_STUDY // 2 + index

    def run(self, place: Place, start: Start, lr: float, seed: int) -> Run:
        """One run of the study."""
        return Run(
            task=place.task,
            network=place.network,
            start=start,
            optimizer=place.optimizer,
            lr=lr,
            seed=seed,
            steps=self.steps,
            batch_size=self.batch_size,
            evaluations=self.evaluations,
            measurements=self.measurements,
            split=None if self.vary_split else self.seed * SEEDS_PER_STUDY,
        )

    def declaration(self) -> Declaration:
        """The whole study as it is written into the ledger before its first run."""
        fields = {name: getattr(self, name) for name in self.__slots__ if name != "tasks"}
        plain = {name: _plain(value) for name, value in fields.items()}
        plain |= {"tasks": [task.name for task in self.task_records], "numerics": NUMERICS_VERSION}
        text = json.dumps(plain, sort_keys=True, separators=(",", ":"))
        digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        return Declaration(name=self.name, hash=digest, question=self.question, rule=self.rule, text=text)

    @property
    def rule(self) -> str:
        """The decision rule in words, with its numbers."""
        rates = (
            f"Each start's learning rate is the best mean {self.tuned_by.title} of {self.tuning_seeds} tuning seeds"
            f" over {len(self.lrs)} rates, extended by at most {self.extend} a side while the best is at the edge."
            if self.policy == "tuned"
            else f"Every one of {len(self.lrs)} learning rates runs on the judging seeds."
        )
        looks = ", then ".join(map(str, self.looks))
        near = ", at the chosen rates and their neighbors" if self.policy == "tuned" and len(self.lrs) > 1 else ""
        judging = (
            "Nothing is compared."
            if self.baseline is None
            else f"Each start is compared with {self.baseline.label} by the {self.judged_by.title} of paired fresh"
            f" seeds ({looks}){near}: exact sign-flip test, Holm over the study at alpha {self.alpha:g} spent over the"
            f" looks; equivalent inside ±{self.margin:g}, better or worse if the interval excludes 0, else undecided."
        )
        return f"{rates} {judging}{'' if self.vary_split else ' All on one data split.'}"

    def _entries(self, axis: str) -> tuple[object, ...]:
        """The entries of an axis, each once; a study file is written by hand, and no type checker sees it."""
        given: Any = getattr(self, axis)
        noun, kinds, fix = _AXES[axis]
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise self._invalid(f"Study.{axis} is {given!r}; it must be a tuple.", fix)
        entries = tuple(cast(Iterable[object], given))
        if not entries:
            raise self._invalid(f"Study.{axis} is empty; a study needs at least one entry.", fix)
        for entry in entries:
            if not isinstance(entry, kinds):
                raise self._invalid(f"Study.{axis} holds {entry!r}; each entry must be {noun}.", fix)
        return tuple(dict.fromkeys(entries))

    def _check_numbers(self) -> None:
        if not self.name or not self.question:
            raise self._invalid(
                "A study needs a name and a question; it is declared by them.",
                'Study(name="zero-head", question="Does a zero head start better than He?", ...)',
            )
        for lr in self.lrs:
            if not (math.isfinite(lr) and lr > 0.0):
                raise self._invalid(
                    f"Study.lrs holds {lr:g}; a learning rate must be positive and finite.", "lrs=(0.01, 0.1)"
                )
        for name in ("tuning_seeds", "steps", "batch_size", "evaluations", "measurements"):
            if getattr(self, name) < 1:
                raise self._invalid(f"Study.{name} is {getattr(self, name)}; it must be at least 1.", f"{name}=3")
        if not 0 <= self.seed < 2**42:
            raise self._invalid(f"Study.seed is {self.seed}; it must be in [0, 2**42).", "seed=0")
        if not 0.0 < self.alpha < 1.0:
            raise self._invalid(f"Study.alpha is {self.alpha:g}; it must be between 0 and 1.", "alpha=0.05")
        if not (math.isfinite(self.margin) and self.margin > 0.0):
            raise self._invalid(f"Study.margin is {self.margin:g}; it must be positive and finite.", "margin=0.01")
        if self.extend < 0:
            raise self._invalid(f"Study.extend is {self.extend}; it must not be negative.", "extend=2")
        if self.policy not in ("tuned", "grid"):
            raise self._invalid(f"Study.policy is '{self.policy}'; it is 'tuned' or 'grid'.", 'policy="tuned"')

    def _check_looks(self) -> None:
        if len(self.looks) > MAX_LOOKS:
            raise self._invalid(
                f"Study.looks has {len(self.looks)} looks; at most {MAX_LOOKS} share the level alpha.",
                "looks=(8, 12, 16)",
            )
        is_ascending = all(a < b for a, b in itertools.pairwise(self.looks))
        if not is_ascending or not 1 <= self.looks[0] <= self.looks[-1] <= SEEDS_PER_STUDY // 2:
            raise self._invalid(
                f"Study.looks is {self.looks}; looks are cumulative seeds: ascending, and at least 1.",
                "looks=(8, 12, 16)",
            )

    def _check_metric(self) -> None:
        metric = self.judged_by
        if metric.needs_target != (self.target is not None):
            wants = "needs a target" if metric.needs_target else "takes no target"
            raise self._invalid(
                f"Study.target is {self.target}, and the metric '{metric.name}' {wants}.",
                "target=0.9" if metric.needs_target else "target=None",
            )

    def _check_network(self, task: Task, network: Network | Model) -> None:
        if isinstance(network, Model):
            check_model(network, task)
            return
        if task.kind == "sequence":
            raise self._invalid(
                f"Task '{task.name}' is text, and a Network takes rows of numbers.",
                "networks=(Model(family='transformer', depth=2, width=32),)",
            )
        if network.kind == "cnn" and task.image_shape is None:
            raise self._invalid(
                f"Task '{task.name}' has no images, and a network of kind 'cnn' needs them.",
                'tasks=("digits",), or Network(kind="mlp")',
            )

    def _invalid(self, fact: str, fix: str) -> InvalidValueError:
        return InvalidValueError(fact, context=[f"study: {self.name!r}"], fix=fix)


def judging_seed(base: int, index: int) -> int:
    """The ``index``-th judging seed of the block of a base seed: also of what is measured outside of studies.

    Args:
        base: The base seed, as ``Study.seed``.
        index: From 0 on.

    Example:
        >>> judging_seed(0, 2), judging_seed(1, 0)
        (2, 1048576)
    """
    return base * SEEDS_PER_STUDY + index


def _plain(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(entry) for entry in value]
    return asdict(value) if isinstance(value, Network | Model | Start | Optimizer) else value
