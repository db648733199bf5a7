"""Deep residual networks without normalization."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from exnihilo.errors import UnknownNameError
from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import gates_on, value_of
from exnihilo.recipes.he import He
from exnihilo.recipes.laws import require_branches
from exnihilo.recipes.layers import require_no_norms
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import nearly_zero
from exnihilo.schemes import Scheme, Zeros, scaled
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.names import module_of
from exnihilo.structure.records import Branch, Parameter, Role, Structure

Mode = Literal["fan_in", "fan_out"]
# The authors' code trains the added numbers at a tenth of the rate.
_RATE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixup:
    """Zero heads and branch ends, branches scaled by depth, and single numbers in place of norms.

    Rule:
        With ``L`` residual branches and ``m`` maps on a branch: the head and the last map of each branch are zero; the
        branch's other maps are He's times ``L ** (-1 / (2m - 2))``; all other maps are He's. Each branch gets a number
        that multiplies it, 1; each of its maps one that is added to its input, 0; and one is added behind each map
        that has no bias, 0. These numbers learn at a tenth of the rate, and do not decay.

    Promise:
        Each branch adds exactly nothing at the start; the update of the whole by one step of SGD does not grow with the
        depth.

    Fails when:
        The model has norms: they would undo the scaling, and it is refused. Regularization by norms is missed: the
        authors add mixup.

    Args:
        mode: Whose fan He's law divides by. Default ``"fan_out"``, as the authors' code has it.
        epsilon: Standard deviation of the heads and of the ends of branches. Default 0.0, as published.

    Raises:
        UnknownNameError: There is no such ``mode``.
        InvalidValueError: ``epsilon`` is negative or not finite.
        RecipeError: There is no residual branch, the model has norms, or a branch has no place for its numbers.

    Example:
        >>> Fixup().mode
        'fan_out'

    References:
        Zhang, Dauphin, Ma (2019), Fixup Initialization: Residual Learning Without Normalization, section 3.

    Differs:
        A map that has a bias of its own gets no number behind it: the bias can do what that number does.
    """

    name: ClassVar[str] = "fixup"
    mode: Mode = "fan_out"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("fixup", "epsilon", self.epsilon, 1e-3)
        if self.mode not in get_args(Mode):
            raise UnknownNameError.of("mode", self.mode, get_args(Mode))

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """He's law, scaled on branches, and zeros."""
        require_branches(structure, self.name)
        require_no_norms(structure, self.name)
        by_name = structure.by_name
        assigned = dict(He(mode=self.mode).assign(structure))
        depth = len(structure.branches)
        for branch in structure.branches:
            maps = _maps(structure, branch)
            for name in maps:
                owner = by_name[name].tied_to or name
                given = assigned[owner]
                if given.scheme is None:
                    continue
                assigned[owner] = self._closed() if name in branch.maps else _shrunk(given, depth, len(maps))
        for parameter in structure.parameters:
            if parameter.role is Role.HEAD and assigned[parameter.tied_to or parameter.name].scheme is not None:
                reason = f"the head starts at {'nearly ' if self.epsilon else ''}zero"
                assigned[parameter.tied_to or parameter.name] = Assignment(
                    scheme=nearly_zero(self.epsilon), reason=reason
                )
        return assigned

    def _closed(self) -> Assignment:
        nearly = "nearly " if self.epsilon else ""
        return Assignment(scheme=nearly_zero(self.epsilon), reason=f"{nearly}closes a residual branch")

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """The numbers of each branch."""
        branches = list(structure.branches)
        made: dict[Gate, Assignment] = {}
        biased = {parameter.follows for parameter in structure.with_role(Role.BIAS)}
        for branch in branches:
            for name in _maps(structure, branch):
                before = Gate(module=module_of(name), parameter=name, kind="shift_in")
                made[before] = value_of(0.0, "added to what a map of a branch is given", rate=_RATE)
                if name not in biased:
                    behind = replace(before, kind="shift_out")
                    made[behind] = value_of(0.0, "added to what a map of a branch gives out", rate=_RATE)
        scales = gates_on(
            structure, self.name, branches, lambda _: value_of(1.0, "multiplies a branch", rate=_RATE), channels=False
        )
        # A factor acts before what is added behind it, so it is attached first.
        return {**scales, **made}


def _maps(structure: Structure, branch: Branch) -> list[str]:
    """The maps of a branch and of no branch inside it, in the order of the model."""
    inner = {name for other in structure.branches if other.parent == branch.index for name in other.members}
    return [n for n in branch.members if _is_map(structure.by_name[n]) and (n not in inner or n in branch.maps)]


def _is_map(parameter: Parameter) -> bool:
    return bool(parameter.layout.in_dims) and parameter.role not in {Role.EMBEDDING, Role.POSITION}


def _shrunk(given: Assignment, depth: int, maps: int) -> Assignment:
    if maps < 2:
        return given
    factor = depth ** (-1.0 / (2 * maps - 2))
    scheme: Scheme = scaled(given.scheme, factor) if given.scheme is not None else Zeros()
    return Assignment(scheme=scheme, reason=f"one of {maps} maps on a branch: He times {depth} ** (-1/{2 * maps - 2})")
