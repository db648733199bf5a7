"""Zero gates: an adapter's attention that starts by adding nothing to its frozen trunk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.gating import rest_kept
from exnihilo.recipes.joining import joining
from exnihilo.recipes.laws import constant
from exnihilo.recipes.records import Assignment
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroGate:
    """The scales that gate what an adapter's attention adds to a frozen trunk are zero; the rest is kept.

    Rule:
        A trained scale is 0 (``-offset``; -1 where the model multiplies by ``1 + w``) where it multiplies what is
        added to what frozen parameters alone made: the output of the adapter's attention, its attention weights, or
        a whole gated branch; with or without an activation of value 0 at 0 between, such as tanh.

    Promise:
        The output is that of the trunk alone at the start. The gates move at the first step, the adapter's prompts
        and maps at the second.

    Fails when:
        The gate passes an activation that is not 0 at 0, such as a sigmoid: such scales are not found, and named ones
        close nothing. Or nothing is frozen when the plan is made: then the scales are to be named.

    Args:
        parameters: The scales by a name with wildcards, or by a role such as ``"role:SCALE"``. Default None: those
            that the structure shows.
        epsilon: The factor in place of 0, not negative. Default 0.0; a small number such as 1e-4 lets the adapter move
            at the first step.

    Raises:
        InvalidValueError: ``epsilon`` is negative or not finite.
        UnknownNameError: On ``assign``: the pattern means no parameter.
        RecipeError: On ``assign``: there is no such scale, or one receives no gradient.

    Example:
        >>> ZeroGate(parameters="layers.*.gate").epsilon
        0.0

    References:
        Zhang et al. (2023), LLaMA-Adapter: Efficient Fine-tuning of Language Models with Zero-init Attention,
        section 3.2.
        Alayrac et al. (2022), Flamingo: a Visual Language Model for Few-Shot Learning, section 2.2, for whole branches.
    """

    name: ClassVar[str] = "zero-gate"
    parameters: str | None = None
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("zero-gate", "epsilon", self.epsilon, 1e-4)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The closing value for the gates, keep for the rest."""
        gates = joining(structure, self.name, self.parameters, _is_scale, "scale")
        return rest_kept(structure, {gate.name: self._closed(gate) for gate in gates})

    def _closed(self, gate: Parameter) -> Assignment:
        scheme = constant(self.epsilon - gate.offset)
        return Assignment(scheme=scheme, reason="gates what a trained path adds to its trunk")


def _is_scale(parameter: Parameter) -> bool:
    return parameter.role in (Role.SCALE, Role.BRANCH_SCALE)
