"""What the lab is asked and what it answers, as frozen records of plain values (no torch)."""

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from exnihilo.errors import InvalidValueError, UnknownNameError

# A change of any value that a run records, for the same configuration, raises this number (changelog kind `numerics`).
NUMERICS_VERSION = 2

# Curves are taken on at most this many rows of each part of the data; units are measured on at most that many.
EVALUATED_ROWS = 384
MEASURED_ROWS = 128
# Of a model that trains alone: a row of a deep one costs as much as a step.
MODEL_EVALUATED_ROWS = 96

Kind = Literal["mlp", "cnn"]
Norm = Literal["none", "batch", "layer", "weight"]
Family = Literal["residual_mlp", "residual_cnn", "plain_cnn", "transformer", "adapted_mlp"]
ModelNorm = Literal["none", "batch", "layer", "pre", "post"]
OptimizerName = Literal["sgd", "momentum", "adam", "adamw"]


@functools.lru_cache(maxsize=4096)
def _canonical(part: "str | Network | Model | Start | Optimizer") -> str:
    plain_part = part if isinstance(part, str) else asdict(part)
    return json.dumps(plain_part, sort_keys=True, separators=(",", ":"))


def _require_known(noun: str, name: str, known: tuple[str, ...], *, plural: str | None = None) -> None:
    if name not in known:
        raise UnknownNameError.of(noun, name, known, plural=plural)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the lab.

    ``kind="mlp"``, ``residual=False``: ``depth`` hidden layers ``act(norm(W x + b))`` of ``width`` units, then a head;
    with ``residual=True``: a stem, ``depth`` branches ``x + gate * W_out act(norm(W_in x))``, then ``head(x)``.
    ``kind="cnn"``: ``depth`` 3x3 convolutions (the first of ``width`` channels, doubled at each stride-2 layer),
    global average pooling, then a head; needs a task with images.

    Args:
        depth: Hidden layers, or residual branches where ``residual`` is set; at least 1.
        width: Units of each hidden layer, or channels of the first convolution; at least 1.
        activation: A name of ``exnihilo.schemes.activations.ACTIVATIONS``.
        norm: What normalizes each hidden pre-activation; ``"weight"`` is weight normalization of each hidden map.
        dropout: Probability of dropping a hidden activation, in [0, 1).
        gate: A learned scalar on each residual branch (starts at 1 unless the start says otherwise).
    """

    kind: Kind = "mlp"
    depth: int = 2
    width: int = 32
    activation: str = "relu"
    residual: bool = False
    norm: Norm = "none"
    dropout: float = 0.0
    gate: bool = False

    def __post_init__(self) -> None:
        _require_known("kind of network", self.kind, get_args(Kind), plural="kinds")
        _require_known("norm", self.norm, get_args(Norm))
        if self.depth < 1 or self.width < 1:
            raise InvalidValueError(
                f"Network has depth {self.depth} and width {self.width}; both must be at least 1.",
                fix="Network(depth=2, width=32)",
            )
        object.__setattr__(self, "dropout", float(self.dropout))
        if not 0.0 <= self.dropout < 1.0:
            raise InvalidValueError(f"Network.dropout is {self.dropout}; it must be in [0, 1).", fix="dropout=0.1")
        if self.gate and not self.residual:
            raise InvalidValueError(
                "Network.gate is set without residual branches; a gate scales a residual branch.",
                fix="Network(residual=True, gate=True)",
            )
        if self.kind == "cnn" and (self.residual or self.norm in ("weight", "layer") or self.dropout):
            raise InvalidValueError(
                "Network kind 'cnn' knows no residual branches, dropout, or norm but 'batch'.",
                context=[f"asked: residual={self.residual}, norm='{self.norm}', dropout={self.dropout}"],
                fix="Network(kind='cnn', norm='batch')",
            )

    @property
    def label(self) -> str:
        """A short name for tables and figures, such as ``mlp 2x32 relu``."""
        extras = ["residual"] if self.residual else []
        extras += ["gate"] if self.gate else []
        extras += [f"{self.norm} norm"] if self.norm != "none" else []
        extras += [f"dropout {self.dropout:g}"] if self.dropout else []
        return " ".join([self.kind, f"{self.depth}x{self.width}", self.activation, *extras])


# What may normalize each family, the usual one first.
_NORMS: Mapping[Family, tuple[ModelNorm, ...]] = {
    "residual_mlp": ("none", "batch", "layer"),
    "residual_cnn": ("batch", "none"),
    "plain_cnn": ("none", "batch"),
    "transformer": ("pre", "post", "none"),
    "adapted_mlp": ("none",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model of the lab that trains by itself, as an ordinary PyTorch module which a recipe starts.

    What the stacked engine has no layers for: residual CNNs, transformers, networks of a thousand blocks with gates.
    Runs of models are not batched.

    Families:
        ``residual_mlp``: a stem, ``depth`` branches ``x + W_out act(norm(W_in x))``, a head.
        ``residual_cnn``: a 3x3 stem, ``depth`` branches of two 3x3 convolutions, each behind ``act(norm(.))``, then
        pooling and a head. ``plain_cnn``: ``depth`` 3x3 convolutions, each followed by ``norm`` and ``act``, and a
        head that reads every position. ``transformer``: a causal one of ``depth`` layers (attention, then two maps of
        four times the width), each normalized before (``pre``) or after (``post``) its sums, or not at all.
        ``adapted_mlp``: ``depth`` hidden layers that were trained on images turned by 90 degrees and are frozen, each
        map with a trained low-rank product beside it.

    Args:
        family: See above.
        depth: Blocks, layers or hidden layers; at least 1.
        width: Units, channels or embedding size; at least 1, a multiple of ``heads`` in a transformer.
        activation: A name of ``exnihilo.schemes.activations.ACTIVATIONS``.
        norm: What normalizes; None takes the family's usual one.
        heads: Of each attention.
    """

    family: Family
    depth: int
    width: int
    activation: str = "relu"
    norm: ModelNorm | None = None
    heads: int = 2

    def __post_init__(self) -> None:
        _require_known("family", self.family, get_args(Family), plural="families")
        if self.depth < 1 or self.width < 1:
            raise InvalidValueError(
                f"Model has depth {self.depth} and width {self.width}; both must be at least 1.",
                fix="Model(family='transformer', depth=2, width=32)",
            )
        allowed = _NORMS[self.family]
        if self.norm is None:
            object.__setattr__(self, "norm", allowed[0])
        if self.norm not in allowed:
            raise InvalidValueError(
                f"Model.norm is '{self.norm}', and family '{self.family}' knows: {', '.join(allowed)}.",
                fix=f"norm='{allowed[0]}'",
            )
        if self.family == "transformer" and (self.heads < 1 or self.width % self.heads):
            raise InvalidValueError(
                f"Model.heads is {self.heads}, and width {self.width} is no multiple of it.", fix="heads=1"
            )

    @property
    def label(self) -> str:
        """A short name for tables and figures, such as ``transformer 12x32 relu pre norm 2 heads``."""
        norm = "no norm" if self.norm == "none" else f"{self.norm} norm"
        extras = [f"{self.heads} heads"] if self.family == "transformer" else []
        return " ".join([self.family.replace("_", " "), f"{self.depth}x{self.width}", self.activation, norm, *extras])


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How a run's parameters begin: a scheme on all layers, or a recipe over the lab's networks.

    Args:
        name: A key of ``exnihilo.lab.starts.STARTS``, such as ``"he_normal"`` or ``"zero_head"``; of a ``Model``, a
            recipe with any options, such as ``"fixup"``, or a key of ``exnihilo.lab.models.STARTS``.
        value: The number that the start takes, where it takes one: the std of ``normal`` and ``zeros_noise``, the value
            of ``constant``; None takes the start's own default.
        base: For the recipes that zero some parameters: the scheme of the others; None takes ``"he_normal"``.
    """

    name: str
    value: float | None = None
    base: str | None = None

    def __post_init__(self) -> None:
        if self.value is not None:
            object.__setattr__(self, "value", float(self.value))

    @property
    def label(self) -> str:
        """A short name for tables and figures, such as ``normal(0.01)``."""
        extras = [f"{self.value:g}"] if self.value is not None else []
        extras += [self.base] if self.base is not None else []
        return f"{self.name}({', '.join(extras)})" if extras else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """The update rule of a run, with PyTorch's own defaults where nothing is said (momentum is 0.9).

    Args:
        name: ``"sgd"``, ``"momentum"``, ``"adam"`` or ``"adamw"``.
        weight_decay: Coefficient of the L2 penalty (decoupled in ``adamw``), not negative.
    """

    name: OptimizerName = "momentum"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _require_known("optimizer", self.name, get_args(OptimizerName))
        object.__setattr__(self, "weight_decay", float(self.weight_decay))
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0.0):
            raise InvalidValueError(
                f"Optimizer.weight_decay is {self.weight_decay}; it must be finite and not negative.",
                fix="weight_decay=0.0",
            )

    @property
    def label(self) -> str:
        """A short name for tables and figures, such as ``adamw(0.01)``."""
        return f"{self.name}({self.weight_decay:g})" if self.weight_decay else self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One training run, in full: two runs with equal fields give equal bits.

    Args:
        task: The task's name; a user's data carries a hash of its content in the name.
        seed: Keys the data split, the initialization, the order of the data and the dropout masks.
        lr: Learning rate, positive.
        evaluations: Loss and score are taken at step 0 and at this many evenly spaced steps, the last one included.
        measurements: Gradient norms, effective widths and dead units are taken at step 0 and at this many evenly spaced
            steps, the last one included.
        split: The seed of the data split where it shall not vary with ``seed``; None lets it vary.
    """

    task: str
    network: Network | Model
    start: Start
    optimizer: Optimizer
    lr: float
    seed: int
    steps: int
    batch_size: int
    evaluations: int = 20
    measurements: int = 4
    split: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "lr", float(self.lr))  # 1 and 1.0 are one run: equal records have equal identities
        if not (math.isfinite(self.lr) and self.lr > 0.0):
            raise InvalidValueError(f"Run.lr is {self.lr}; a learning rate must be positive and finite.", fix="lr=0.1")
        for name in ("steps", "batch_size", "evaluations", "measurements"):
            if getattr(self, name) < 1:
                raise InvalidValueError(
                    f"Run.{name} is {getattr(self, name)}; it must be at least 1.", fix=f"{name}=20"
                )
        if self.network.norm == "batch" and self.batch_size < 2:
            raise InvalidValueError(
                "Run.batch_size is 1, and the network has batch norm: one sample has no variance.", fix="batch_size=32"
            )

    def canonical(self) -> str:
        """The whole configuration as canonical JSON, numerics version included."""
        # Written out, and four times as fast as json.dumps of the whole: a study may hold a hundred thousand runs.
        return (
            f'{{"batch_size":{self.batch_size},"evaluations":{self.evaluations},"lr":{self.lr!r},'
            f'"measurements":{self.measurements},"network":{_canonical(self.network)},"numerics":{NUMERICS_VERSION},'
            f'"optimizer":{_canonical(self.optimizer)},"seed":{self.seed},'
            f'"split":{"null" if self.split is None else self.split},"start":{_canonical(self.start)},'
            f'"steps":{self.steps},"task":{_canonical(self.task)}}}'
        )

    @property
    def identity(self) -> str:
        """Hash of the whole configuration: the run's name in the ledger."""
        return hashlib.blake2b(self.canonical().encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What one run left behind. Shapes: E = evaluations + 1, M = measurements + 1, L = layers, H = hidden layers.

    Losses and scores are means over the first ``EVALUATED_ROWS`` rows of a part of the (shuffled) data
    (``MODEL_EVALUATED_ROWS`` of a ``Model``), units are measured on ``MEASURED_ROWS`` validation rows. A score is the
    accuracy of a classification, or of each next symbol of a sequence, and R² of a regression. Diverged runs keep
    their NaN. A ``Model``'s units are not counted: its H is 0, and its ``zero_activations`` are NaN.

    Args:
        run: The configuration.
        layers: Names of the L linear maps in order, the head last.
        evaluation_steps: E steps, 0 first.
        train_loss, validation_loss, train_score, validation_score: E values each.
        test_loss, test_score: After the last step.
        measurement_steps: M steps, 0 first.
        gradient_norm: M x L; the norm of the batch gradient of each map's weight at that step.
        effective_width: M x H; units that are distinct by bits, incoming and outgoing weights together.
        effective_width_relative: M x H; the same, at a relative distance of more than 1e-6.
        dead_units: M x H; share of units whose output is the same for every validation sample.
        saturated_units: M x H; share of units whose derivative is below 5 % of the activation's largest for at least
            90 % of the validation samples.
        zero_weights: M values; share of the weights of all maps that are exactly zero.
        zero_activations: M values; share of hidden activations that are exactly zero.
        diverged: A parameter or a loss was not finite at an evaluation.
        moved: Some weight of a linear map (not a bias) differs from its start, by bits, after the last step.
    """

    run: Run
    layers: tuple[str, ...]
    evaluation_steps: tuple[int, ...]
    train_loss: tuple[float, ...]
    validation_loss: tuple[float, ...]
    train_score: tuple[float, ...]
    validation_score: tuple[float, ...]
    test_loss: float
    test_score: float
    measurement_steps: tuple[int, ...]
    gradient_norm: tuple[tuple[float, ...], ...]
    effective_width: tuple[tuple[int, ...], ...]
    effective_width_relative: tuple[tuple[int, ...], ...]
    dead_units: tuple[tuple[float, ...], ...]
    saturated_units: tuple[tuple[float, ...], ...]
    zero_weights: tuple[float, ...]
    zero_activations: tuple[float, ...]
    diverged: bool
    moved: bool


Outcome = Literal["better", "worse", "equivalent", "undecided"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How a start compares with a baseline; cannot be built without estimate, interval, n and rule.

    Positive ``estimate`` always means that the start is better, whatever the metric's direction.

    Args:
        comparison: What is compared with what, and where.
        outcome: ``better``, ``worse``, ``equivalent`` or ``undecided``.
        estimate: Mean paired difference, oriented, in the metric's unit.
        interval: At the level that the multiplicity correction and the look left for it, rates next to the tuned ones
            included; infinite where the seeds are too few for that level.
        level: Confidence level of ``interval``.
        n: Paired seeds.
        p_value: Two-sided, exact, before the correction.
        p_adjusted: After Holm over the claim's family and the share of its look; to be compared with the claim's alpha.
        superiority: P(start > baseline), ties counted half, with its interval at ``level``.
        failures: Of the start and of the baseline: runs that diverged or never moved.
        more_seeds: For ``undecided``: about how many more seeds would decide it, None where no number would; else None.
        rule: The decision rule in words, with its numbers.
    """

    comparison: str
    outcome: Outcome
    estimate: float
    interval: tuple[float, float]
    level: float
    n: int
    p_value: float
    p_adjusted: float
    superiority: tuple[float, float, float]
    failures: tuple[int, int]
    more_seeds: int | None
    rule: str


def plain(record: Any) -> Any:
    """A record as JSON-ready plain values."""
    return asdict(record)
