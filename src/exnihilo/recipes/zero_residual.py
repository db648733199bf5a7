"""Every residual branch closed: blocks start as their shortcuts."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import constant, keep, named, owners, require_branches, roles_of
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import why_not_zero_behind
from exnihilo.schemes import Normal, Scheme
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Branch, Parameter, Role, Structure

# What the tensor of a branch's end may be under another name: zeros there would erase that too.
_ERASED = {Role.EMBEDDING, Role.POSITION, Role.STEM, Role.HEAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroResidual:
    """The value that makes the output of each residual branch zero; the rest is kept.

    Rule:
        - The last affine operation of the branch is a linear map: its weight and bias are 0.
        - It is a norm or a scale: its factor is 0 (``-offset``; -1 where the model multiplies by ``1 + w``), its
          shift 0. The map before it is kept: with two zeros in one product neither would ever receive a gradient.
        - The branch is gated by a map of a condition (adaLN): that map and its bias are 0, and the branch is kept.
        - The branch is left as it is, and the plan says why, where zeros would not close it (it ends in an activation
          of ``f(0) != 0``, or in something without parameters), would never open again (``f'(0) = 0``, as of ReLU;
          frozen; the same tensor once more inside, before an activation), or would erase what the same tensor does
          elsewhere.

    Promise:
        Each closed block is its shortcut at the start, so that the network is as shallow as it can be and signal and
        gradient pass any depth. The outputs move at the first step, the rest of each branch at the second.

    Fails when:
        Weight decay pulls the scales of norms back to zero faster than the loss opens them.

    Args:
        epsilon: Standard deviation of the last maps in place of zero, and the value of the scales. Default 0.0; a small
            number such as 1e-6 lets everything move at the first step.

    Raises:
        InvalidValueError: ``epsilon`` is negative or not finite.
        RecipeError: On ``assign``: there is no residual branch, or none can be closed.

    Example:
        >>> ZeroResidual().name
        'zero-residual'

    References:
        Goyal et al. (2017), Accurate, Large Minibatch SGD, section 5.1: the last norm's scale is 0.
        Zhang, Dauphin, Ma (2019), Fixup Initialization, section 3: the last map of each branch is 0.
        Peebles, Xie (2023), Scalable Diffusion Models with Transformers, section 3.2: adaLN-Zero.
    """

    name: ClassVar[str] = "zero-residual"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("zero-residual", "epsilon", self.epsilon, 1e-6)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The closing value for the outputs of each branch, keep for the rest."""
        require_branches(structure, self.name)
        lookup = _Lookup.of(structure)
        closing: dict[str, Assignment] = {}
        left: dict[str, str] = {}
        for branch in structure.branches:
            gates = lookup.gates(branch)
            names = lookup.owners_of(gates or (*branch.outputs, *branch.output_biases))
            why = lookup.why_left(branch, names, is_gated=bool(gates))
            if why is not None:
                left |= dict.fromkeys(lookup.owners_of(branch.outputs or branch.maps), f"its branch stays open: {why}")
                continue
            reason = "makes the gate of a residual branch, closed at 0" if gates else "closes a residual branch"
            closing |= {name: Assignment(scheme=lookup.closed(name, self.epsilon), reason=reason) for name in names}
            if gates:
                left |= dict.fromkeys(
                    lookup.owners_of(branch.outputs), "the gate of its branch is zero; one zero is enough"
                )
        if not closing:
            _refuse(structure, left)
        rest = {parameter.name: keep("not at the end of a branch") for parameter in owners(structure)}
        return {**rest, **{name: keep(why) for name, why in left.items()}, **closing}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lookup:
    """A structure by what its branches ask of it."""

    by_name: Mapping[str, Parameter]
    roles: Mapping[str, frozenset[Role]]
    biases: Mapping[str, tuple[str, ...]]  # of each weight
    inside: Mapping[str, frozenset[int]]  # of each tensor, the branches that hold it elsewhere than at their end
    above: Mapping[int, frozenset[int]]  # of each branch, those that it lies in

    @classmethod
    def of(cls, structure: Structure) -> "_Lookup":
        by_name = structure.by_name
        biases: dict[str, tuple[str, ...]] = {}
        for parameter in structure.with_role(Role.BIAS):
            if parameter.follows is not None:
                biases[parameter.follows] = (*biases.get(parameter.follows, ()), parameter.name)
        inside: dict[str, set[int]] = {}
        for branch in structure.branches:
            for name in set(branch.members) - {*branch.outputs, *branch.output_biases}:
                inside.setdefault(by_name[name].tied_to or name, set()).add(branch.index)
        parents = {branch.index: branch.parent for branch in structure.branches}
        return cls(
            by_name=by_name,
            roles=roles_of(structure),
            biases=biases,
            inside={name: frozenset(found) for name, found in inside.items()},
            above={index: _ancestors(index, parents) for index in parents},
        )

    def owners_of(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(self.by_name[name].tied_to or name for name in names)

    def gates(self, branch: Branch) -> tuple[str, ...]:
        """Weights and biases of the maps that make the branch's gate, where zeros there are a gate of zero."""
        if any(why_not_zero_behind(self.by_name[name].activation) for name in branch.modulated_by):
            return ()
        return tuple(name for weight in branch.modulated_by for name in (weight, *self.biases.get(weight, ())))

    def closed(self, name: str, epsilon: float) -> Scheme:
        """The values that make the product with a parameter zero, or small."""
        parameter = self.by_name[name]
        if epsilon and parameter.layout.in_dims:
            return Normal(std=epsilon)
        is_scale = parameter.role in {Role.NORM_SCALE, Role.BRANCH_SCALE, Role.SCALE}
        return constant(epsilon * is_scale - parameter.offset)

    def why_left(self, branch: Branch, names: tuple[str, ...], *, is_gated: bool) -> str | None:
        """Why zeros in these parameters do not close the branch, or not only that; None where they do just that."""
        why = None if is_gated else why_not_zero_behind(branch.ends_in)
        if why:
            return f"it {why}"
        if not names:
            return "it ends in something that no zero of a parameter makes zero"
        return next(filter(None, (self._why_not(branch, name) for name in names)), None)

    def _why_not(self, branch: Branch, name: str) -> str | None:
        parameter = self.by_name[name]
        if parameter.frozen or parameter.detached:
            return "no gradient would ever open it"
        if parameter.computed:
            return "its last weight is normalized or computed, and zeros in it would be divided by their own length"
        others = {part.role for part in parameter.slices} - {parameter.role}
        if len(self.roles[name]) > 1:
            others |= self.roles[name] & _ERASED
        if others:
            return f"its last tensor is {', '.join(sorted(others))} too, which zeros would erase"
        if self.inside.get(name, frozenset()) - self.above[branch.index] - {branch.index}:
            return "another branch uses its last tensor inside, which zeros would erase"
        if name in self.owners_of(branch.maps) and parameter.activation not in (None, "linear", branch.ends_in):
            # No such activation stands behind the branch's end: it stands behind another use of the tensor.
            return f"its last tensor is used before {parameter.activation} too: zeros there and here would never open"
        return None


def _ancestors(index: int, parents: Mapping[int, int | None]) -> frozenset[int]:
    found: set[int] = set()
    parent = parents[index]
    while parent is not None and parent not in found:
        found.add(parent)
        parent = parents[parent]
    return frozenset(found)


def _refuse(structure: Structure, left: Mapping[str, str]) -> None:
    names: dict[str, list[str]] = {}
    for name, why in left.items():
        names.setdefault(why, []).append(name)
    raise RecipeError(
        f"Recipe 'zero-residual' closes none of the {len(structure.branches)} residual branches of {structure.model}.",
        context=[f"{named(found, 2)}: {why}" for why, found in names.items()] or ["no branch has a parameter"],
        fix='recipe="he", or put a map without an activation at the end of each branch',
    )
