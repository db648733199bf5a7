"""Every residual branch behind a single number that starts at zero."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import branch_scales, gates_on, rest_kept, value_of
from exnihilo.recipes.records import Assignment
from exnihilo.schemes.scheme import require_finite
from exnihilo.structure.records import Branch, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ReZero:
    """Each residual branch is multiplied by one trained number that starts at zero; the rest is kept.

    Rule:
        ``y = x + α F(x)`` with ``α = 0``. A branch that has a scale of its own, such as a LayerScale, gets it set to
        zero; any other gets a gate: ``apply`` adds it to the module that ends the branch, be it an activation.

    Promise:
        Every residual branch adds exactly nothing: its output is its shortcut, bit for bit. The gates open at step 1,
        what they gate at step 2.

    Fails when:
        Neither the module of a branch's last weight nor any other gives out what the branch adds, and that alone:
        refused. The last map or its norm's scale is zero too: then neither ever moves, and the plan is refused. Weight
        decay pulls gates back to zero, so they are marked not to decay.

    Args:
        epsilon: What gates start at. Default 0.0, as published; a small number such as 1e-4 lets everything move at
            the first step.

    Raises:
        InvalidValueError: ``epsilon`` is not finite.
        RecipeError: There is no residual branch, or one has no place for a gate.

    Example:
        >>> ReZero().epsilon
        0.0

    References:
        Bachlechner, Majumder, Mao, Cottrell, McAuley (2020), ReZero is All You Need, section 3.

    Differs:
        The authors' transformer has one number for both branches of a layer, and no norms: here each branch has its
        own, and norms stay where they are.
    """

    name: ClassVar[str] = "rezero"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_finite("rezero", "epsilon", self.epsilon, 0.0)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The starting value for the scales that branches have, keep for the rest."""
        own, _ = branch_scales(structure, self.name, self._value)
        return rest_kept(structure, own)

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """One for each branch without a scale."""
        _, bare = branch_scales(structure, self.name, self._value)
        return gates_on(structure, self.name, bare, self._value, channels=False)

    def _value(self, _branch: Branch) -> Assignment:
        return value_of(self.epsilon, "the gate of a residual branch")
