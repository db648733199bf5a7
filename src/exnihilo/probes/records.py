"""What was measured, as plain values."""

from dataclasses import dataclass
from typing import Literal, get_args

from exnihilo.structure.records import Shortcut


@dataclass(frozen=True, slots=True, kw_only=True)
class BranchIdentity:
    """What one residual branch adds at the start.

    Args:
        index: The branch's place in the order of execution.
        name: The branch's name.
        shortcut: What its output equals where nothing is added: its input, or the projection of it.
        exact: The sum equals the shortcut bit for bit, on every element of the example.
        deviation: Largest absolute difference between the sum and the shortcut.
        relative: That difference over the shortcut's root mean square; NaN where the shortcut is zero.
    """

    index: int
    name: str
    shortcut: Shortcut
    exact: bool
    deviation: float
    relative: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """For each residual branch whether it is exactly the identity (or its projection) at the start.

    It holds for the example that it was measured on. ``print`` shows it.
    """

    model: str
    branches: tuple[BranchIdentity, ...]

    @property
    def exact(self) -> bool:
        """Every branch, and at least one, is exactly its shortcut."""
        return bool(self.branches) and all(branch.exact for branch in self.branches)

    @property
    def deviation(self) -> float:
        """The largest deviation of all branches; 0 where there are none."""
        return max((branch.deviation for branch in self.branches), default=0.0)

    def __str__(self) -> str:
        exact = sum(branch.exact for branch in self.branches)
        lines = [f"{self.model}: {exact} of {len(self.branches)} residual branches are exactly their shortcut"]
        for branch in self.branches:
            if not branch.exact:
                lines.append(
                    f"  {branch.index:>4}  {branch.name}  deviates by {branch.deviation:.3g}"
                    f" ({branch.relative:.3g} of the shortcut's root mean square)"
                )
        return "\n".join(lines)


# What becomes of a parameter, or of some of its units, when training begins.
#   opens       its gradient is not zero from the opening step on
#   stuck       zero at every step, though noise on the parameters would free it: a stationary saddle
#   dead        zero for parameters near these, on every sample; other values would free it
#   invariant   zero whatever the parameters are: the loss does not depend on it
#   detached    the model computes with it, but no gradient can reach it
#   unused      the model does not compute with it on this batch
#   undecided   rounding does not tell zero from not zero
Fate = Literal["opens", "stuck", "dead", "invariant", "detached", "unused", "undecided"]

FATES: tuple[Fate, ...] = get_args(Fate)
# Of each fate a small number, for tensors that hold one for each unit.
FATE_CODES: dict[Fate, int] = {fate: number for number, fate in enumerate(FATES)}


# How the model uses a parameter: the matrix of a map, rows to choose, a factor, a summand, or something else.
Use = Literal["map", "table", "scale", "shift", "other"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some units of a parameter that share a fate.

    Args:
        fate: What becomes of them.
        step: The optimizer step from which their gradient is not zero, 1 for at once; None where it never is.
        ranges: Half-open ranges of units, in order.
        num_units: How many units these are.
    """

    fate: Fate
    step: int | None = None
    ranges: tuple[tuple[int, int], ...]
    num_units: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """When a trainable parameter first gets a gradient.

    Args:
        parameter: Canonical full name.
        shape: Of the tensor.
        unit_dims: The dims that tell its units apart: the output units of a map, the rows of a table, the elements of a
            vector, experts before units.
        fate: What becomes of it: ``"opens"`` where some unit does, else what most units do.
        step: The first optimizer step at which a unit's gradient is not zero; None where it never is.
        gradient: Root mean square of its gradient at that step; 0 where there is none.
        size: Root mean square of its values.
        parts: Its units by what becomes of them, the most numerous first.
        use: How the model uses it. Of a table the batch chooses rows: what it does not choose gets no gradient.
        all_equal: The value that all its elements have, None where they differ.
        order: Its place among the parameters by when the model reads them first; -1 where it does not.
    """

    parameter: str
    shape: tuple[int, ...]
    unit_dims: tuple[int, ...]
    fate: Fate
    step: int | None = None
    gradient: float = 0.0
    size: float = 0.0
    parts: tuple[Part, ...]
    use: Use = "other"
    all_equal: float | None = None
    order: int = -1

    @property
    def num_units(self) -> int:
        """How many units it has."""
        return sum(part.num_units for part in self.parts)

    def num_of(self, *fates: Fate) -> int:
        """How many of its units have one of these fates."""
        return sum(part.num_units for part in self.parts if part.fate in fates)


@dataclass(frozen=True, slots=True, kw_only=True)
class Width:
    """How many units of a map training can ever tell apart.

    Args:
        parameter: Its weight.
        units: Output units.
        effective: Classes of units that stay equal to each other for ever, each counted once.
        classes: The classes of more than one unit, the largest first.
        transient: Units that are equal to another one now, and are told apart by training.
        dropout: The model's own dropout tells the units of a class apart, slowly.
    """

    parameter: str
    units: int
    effective: int
    classes: tuple[tuple[int, ...], ...] = ()
    transient: int = 0
    dropout: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NotFinite:
    """The first place where a number is NaN or infinite.

    Args:
        place: What holds it; ``weight`` where a weight of zeros is divided by its own size.
        name: Of the parameter or module, or the kind and shape of the input; empty for the loss.
        parameters: Canonical names of the parameters at that place.
        path: Of a weight: the name that the model gives it.
        by: Of a weight: what divides it.
    """

    place: Literal["parameter", "weight", "input", "output", "loss", "gradient"]
    name: str
    parameters: tuple[str, ...]
    path: str = ""
    by: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """What the exact probes found: when each parameter opens, and which units stay twins.

    Args:
        openings: Of each trainable parameter, in the model's order.
        widths: Of each map that has units equal to each other now or later; all others are as wide as they are.
        loss: At the start, on the samples looked at.
        num_samples: Of the batch, how many were looked at.
        num_steps: Normalized steps taken.
        certified: The dtype in which zeros were told from rounding.
        confirmed: The dead ends were seen on the whole batch too.
        not_finite: Where a number is not finite, in which case nothing else was looked for; else None.
    """

    openings: tuple[Opening, ...]
    widths: tuple[Width, ...] = ()
    loss: float
    num_samples: int
    num_steps: int
    certified: str
    confirmed: bool = True
    not_finite: NotFinite | None = None

    @property
    def by_name(self) -> dict[str, Opening]:
        """Each opening by its parameter's name."""
        return {opening.parameter: opening for opening in self.openings}


@dataclass(frozen=True, slots=True, kw_only=True)
class MapSignal:
    """What a map gave out.

    Args:
        parameter: Its weight.
        units: Output units.
        places: Samples and places that it was asked at.
        rms: Root mean square of its output.
        spread: Of the output's mean square, the share that differs between samples; 0 where all samples get the same.
        rank: Effective number of directions among the differences between places (participation ratio).
        rank_in: The same of what it was given; 0 where that was not looked at: only a thin output is compared.
    """

    parameter: str
    units: int
    places: int
    rms: float
    spread: float
    rank: float
    rank_in: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationSignal:
    """What an activation did.

    Args:
        kind: Such as ``"relu"``.
        parameter: The weight of the map whose output it met; empty where there is none.
        units: Its units.
        places: Samples and places.
        dead: Share of units that are off at every place.
        saturated: Share of entries where its slope is nearly zero, of those that saturate on both sides.
    """

    kind: str
    parameter: str
    units: int
    places: int
    dead: float = 0.0
    saturated: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionSignal:
    """How an attention spread its weight.

    Args:
        query: The weight that made its queries; empty where it could not be told.
        key: The weight that made its keys.
        entropy: Mean entropy of its rows over that of equal weights: 1 for equal weights, 0 for one place alone.
        places: How many places it may look at.
        apart: Of the mean square of its values, the share that differs between places of one sample; None where the
            values could not be told.
    """

    query: str
    key: str
    entropy: float
    places: int = 0
    apart: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterSignal:
    """How a router spread its places over its experts.

    Args:
        parameter: The weight that made its scores.
        experts: How many there are.
        chosen: How many each place is sent to.
        places: Samples and places.
        effective: Experts in use: the exponential of the load's entropy, from ``chosen`` to ``experts``.
    """

    parameter: str
    experts: int
    chosen: int
    places: int
    effective: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StageSignal:
    """One module along the depth, and the signal that passed it.

    Args:
        name: Its path.
        forward: Root mean square of its output.
        backward: Root mean square of the loss's gradient with respect to that.
        is_block: It holds other modules, and stands among its like.
    """

    name: str
    forward: float
    backward: float
    is_block: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NormSignal:
    """A norm that a map gives nearly nothing: by how much it enlarges the gradient that comes back through it."""

    parameter: str
    factor: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """One instrumented pass.

    Args:
        maps: In the order of execution.
        activations: In the order of execution.
        attentions: In the order of execution.
        routers: In the order of execution.
        stages: Modules in the order of execution.
        output_spread: Of the model's largest output, the share that differs between samples; None where unknown.
        head: The weight that made the model's largest output; empty where it could not be told.
        output_std: Standard deviation of that output's entries.
        probabilities: A log-softmax was given rows that were probabilities already.
        has_sums: The model adds two values of one shape that both came from maps, as a shortcut does.
        reference: The loss where the model's outputs are zero; None where that could not be had.
        norms: Those that enlarge gradients, each once for the map before it.
    """

    maps: tuple[MapSignal, ...] = ()
    activations: tuple[ActivationSignal, ...] = ()
    attentions: tuple[AttentionSignal, ...] = ()
    routers: tuple[RouterSignal, ...] = ()
    stages: tuple[StageSignal, ...] = ()
    output_spread: float | None = None
    head: str = ""
    output_std: float = 0.0
    probabilities: bool = False
    has_sums: bool = False
    reference: float | None = None
    norms: tuple[NormSignal, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Whether each sample's output depends on that sample, and on it alone.

    Args:
        ignored: No output depends on any input, whatever the parameters.
        mixed_by: The first module that gives a sample something of another one, or the model's class where that happens
            outside its modules; empty where none does.
        change: By how much a sample's output changed when the others changed places, of its root mean square.
        parameters: Of the module that mixes them.
        may_be_meant: Why the first dim may not be that of samples, or why they may be meant to meet; empty where
            nothing says so.
    """

    ignored: bool = False
    mixed_by: str = ""
    change: float = 0.0
    parameters: tuple[str, ...] = ()
    may_be_meant: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaddingRow:
    """The row of a table that stands for padding, and is never trained.

    Args:
        parameter: The table.
        row: Which one.
        size: Root mean square of its values.
        others: Root mean square of all rows.
    """

    parameter: str
    row: int
    size: float
    others: float
