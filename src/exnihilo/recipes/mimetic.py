"""Attention that starts as trained attention looks."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.gating import rest_kept
from exnihilo.recipes.laws import named, runs_of
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Mimetic, Zeros
from exnihilo.schemes.mimetic import Part
from exnihilo.structure.records import Attention, Parameter, Role, Structure

# In the order in which a packed scheme numbers its parts.
_ROLES = (Role.QUERY, Role.KEY, Role.VALUE)
_MAPS: tuple[Part, ...] = ("query", "key", "value")


@dataclass(frozen=True, slots=True, kw_only=True)
class MimeticAttention:
    """Queries and keys multiply to nearly the identity, values and outputs to nearly its negative; the rest is kept.

    Rule:
        With ``d`` the width and ``Z`` of entries of variance ``1 / d``, other numbers for each: ``score_alpha Z +
        score_beta I`` is cut to the rank of a head and dealt to its query and key, by the singular value decomposition;
        ``value_alpha Z - value_beta I`` to values and outputs. Biases of those maps are zero.

    Promise:
        Those products: of each head's query and key the nearest of its rank, of outputs and values the matrix itself
        where there are as many values as the stream is wide.

    Fails when:
        Heads take turns unit by unit in a query (here each has units side by side), or positions turn queries and keys:
        the product is then that of position 0 alone. Attention to another stream gets the same law, for which the paper
        has no reason. The width is large: each head of each attention takes a decomposition of ``d x d``, which for 12
        heads of a width of 768 are seconds.

    Args:
        score_alpha: How much of ``Z`` queries and keys multiply to, finite. Default 0.7, the paper's.
        score_beta: How much of the identity they do, finite. Default 0.7, the paper's.
        value_alpha: How much of ``Z`` outputs and values multiply to, finite. Default 0.4, the paper's.
        value_beta: How much of the identity they take away, finite. Default 0.4, the paper's.

    Raises:
        InvalidValueError: A number is not finite.
        RecipeError: On ``assign``: there is no attention; heads share keys; or one's maps are not one each of query,
            key, value and output, from one width and back to it, trained and of its own.

    Example:
        >>> MimeticAttention().value_beta
        0.4

    References:
        Trockman, Kolter (2023), Mimetic Initialization of Self-Attention Layers.

    Differs:
        The paper makes position embeddings sinusoidal; here they are kept, as all but attention is.
    """

    name: ClassVar[str] = "mimetic"
    score_alpha: float = 0.7
    score_beta: float = 0.7
    value_alpha: float = 0.4
    value_beta: float = 0.4

    def __post_init__(self) -> None:
        self._law()  # refuses numbers that are not finite

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The four maps of each attention, zeros for their biases, and keep for the rest."""
        if not structure.attentions:
            raise RecipeError(
                f"Recipe 'mimetic' has nothing to do: {structure.model} has no attention.",
                fix='recipe="xavier", which needs none',
            )
        assigned: dict[str, Assignment] = {}
        counts: Counter[tuple[str, ...]] = Counter()
        for attention in dict.fromkeys(structure.attentions):
            maps = _maps(structure, attention)
            common = _in_common(maps)
            nth = counts[common]
            counts[common] += 1
            for name, own in maps.items():
                if name in assigned:
                    raise _refused(structure, f"'{name}' belongs to two of them")
                shared = (name.count(".") + 1) - len(common)
                scheme = replace(self._law(), part=own.part, head=own.head, runs=own.runs, shared=shared, nth=nth)
                assigned[name] = Assignment(scheme=scheme, reason=_reason(own))
        zero = Assignment(scheme=Zeros(), reason="adds nothing to the products of an attention")
        biases = {p.name: zero for p in structure.with_role(Role.BIAS) if p.follows in assigned and not p.frozen}
        return rest_kept(structure, {**biases, **assigned})

    def _law(self) -> Mimetic:
        return Mimetic(
            score_alpha=self.score_alpha,
            score_beta=self.score_beta,
            value_alpha=self.value_alpha,
            value_beta=self.value_beta,
        )


def _maps(structure: Structure, attention: Attention) -> dict[str, Mimetic]:
    """By name: which map of an attention each parameter is.

    Raises:
        RecipeError: The attention is no product of one map each, from one width and back to it.
    """
    parts = {"query": attention.query, "key": attention.key, "value": attention.value, "out": attention.out}
    for part, names in parts.items():
        if len(names) != 1:
            raise _refused(structure, f"{len(names)} maps make its {part}", names)
    query, key, value, out = (structure.by_name[name] for (name,) in parts.values())
    tied = {parameter.tied_to for parameter in structure.parameters}
    for parameter in (query, key, value, out):
        why = "is tied to another tensor" if parameter.name in tied else _why_not(parameter)
        if why is not None:
            raise _refused(structure, f"'{parameter.name}' {why}")
    _require_products(structure, query, key, value, out)
    head, units = attention.head_width, _units(query, Role.QUERY)
    if head < 1 or units % head:
        raise _refused(structure, f"each score sums up {head} products, which deal out no {units} units of queries")
    maps: dict[str, Mimetic] = {out.name: Mimetic(part="out")}
    for part, parameter in zip(_MAPS, (query, key, value), strict=True):
        runs = _runs(structure, parameter)
        maps[parameter.name] = Mimetic(part="packed" if runs else part, head=head, runs=runs)
    return maps


def _why_not(parameter: Parameter) -> str | None:
    """Why a parameter cannot be a factor, in words that follow its name."""
    layout = parameter.layout
    if parameter.tied_to is not None or parameter.frozen:
        return "is tied to another tensor" if parameter.tied_to is not None else "is frozen"
    if parameter.computed or layout.groups > 1 or layout.receptive_field > 1 or len(layout.out_dims) > 1:
        return "is no plain matrix"
    return None


def _require_products(structure: Structure, query: Parameter, key: Parameter, value: Parameter, out: Parameter) -> None:
    """Raise RecipeError unless queries meet keys one to one, values meet outputs, and all are of one width."""
    queries, keys, values = (_units(p, role) for p, role in zip((query, key, value), _ROLES, strict=True))
    if queries != keys:
        raise _refused(structure, f"{queries} units of queries share {keys} of keys, of '{key.name}'")
    if values != out.layout.in_units:
        raise _refused(structure, f"'{out.name}' takes {out.layout.in_units} units, and there are {values} of values")
    widths = {query.layout.in_units, key.layout.in_units, value.layout.in_units, out.layout.out_units}
    if len(widths) > 1 or max(values, 1) > max(widths):
        sizes = ", ".join(str(width) for width in sorted(widths))
        raise _refused(structure, f"its maps are of widths {sizes} with {values} values, which have no common identity")


def _units(parameter: Parameter, role: Role) -> int:
    """Units of a map, also where it shares its tensor."""
    own = [end - first for part in parameter.slices if part.role is role for first, end in part.ranges]
    return sum(own) if len(parameter.slices) > 1 else parameter.layout.num_matrices * parameter.layout.out_units


def _runs(structure: Structure, parameter: Parameter) -> tuple[float, ...]:
    """Of a packed tensor: part and length in turn, by number of ``_ROLES``; empty for one map.

    Raises:
        RecipeError: The tensor holds something else too.
    """
    if len(parameter.slices) < 2:
        return ()
    runs = runs_of(replace(parameter, layout=replace(parameter.layout, stacked=1)))
    roles = [parameter.slices[part].role for part in runs[::2]]
    if not runs or not set(roles) <= set(_ROLES):
        raise _refused(structure, f"'{parameter.name}' holds more than queries, keys and values")
    return tuple(float(n) for role, length in zip(roles, runs[1::2], strict=True) for n in (_ROLES.index(role), length))


def _in_common(names: Iterable[str]) -> tuple[str, ...]:
    """The parts that several names begin with."""
    columns = zip(*(name.split(".") for name in names), strict=False)
    return tuple(column[0] for column in takewhile(lambda column: len(set(column)) == 1, columns))


def _reason(scheme: Mimetic) -> str:
    whose = {"query": "keys", "key": "queries", "value": "outputs", "out": "values"}
    if scheme.part == "packed":
        return "several maps in one tensor: factors of the products of an attention"
    return f"a factor of the product with its {whose[scheme.part]}"


def _refused(structure: Structure, fact: str, names: Iterable[str] = ()) -> RecipeError:
    listed = named(names)
    return RecipeError(
        f"Recipe 'mimetic' needs one map each of query, key, value and output, and in an attention of"
        f" {structure.model} {fact}.",
        context=[f"found: {listed}"] if listed else [],
        fix='recipe="xavier", which needs no products',
    )
