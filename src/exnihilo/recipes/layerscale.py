"""Every residual branch behind one small number for each channel."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import branch_scales, gates_on, rest_kept, value_of
from exnihilo.recipes.records import Assignment
from exnihilo.schemes.scheme import require_positive
from exnihilo.structure.records import Branch, Structure

# By the number of layers of two branches each, as published.
_BY_DEPTH = ((18, 0.1), (24, 1e-5))
_DEEPER = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerScale:
    """Each residual branch is multiplied by one trained number a channel that starts small; the rest is kept.

    Rule:
        ``y = x + λ ∘ F(x)`` with ``λ`` 0.1 up to 18 layers, 1e-5 up to 24 and 1e-6 beyond, a layer being two branches.
        A branch that has a scale of its own gets it set; any other gets a gate.

    Promise:
        Every branch adds ``λ`` of what it would: close to nothing, and not exactly nothing, so that all parameters
        move at the first step.

    Fails when:
        A branch has no place for a gate: refused. In bfloat16 the first steps on 1e-6 may be lost in rounding.

    Args:
        value: What the gates start at. Default 0.0, which takes the published value of the depth.

    Raises:
        InvalidValueError: ``value`` is negative or not finite.
        RecipeError: There is no residual branch, or one has no place for a gate.

    Example:
        >>> LayerScale(value=1e-4).value
        0.0001

    References:
        Touvron, Cord, Sablayrolles, Synnaeve, Jégou (2021), Going Deeper with Image Transformers, section 2.
    """

    name: ClassVar[str] = "layerscale"
    value: float = 0.0

    def __post_init__(self) -> None:
        if self.value != 0.0:
            require_positive("layerscale", "value", self.value, 1e-5)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The starting value for the scales that branches have, keep for the rest."""
        own, _ = branch_scales(structure, self.name, self._law(structure))
        return rest_kept(structure, own)

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """One for each branch without a scale, with one number a channel."""
        law = self._law(structure)
        _, bare = branch_scales(structure, self.name, law)
        return gates_on(structure, self.name, bare, law, channels=True)

    def _law(self, structure: Structure) -> Callable[[Branch], Assignment]:
        layers = (len(structure.branches) + 1) // 2
        number = self.value or next((value for most, value in _BY_DEPTH if layers <= most), _DEEPER)

        def law(_branch: Branch) -> Assignment:
            return value_of(number, f"the scale of a residual branch, {number:g} for {layers} layers")

        return law
