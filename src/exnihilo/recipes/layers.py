"""The layers of a transformer: which branches belong together, and whether they encode or decode."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import named, require_branches
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Weighted, scaled
from exnihilo.structure.records import Attention, Branch, Role, Structure

# What keeps its law at any depth: what makes the scores, and of a gated map the factor that passes an activation.
_UNSCALED = frozenset({Role.QUERY, Role.KEY, Role.GATE})
_NORMS = frozenset({Role.NORM_SCALE, Role.NORM_SHIFT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Layers:
    """A transformer's layers.

    Args:
        encoder: Layers of one attention, each with its branches; those of a decoder alone are here too.
        decoder: Layers of two attentions, of which the second looks at an encoder.
    """

    encoder: tuple[tuple[Branch, ...], ...]
    decoder: tuple[tuple[Branch, ...], ...] = ()


def layers_of(structure: Structure, recipe: str) -> Layers:
    """The layers of a transformer, in the order of execution: each starts at an attention behind something else.

    A feed-forward branch before the first attention is of the first layer; a backbone of convolutions is of none.

    Raises:
        RecipeError: There is no attention on a residual branch.
    """
    require_branches(structure, recipe)
    top = [branch for branch in structure.branches if branch.parent is None]
    attends = [_attends(branch, structure.attentions) for branch in top]
    if not any(attends):
        raise RecipeError(
            f"Recipe '{recipe}' is for transformers: no residual branch of {structure.model} holds an attention.",
            fix='recipe="he", or recipe="zero-residual"',
        )
    first = attends.index(True)
    begin = max((place + 1 for place in range(first) if _convolves(structure, top[place])), default=0)
    # Where every branch holds an attention, each is a layer: the feed-forward maps lie beside it.
    later = [i for i in range(first + 1, len(top)) if attends[i] and (all(attends) or not attends[i - 1])]
    layers = [top[start:end] for start, end in pairwise([begin, *later, len(top)])]
    counted = [(tuple(layer), sum(_attends(b, structure.attentions) for b in layer)) for layer in layers]
    crossed = tuple(layer for layer, attentions in counted if attentions > 1)
    plain = tuple(layer for layer, attentions in counted if attentions <= 1)
    return Layers(encoder=plain or crossed, decoder=crossed if plain else ())


def _attends(branch: Branch, attentions: Sequence[Attention]) -> bool:
    maps = {name for attention in attentions for name in attention.out}
    return not maps.isdisjoint(branch.members)


def _convolves(structure: Structure, branch: Branch) -> bool:
    return any(structure.by_name[name].layout.receptive_field > 1 for name in branch.members)


def require_post_norm(structure: Structure, recipe: str) -> None:
    """Raise RecipeError where a norm stands elsewhere than behind the sum of a branch and its shortcut."""
    others = [branch for branch in structure.branches if branch.norm != "post"]
    if others:
        raise RecipeError(
            f"Recipe '{recipe}' is for norms behind the sums: {len(others)} of {len(structure.branches)} residual"
            f" branches of {structure.model} have none there.",
            context=[f"{named((b.name for b in others), 3)}: its norm stands {_words(others[0])}"],
            fix='recipe="zero-residual" or recipe="depth-scaled", which suit norms in front',
        )


def require_no_norms(structure: Structure, recipe: str) -> None:
    """Raise RecipeError where a model has norms."""
    norms = [p.name for p in structure.parameters if p.role in _NORMS and p.used]
    if norms:
        raise RecipeError(
            f"Recipe '{recipe}' is for networks without norms; {structure.model} has {len(norms)} parameters of norms.",
            context=[f"{named(norms, 3)}: a norm undoes the scaling of what is in front of it"],
            fix='recipe="zero-residual", or take the norms out: setattr(parent, name, nn.Identity())',
        )


def _words(branch: Branch) -> str:
    places = {"pre": "first on the branch", "sandwich": "first and last on the branch", "inner": "inside the branch"}
    return places.get(branch.norm, "nowhere")


def attention_maps(structure: Structure) -> frozenset[str]:
    """The owners of values and outputs of attentions, which are scaled where queries and keys are not."""
    by_name = structure.by_name
    found = {name for attention in structure.attentions for name in (*attention.value, *attention.out)}
    return frozenset(by_name[name].tied_to or name for name in found)


def maps_on(structure: Structure, layer: Sequence[Branch]) -> list[str]:
    """The maps of a layer that are scaled with its depth: feed-forward maps, values and outputs of attention.

    Queries, keys and gates are not among them, unless they share their tensor with what is.
    """
    by_name = structure.by_name
    shared = attention_maps(structure) | {gated.up for gated in structure.gated_maps}
    unscaled = {n for a in structure.attentions for n in (*a.query, *a.key)} | {g.gate for g in structure.gated_maps}
    # What a decoder makes of the encoder's output, such as its values, lies on no branch.
    made = [n for branch in layer for a in structure.attentions if _attends(branch, [a]) for n in a.value]
    members = dict.fromkeys([*(name for branch in layer for name in branch.members), *made])
    owners = dict.fromkeys(by_name[name].tied_to or name for name in members if name not in unscaled - shared)
    return [name for name in owners if by_name[name].layout.in_dims and by_name[name].role is not Role.EMBEDDING]


def _period(runs: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The shortest list that gives the runs when it is repeated: an expert of a bank has the runs of all the others.

    Example:
        >>> _period([(1.0, 8.0), (0.5, 8.0), (1.0, 8.0), (0.5, 8.0)])
        [(1.0, 8.0), (0.5, 8.0)]
    """
    sizes = (size for size in range(1, len(runs)) if len(runs) % size == 0)
    return next((runs[:size] for size in sizes if runs[:size] * (len(runs) // size) == runs), runs)


def scaled_in(structure: Structure, name: str, given: Assignment, factor: float, why: str) -> Assignment:
    """An assignment times a factor; of a packed tensor, only where it is no query, no key and no gate."""
    if given.scheme is None:
        return given
    parameter = structure.by_name[name]
    spans = sorted((first, end, part.role) for part in parameter.slices for first, end in part.ranges)
    roles = [role for *_, role in spans]
    if not set(roles) & _UNSCALED:
        return Assignment(scheme=scaled(given.scheme, factor), reason=f"{given.reason}; times {factor:.4g} {why}")
    runs = _period([(1.0 if role in _UNSCALED else factor, float(end - first)) for first, end, role in spans])
    factors, lengths = zip(*runs, strict=True)
    scheme = Weighted(base=given.scheme, factors=factors, lengths=lengths)
    parts = ", ".join(sorted({role.lower() for role in roles if role not in _UNSCALED}))
    return Assignment(scheme=scheme, reason=f"{given.reason}; {parts} times {factor:.4g} {why}")
