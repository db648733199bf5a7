"""A head that starts at the frequency of its classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.laws import keep, owners
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero_head import ZeroHead
from exnihilo.structure.records import Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorBias:
    """The bias of every head is the log of the class prior; the rest is kept.

    Rule:
        ``b_c = log p_c`` for softmax outputs, or ``b = log(p / (1 - p))`` for logistic ones, as in ``zero-head``; the
        weight stays as it is.

    Promise:
        Where the weight adds little, the loss starts near the entropy of the prior: the first steps are not spent on
        learning how rare a class is.

    Fails when:
        The head has no bias of that size: refused.

    Args:
        class_prior: Probabilities of the classes, which are normalized to sum 1; or one probability, for logistic
            outputs that are each positive that often. Default 0.01, that of RetinaNet.

    Raises:
        InvalidValueError: A probability is not in (0, 1).
        RecipeError: On ``assign``: there is no head, or it has no bias of that size.

    Example:
        >>> PriorBias(class_prior=(0.9, 0.1)).name
        'prior-bias'

    References:
        Lin, Goyal, Girshick, He, Dollár (2017), Focal Loss for Dense Object Detection, section 3.3.
    """

    name: ClassVar[str] = "prior-bias"
    class_prior: float | tuple[float, ...] = 0.01

    def __post_init__(self) -> None:
        ZeroHead(class_prior=self.class_prior)  # refuses what is no probability

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """The log prior for the biases of heads, keep for the rest."""
        heads = {head.name for head in structure.with_role(Role.HEAD)}
        biases = [bias for bias in structure.with_role(Role.BIAS) if bias.follows in heads and not bias.frozen]
        if not biases:
            raise RecipeError(
                f"Recipe 'prior-bias' has nothing to do: {structure.model} has no head with a bias that is trained.",
                context=["a head is the last map to an output"],
                fix="nn.Linear(features, classes, bias=True)",
            )
        kept = {parameter.name: keep("not the bias of a head") for parameter in owners(structure)}
        return {**kept, **ZeroHead(class_prior=self.class_prior).biases(structure, biases)}
