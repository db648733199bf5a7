"""Conditioned transformers whose blocks start as the identity."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import xavier_of_gain_1
from exnihilo.recipes.zero import nearly_zero
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaLNZero:
    """Modulations and the head start at zero, all other maps are Xavier's.

    Rule:
        Weights and biases of maps that make scales, shifts and gates from a condition are zero, and so is the head;
        other maps are Xavier's of gain 1, embeddings normal with standard deviation 0.02, biases zero.

    Promise:
        Every gated branch adds exactly nothing, and the output is zero. The head opens at step 1, modulations at step
        2, what they gate at step 3.

    Fails when:
        The model has no modulation: refused.

    Args:
        epsilon: Standard deviation of the modulations and the head. Default 0.0, as published.

    Raises:
        InvalidValueError: ``epsilon`` is negative or not finite.
        RecipeError: On ``assign``: there is no modulation.

    Example:
        >>> AdaLNZero().epsilon
        0.0

    References:
        Peebles, Xie (2023), Scalable Diffusion Models with Transformers, section 3.2.
    """

    name: ClassVar[str] = "adaln-zero"
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("adaln-zero", "epsilon", self.epsilon, 1e-3)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Xavier's law, and zeros."""
        modulations = {p.name for p in structure.with_role(Role.MODULATION)}
        if not modulations:
            raise RecipeError(
                f"Recipe 'adaln-zero' has nothing to do: {structure.model} has no modulation.",
                context=["a modulation makes scales, shifts or gates for activations from a condition"],
                fix='recipe="zero-residual"',
            )
        assigned = xavier_of_gain_1(structure, "uniform")
        for parameter in structure.parameters:
            reason = self._reason(parameter, modulations)
            given = assigned.get(parameter.tied_to or parameter.name)
            if reason is not None and given is not None and given.scheme is not None:
                closed = Assignment(scheme=nearly_zero(self.epsilon), reason=reason)
                assigned[parameter.tied_to or parameter.name] = closed
        return assigned

    def _reason(self, parameter: Parameter, modulations: set[str]) -> str | None:
        if parameter.name in modulations or parameter.follows in modulations:
            return "a modulation: no scale, no shift, a closed gate"
        return "the head: the output is zero" if parameter.role is Role.HEAD else None
