"""Gates at zero in place of normalization, and He's law for the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import branch_scales, gates_on, value_of
from exnihilo.recipes.he import He
from exnihilo.recipes.records import Assignment
from exnihilo.schemes.scheme import require_finite
from exnihilo.structure.records import Branch, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class SkipInit:
    """Each residual branch is multiplied by one trained number that starts at zero; everything else gets He's law.

    Rule:
        ``y = x + α F(x)`` with ``α = 0`` (``epsilon``); maps by ``he``, biases zero, norms neutral. A branch that has a
        scale of its own gets it set; any other gets a gate.

    Promise:
        Every residual branch adds exactly nothing at the start, whatever the depth, without a norm.

    Fails when:
        A branch has no place for a gate: refused. Without norms a network needs other regularization to match one that
        has them.

    Args:
        epsilon: What gates start at. Default 0.0; the authors find up to one over the root of the number of branches
            to work as well.

    Raises:
        InvalidValueError: ``epsilon`` is not finite.
        RecipeError: There is no residual branch, or one has no place for a gate.

    Example:
        >>> SkipInit().name
        'skipinit'

    References:
        De, Smith (2020), Batch Normalization Biases Residual Blocks Towards the Identity Function in Deep Networks,
        section 4.
    """

    name: ClassVar[str] = "skipinit"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_finite("skipinit", "epsilon", self.epsilon, 0.0)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """He's law, and the starting value for the scales that branches have."""
        own, _ = branch_scales(structure, self.name, self._value)
        return {**He().assign(structure), **own}

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """One for each branch without a scale."""
        _, bare = branch_scales(structure, self.name, self._value)
        return gates_on(structure, self.name, bare, self._value, channels=False)

    def _value(self, _branch: Branch) -> Assignment:
        return value_of(self.epsilon, "the gate of a residual branch")
