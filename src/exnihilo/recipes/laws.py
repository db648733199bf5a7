"""What recipes share: a law for each role, and the gain of the activation that follows a map."""

import math
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Literal, get_args

from exnihilo.errors import RecipeError, UnknownNameError
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Constant, Normal, Ones, Orthogonal, Scheme, Sliced, Zeros, activation_from_text
from exnihilo.schemes.gains import Direction, gain
from exnihilo.structure.records import Parameter, Role, Structure

# That of BERT, GPT-2 and ViT. A looked-up row has no fan; a variance of 1 would drown what is added to it, and make
# the logits of a tied head as large as sqrt(width).
LOOKED_UP = Normal(std=0.02)

FROZEN = "frozen: it holds what it was given"

Distribution = Literal["normal", "truncated_normal", "uniform"]

MapLaw = Callable[[Parameter], Assignment]


def by_role(structure: Structure, map_law: MapLaw) -> dict[str, Assignment]:
    """One assignment for each owner, by its role: maps by the given law, the rest by the laws that all families share.

    - Embeddings, tokens and positions: normal with std 0.02.
    - Biases and shifts: zero. Scales of norms: neutral, that is ``1 - offset``.
    - Branch scales and other scales: kept, since their value is a choice of the model (1e-6 of a LayerScale).
    - Adapters: kept, since one of their factors is zero on purpose.
    - Weights that the model normalizes or computes with before it maps: kept, since their own spread is not the map's.
    - Frozen parameters: kept, since nothing would train what is drawn. Parameters of unknown role: kept where no
      output depends on them; else no rule covers them.
    """
    roles = roles_of(structure)
    assigned: dict[str, Assignment] = {}
    for parameter in owners(structure):
        assignment = _law(parameter, roles[parameter.name], map_law)
        if assignment is not None:
            assigned[parameter.name] = assignment
    return assigned


def _law(parameter: Parameter, roles: frozenset[Role], map_law: MapLaw) -> Assignment | None:
    if parameter.frozen:
        return keep(FROZEN)
    if roles & {Role.EMBEDDING, Role.POSITION}:
        tied = " and read as the head" if Role.HEAD in roles else ""
        return Assignment(scheme=LOOKED_UP, reason=f"looked up{tied}, so without a fan: std 0.02 as in BERT and GPT-2")
    if parameter.computed:
        return keep("the model maps by what it computes from it, so that a law for its own values promises nothing")
    match parameter.role:
        case Role.BIAS | Role.NORM_SHIFT:
            return Assignment(scheme=Zeros(), reason="adds nothing at the start")
        case Role.NORM_SCALE:
            return Assignment(scheme=constant(1.0 - parameter.offset), reason="neutral scale of a norm")
        case Role.BRANCH_SCALE | Role.SCALE:
            return keep("a scale: its value is the model's own choice")
        case Role.ADAPTER:
            return keep("an adapter: one of its factors is zero on purpose")
        case Role.UNKNOWN:
            return None if parameter.used else keep("no output depends on it")
        case _:
            return _by_slice(parameter, map_law(parameter)) if parameter.layout.in_dims else None


def _by_slice(parameter: Parameter, whole: Assignment) -> Assignment:
    """The law of a map, drawn for each of the maps that share its tensor where one law for all gives none its own.

    Maps of equal size side by side are the layout's own matter; here they are unequal, as the queries and keys of
    grouped attention, or take turns, as one head's query, key and value after another's.
    """
    runs = runs_of(parameter)
    scheme = whole.scheme
    if scheme is None or not runs or not _differs_by_part(scheme, parameter, runs):
        return whole
    count = len(set(runs[::2]))
    reason = whole.reason.replace("a map", f"each of {count} maps in one tensor", 1)
    return Assignment(scheme=Sliced(base=scheme, runs=tuple(map(float, runs))), reason=reason)


def runs_of(parameter: Parameter) -> tuple[int, ...]:
    """Part and length in turn, the shortest pattern that repeats; empty where the slices do not deal out all units."""
    layout = parameter.layout
    if len(parameter.slices) < 2 or layout.num_matrices != 1 or len(layout.out_dims) != 1:
        return ()
    spans = sorted(
        (first, end, part) for part, one in enumerate(parameter.slices) for first, end in one.ranges if end > first
    )
    borders = [0, *(end for _, end, _ in spans)]
    if [first for first, _, _ in spans] != borders[:-1] or borders[-1] != layout.shape[layout.out_dims[0]]:
        return ()
    pairs = [(part, end - first) for first, end, part in spans]
    for size in range(1, len(pairs) + 1):
        if len(pairs) % size == 0 and pairs == pairs[:size] * (len(pairs) // size):
            return tuple(number for pair in pairs[:size] for number in pair)
    return ()


def _differs_by_part(scheme: Scheme, parameter: Parameter, runs: tuple[int, ...]) -> bool:
    """Whether a law would draw a part otherwise than the whole: by its fans, or to make its units orthogonal."""
    whole = scheme.expected_std(parameter.layout)
    by_part = Sliced(base=scheme, runs=tuple(map(float, runs))).expected_std(parameter.layout)
    return isinstance(scheme, Orthogonal) or not math.isclose(whole, by_part, rel_tol=1e-9)


def everywhere(structure: Structure, scheme: Scheme, reason: str) -> dict[str, Assignment]:
    """One scheme for every owner that is not frozen, whatever its role."""
    written = Assignment(scheme=scheme, reason=reason)
    kept = keep(FROZEN)
    return {parameter.name: kept if parameter.frozen else written for parameter in owners(structure)}


def keep(reason: str) -> Assignment:
    """The assignment that leaves a parameter as it is."""
    return Assignment(scheme=None, reason=reason)


def constant(value: float) -> Scheme:
    """``Zeros`` for 0 (also for -0), ``Ones`` for 1, else ``Constant``."""
    return Zeros() if value == 0.0 else Ones() if value == 1.0 else Constant(value=value)


def owners(structure: Structure) -> tuple[Parameter, ...]:
    """The parameters that are tensors of their own; tied names follow them."""
    return tuple(parameter for parameter in structure.parameters if parameter.tied_to is None)


def roles_of(structure: Structure) -> Mapping[str, frozenset[Role]]:
    """By owner: every role that its tensor has under any of its names."""
    found: dict[str, set[Role]] = {}
    for parameter in structure.parameters:
        found.setdefault(parameter.tied_to or parameter.name, set()).add(parameter.role)
    return {name: frozenset(roles) for name, roles in found.items()}


def gain_after(parameter: Parameter, direction: Direction = "forward") -> tuple[float, str]:
    """The gain of what follows a map, and why in words; 1 before no activation, for heads and for recurrent maps.

    A recurrent map is applied again and again, which a gain above 1 would compound.
    """
    activation = parameter.activation or "linear"
    if parameter.role is Role.RECURRENT:
        return 1.0, "applied again and again, so gain 1"
    if parameter.role is Role.HEAD:
        return 1.0, "the output itself, so gain 1"
    if activation == "linear":
        return 1.0, "no activation follows, so gain 1"
    if activation_from_text(activation) is None:
        return 1.0, f"{activation} follows, which has no gain by itself, so gain 1"
    value = named_gain(activation, direction)
    return value, f"{activation} follows, of gain {value:.4g}"


@lru_cache(maxsize=64)
def named_gain(activation: str, direction: Direction) -> float:
    """The gain of a named activation by quadrature; exactly sqrt(2) where it is that to nine digits, as of ReLU."""
    known = activation_from_text(activation)
    value = 1.0 if known is None else gain(known.function, direction)
    return math.sqrt(2.0) if math.isclose(value, math.sqrt(2.0), rel_tol=1e-9) else value


def map_words(parameter: Parameter) -> str:
    """What a map is, for reasons: one, or several in one tensor."""
    count = parameter.layout.num_matrices
    return "a map" if count == 1 else f"{count} maps in one tensor"


def require_branches(structure: Structure, recipe: str) -> None:
    """Raise RecipeError where a structure has no residual branch."""
    if not structure.branches:
        raise RecipeError(
            f"Recipe '{recipe}' has nothing to do: {structure.model} has no residual branch.",
            context=["a residual branch is what is added to an identity or projection shortcut"],
            fix='recipe="he", which needs no branches',
        )


def named(names: Iterable[str], limit: int = 5) -> str:
    """The first names of several, in quotes."""
    listed = list(names)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(f"'{name}'" for name in listed[:limit]) + more


def require_distribution(distribution: str) -> None:
    """Raise UnknownNameError unless there is such a distribution."""
    if distribution not in get_args(Distribution):
        raise UnknownNameError.of("distribution", distribution, get_args(Distribution))
