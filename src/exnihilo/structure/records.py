"""What a model is made of, as plain values: parameters with their roles, residual branches, attention, gated maps.

Names are canonical: without the prefixes that wrappers add (``exnihilo.structure.names``), so that a model and its
compiled or sharded self have one structure.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from exnihilo.layouts import Layout

# A change of a record's fields raises this number; a file of another version is refused.
STRUCTURE_VERSION = 2

Shortcut = Literal["identity", "projection"]
NormPlacement = Literal["pre", "post", "sandwich", "inner", "none"]
Mode = Literal["meta", "fake", "real"]


class Role(StrEnum):
    """What a parameter does in its model."""

    EMBEDDING = "EMBEDDING"  # rows looked up by the input, or learned tokens put beside it
    POSITION = "POSITION"  # added or looked up by place, whatever the input
    STEM = "STEM"  # the first map of an input
    HIDDEN = "HIDDEN"  # a map between other maps
    QUERY = "QUERY"  # makes the queries of an attention
    KEY = "KEY"  # makes the keys of an attention
    VALUE = "VALUE"  # makes the values of an attention
    ATTENTION_OUT = "ATTENTION_OUT"  # the map behind an attention that ends no residual branch
    GATE = "GATE"  # the factor of a gated map that passes an activation
    UP = "UP"  # the other factor of a gated map
    RESIDUAL_OUT = "RESIDUAL_OUT"  # the last linear map of a residual branch
    HEAD = "HEAD"  # the last map to an output
    MODULATION = "MODULATION"  # makes scales, shifts or gates for activations from a condition
    ROUTER = "ROUTER"  # chooses experts
    ADAPTER = "ADAPTER"  # a low-rank path beside a map
    RECURRENT = "RECURRENT"  # a weight of a recurrent module
    NORM_SCALE = "NORM_SCALE"  # the scale of a norm, or the magnitude of a normalized weight
    NORM_SHIFT = "NORM_SHIFT"  # the shift of a norm
    BRANCH_SCALE = "BRANCH_SCALE"  # multiplies a residual branch at its end
    SCALE = "SCALE"  # multiplies activations elsewhere, such as a temperature
    BIAS = "BIAS"  # added to the output of a map, or to activations
    UNKNOWN = "UNKNOWN"  # no operation reads it, or none of a known kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """One logical matrix of a packed parameter.

    Args:
        role: What this part does, such as ``QUERY``.
        ranges: Half-open ranges of output units that belong to it, in order.
    """

    role: Role
    ranges: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter of a model.

    Args:
        name: Canonical full name.
        path: The name that the model itself gives it (``named_parameters``), wrappers and all.
        shape: Of the full logical tensor.
        dtype: Such as ``"float32"``.
        tied_to: The owner's canonical name where several names share one tensor; None for the owner.
        frozen: It has ``requires_grad=False``.
        used: An output depends on its value.
        detached: It is used, yet no gradient can reach it, whatever ``requires_grad`` says.
        layout: Which dims are out, in and kernel.
        role: What it does.
        evidence: What in the computation says so, in one line.
        slices: The logical matrices of a packed parameter; empty where it is one.
        follows: Of a bias or shift: the weight or scale that it goes with. None elsewhere or where there is none.
        activation: Of a map: the nonlinearity that its output meets first, ``"linear"`` where it meets none before the
            next map, sum or output; None for what is no map.
        offset: Of a scale: what the model adds to it before it multiplies (1 where the factor is ``1 + w``), so that
            ``-offset`` makes the product zero and ``1 - offset`` makes it neutral.
        computed: Of a map: the model maps by something computed from it (a normalized or standardized weight), so that
            a law for its own values is none for the map.
        divided: Of such: it is divided by its own size, so that zeros in it make no number, or none with a gradient.
        length: Of such: the parameter that multiplies it again, as the magnitude of weight normalization does.
        fed_by: Of a map: the weight of the map whose output is all that it reads, and which feeds nothing else; zeros
            in both would never leave zero. None where there is none.
        joins: Of a trained map or scale: zeros in it take away what its path adds to a trunk of frozen parameters.
    """

    name: str
    path: str
    shape: tuple[int, ...]
    dtype: str
    tied_to: str | None = None
    frozen: bool = False
    used: bool = True
    detached: bool = False
    layout: Layout
    role: Role
    evidence: str
    slices: tuple[Slice, ...] = ()
    follows: str | None = None
    activation: str | None = None
    offset: float = 0.0
    computed: bool = False
    divided: bool = False
    length: str | None = None
    fed_by: str | None = None
    joins: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """A module that gives out what a branch adds, and is called for that alone.

    Args:
        module: Its canonical path.
        shape: Of what it gives out on the example.
    """

    module: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Branch:
    """One residual branch: ``y = shortcut(x) + branch(x)``.

    Args:
        index: Place in the order of execution, from 0.
        name: The longest common prefix of its members' names: a name to show, never a reason.
        shortcut: ``"identity"``, or ``"projection"`` where the shortcut is a linear map.
        shortcut_members: Parameters on the shortcut.
        members: Parameters on the branch.
        maps: Weights of the last linear map on each path of the branch.
        outputs: Weights or scales of the last affine operation on each path: zeros here (of a scale: ``-offset``),
            together with ``output_biases``, make the branch's output zero. Equal to ``maps`` unless a norm or scale
            comes behind. Empty where something without parameters comes last.
        output_biases: The biases and shifts that go with ``outputs``.
        scales: Parameters that scale the whole branch behind its last map (LayerScale, gates).
        modulated_by: Weights of the maps whose output gates the branch (adaLN).
        ends_in: The activation behind the last affine operation, None where there is none.
        bends: Why a factor of ``outputs`` is none of the branch, in words that follow its name; None where it is one.
        ends: One module for each summand of the branch, which gives it out up to views and noise; empty where one of
            them comes out of code that has no module of its own.
        drop_path: The branch is dropped at random as a whole while it trains.
        norm: Where the norm stands: first on the branch (``pre``), behind the sum (``post``), first and last on the
            branch (``sandwich``), elsewhere on the branch (``inner``), nowhere (``none``).
        parent: Index of the branch that this one lies in, None at the top.
        after: Index of the branch whose sum, perhaps normalized since, the shortcut carries on; None where a stream
            begins.
    """

    index: int
    name: str
    shortcut: Shortcut
    shortcut_members: tuple[str, ...] = ()
    members: tuple[str, ...]
    maps: tuple[str, ...]
    outputs: tuple[str, ...]
    output_biases: tuple[str, ...] = ()
    scales: tuple[str, ...] = ()
    modulated_by: tuple[str, ...] = ()
    ends_in: str | None = None
    bends: str | None = None
    ends: tuple[End, ...] = ()
    drop_path: bool = False
    norm: NormPlacement = "none"
    parent: int | None = None
    after: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """One attention: weights of the maps that make query, key and value, and of the first map behind it.

    A packed weight is named once for each of its slices.

    Args:
        query: Weights of the maps that make the queries.
        key: Those that make the keys.
        value: Those that make the values.
        out: The first map behind it.
        head_width: How many products each score sums up.
    """

    query: tuple[str, ...]
    key: tuple[str, ...]
    value: tuple[str, ...]
    out: tuple[str, ...]
    head_width: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GatedMap:
    """A product of two maps of one input, one of them behind an activation (GLU, SwiGLU); a packed weight twice."""

    gate: str
    up: str
    activation: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TiedHead:
    """A map by a tensor that is looked up too, as a head that is tied to an embedding.

    Args:
        weight: The tensor's owner.
        end: The module that gives out what it maps; None where code without a module of its own does.
    """

    weight: str
    end: End | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a structure was read.

    Args:
        mode: Tensors without memory (``meta``), fake tensors of the model's device (``fake``), or real ones of a copy.
        dtype: The dtype of the weights in that run.
        training: The model ran in training mode.
        num_ops: Operations recorded.
        failures: Why each earlier way failed, one line each.
    """

    mode: Mode
    dtype: str
    training: bool
    num_ops: int
    failures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a model is made of. ``print`` shows one screen; ``to_json`` and ``from_json`` are in ``structure.files``."""

    model: str
    parameters: tuple[Parameter, ...]
    branches: tuple[Branch, ...]
    attentions: tuple[Attention, ...] = ()
    gated_maps: tuple[GatedMap, ...] = ()
    tied_heads: tuple[TiedHead, ...] = ()
    reading: Reading

    @property
    def depth(self) -> int:
        """Residual branches on the main path: those that lie in no other branch."""
        return sum(branch.parent is None for branch in self.branches)

    @property
    def by_name(self) -> dict[str, Parameter]:
        """Each parameter by its canonical name."""
        return {parameter.name: parameter for parameter in self.parameters}

    def with_role(self, *roles: Role) -> tuple[Parameter, ...]:
        """The parameters of these roles, in the model's order."""
        return tuple(parameter for parameter in self.parameters if parameter.role in roles)

    def __str__(self) -> str:
        from exnihilo.structure.text import screen  # the records stand below what shows them

        return screen(self)
