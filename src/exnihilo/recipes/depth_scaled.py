"""The last map of each residual branch, smaller the more branches there are."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from exnihilo.errors import RecipeError, UnknownNameError
from exnihilo.recipes.laws import FROZEN, keep, owners, require_branches
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Scheme, lecun_normal, scaled
from exnihilo.schemes.spec import to_text
from exnihilo.structure.records import Attention, Branch, Role, Structure

Per = Literal["total", "layer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DepthScaled:
    """The last map of each residual branch gets its base law divided by the square root of the depth; the rest is kept.

    Rule:
        ``per="total"``: ``base / sqrt(N)`` with ``N`` the number of branches beside it, which is ``2L`` for a
        transformer of ``L`` layers. ``per="layer"``: ``base / sqrt(n)`` with ``n`` the number of branches up to the
        end of its layer, which is ``2(i + 1)`` for layer ``i``; a layer runs from one attention to the next, and is a
        single branch where there is no attention.

    Promise:
        The standard deviation of those maps is that of ``base`` divided by that root: the sum of all branches has the
        mean square of one (of the last layer's, per layer: a logarithm of it).

    Fails when:
        A norm stands behind the map: it takes the factor out again. Such maps are kept and the plan says so; where all
        are such, the recipe is refused.

    Args:
        base: The law before the division. Default ``lecun_normal``: ``1 / fan_in``, as no activation follows.
        per: ``"total"`` or ``"layer"``. Default ``"total"``, that of GPT-2.

    Raises:
        UnknownNameError: There is no such ``per``.
        RecipeError: On ``assign``: there is no residual branch, or no map on one whose scale could matter.

    Example:
        >>> DepthScaled(per="layer").name
        'depth-scaled'

    References:
        Radford et al. (2019), Language Models are Unsupervised Multitask Learners, section 2.3.
        Zhang, Titov, Sennrich (2019), Improving Deep Transformer with Depth-Scaled Initialization, section 4, for each
        layer's own depth.
    """

    name: ClassVar[str] = "depth-scaled"
    base: Scheme = field(default_factory=lecun_normal)
    per: Per = "total"

    def __post_init__(self) -> None:
        if self.per not in get_args(Per):
            raise UnknownNameError.of("per", self.per, get_args(Per))
        scaled(self.base, 0.5)  # refuses a base that no factor can be put into, before there is a model

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The divided law for the last maps of branches, keep for the rest."""
        require_branches(structure, self.name)
        depths = depths_of(structure, self.per)
        by_name = structure.by_name
        assigned = {parameter.name: keep("not the last map of a branch") for parameter in owners(structure)}
        num_scaled = 0
        # From the last to the first, so that a map that several branches share keeps the depth of the first.
        for branch in reversed(structure.branches):
            for name in branch.maps:
                owner = by_name[by_name[name].tied_to or name]
                assigned[owner.name] = self._of_map(depths[branch.index])
                if ends_in_norm(structure, branch):
                    assigned[owner.name] = keep("a norm behind it would take a factor out again")
                elif owner.computed:
                    assigned[owner.name] = keep(
                        "its weight is normalized or computed, which may take a factor out again"
                    )
                elif owner.frozen:
                    assigned[owner.name] = keep(FROZEN)
                else:
                    num_scaled += 1
        if num_scaled == 0:
            raise RecipeError(
                f"Recipe 'depth-scaled' has nothing to do: no branch of {structure.model} ends in a map whose scale "
                "matters.",
                context=["a norm behind the last map takes a factor out again, and frozen maps are kept"],
                fix='recipe="zero-residual", which sets the norm instead',
            )
        return assigned

    def _of_map(self, depth: int) -> Assignment:
        reason = f"ends a residual branch: {to_text(self.base)} / √{depth}"
        return Assignment(scheme=scaled(self.base, 1.0 / math.sqrt(depth)), reason=reason)


def ends_in_norm(structure: Structure, branch: Branch) -> bool:
    """A norm stands behind the last map of the branch."""
    by_name = structure.by_name
    behind = [by_name[name].role for name in branch.outputs if name not in branch.maps]
    return branch.norm == "sandwich" or Role.NORM_SCALE in behind


def depths_of(structure: Structure, per: Per) -> Mapping[int, int]:
    """By index of each branch: how many branches beside it (of the same parent) there are, or up to its layer's end."""
    depths: dict[int, int] = {}
    for parent in {branch.parent for branch in structure.branches}:
        beside = [branch for branch in structure.branches if branch.parent == parent]
        ends = _layer_ends(beside, structure.attentions) if per == "layer" else [len(beside)] * len(beside)
        depths |= {branch.index: end for branch, end in zip(beside, ends, strict=True)}
    return depths


def _layer_ends(beside: Sequence[Branch], attentions: Sequence[Attention]) -> list[int]:
    """For each branch, how many there are up to the end of its layer."""
    maps = {name for attention in attentions for name in attention.out}
    attends = [not maps.isdisjoint(branch.members) for branch in beside]
    one_each = all(attends) or not any(attends)
    # A layer starts at an attention behind something else: cross-attention stays with the self-attention before it.
    starts = [i for i in range(len(beside)) if i == 0 or one_each or (attends[i] and not attends[i - 1])]
    ends = [*starts[1:], len(beside)]
    return [end for start, end in zip(starts, ends, strict=True) for _ in range(start, end)]
