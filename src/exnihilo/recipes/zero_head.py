"""The head zero, the rest as it is."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import InvalidValueError, RecipeError
from exnihilo.recipes.laws import constant, keep, named, owners, roles_of
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import why_dead_behind
from exnihilo.schemes import Normal, Scheme, Values, Zeros
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroHead:
    """The weight of every head is zero, its bias zero or the log of the class prior; the rest is kept.

    Rule:
        ``W = 0``; ``b = 0``, or ``b_c = log p_c`` for softmax outputs, or ``b = log(p / (1 - p))`` for logistic ones.

    Promise:
        The output does not depend on the input at the start: the loss is ``ln C`` for ``C`` classes, or the entropy
        of the prior.

    Fails when:
        What is below the head must move at the first step: with a zero head it receives no gradient before the second.
        Or the head shares its tensor with an embedding, which zeros would erase: then it is refused.

    Args:
        class_prior: Probabilities of the classes, positive, which are normalized to sum 1; or one probability, for
            logistic outputs that are each positive that often. Default None: zero bias, equal classes.
        epsilon: Standard deviation of the weight in place of zero. Default 0.0; a small number such as 0.01 lets what
            is below move at the first step.

    Raises:
        InvalidValueError: A probability is not in (0, 1), or ``epsilon`` is negative or not finite.
        RecipeError: On ``assign``: the model has no head; it is tied, frozen, or followed by an activation that
            passes no gradient at 0; or a prior is given and the head has no bias of that size.

    Example:
        >>> ZeroHead(class_prior=0.01).name
        'zero-head'

    References:
        Lin, Goyal, Girshick, He, Dollár (2017), Focal Loss for Dense Object Detection, section 3.3, for the prior.
        Kolesnikov et al. (2020), Big Transfer, section 3.3, for the zero head.
    """

    name: ClassVar[str] = "zero-head"
    class_prior: float | tuple[float, ...] | None = None
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("zero-head", "epsilon", self.epsilon, 0.01)
        prior = self.class_prior
        for p in () if prior is None else prior if isinstance(prior, tuple) else (prior,):
            if not 0.0 < p < 1.0:
                raise InvalidValueError(
                    f"zero-head.class_prior has the probability {p}; each must be in (0, 1).",
                    fix="class_prior=(0.9, 0.1)",
                )

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Zeros for heads, zeros or the log prior for their biases, keep for the rest."""
        heads = structure.with_role(Role.HEAD)
        if not heads:
            raise RecipeError(
                f"Recipe 'zero-head' has nothing to do: {structure.model} has no head.",
                context=["a head is the last map to an output", *_tied_embeddings(structure)],
                fix='untie the head, or name the map: recipe="default", overrides={"fc.weight": "zeros"}',
            )
        for head in heads:
            _require_zeroable(structure, head)
        weights = {head.name for head in heads}
        biases = [bias for bias in structure.with_role(Role.BIAS) if bias.follows in weights]
        return {
            **{parameter.name: keep("not of a head") for parameter in owners(structure)},
            **{head.length or head.name: self._weight(head) for head in heads},
            **self.biases(structure, biases),
        }

    def _weight(self, head: Parameter) -> Assignment:
        if head.length:
            return Assignment(scheme=constant(self.epsilon), reason="the length of a head, which is normalized")
        if self.epsilon:
            return Assignment(scheme=Normal(std=self.epsilon), reason="a head: the output hardly depends on the input")
        return Assignment(scheme=Zeros(), reason="a head: the output ignores the input")

    def biases(self, structure: Structure, biases: Iterable[Parameter]) -> dict[str, Assignment]:
        """The log of the prior for each bias that it fits, else zero.

        Raises:
            RecipeError: It fits none.
        """
        if self.class_prior is None:
            return {bias.name: Assignment(scheme=Zeros(), reason="equal classes") for bias in biases}
        size = len(self.class_prior) if isinstance(self.class_prior, tuple) else None
        fitting = [bias for bias in biases if size is None or bias.shape == (size,)]
        if not fitting:
            wanted = "a bias" if size is None else f"a bias of {size} entries"
            raise RecipeError(
                f"Recipe 'zero-head' with a class prior needs a head with {wanted}; {structure.model} has none.",
                context=[f"biases of heads: {named(f'{bias.name} {bias.shape}' for bias in biases) or 'none'}"],
                fix="give one probability for each class of the head, or leave class_prior out",
            )
        prior = Assignment(scheme=self._prior(), reason="log of the class prior")
        equal = Assignment(scheme=Zeros(), reason="equal classes: the prior is another head's")
        return {bias.name: prior if bias in fitting else equal for bias in biases}

    def _prior(self) -> Scheme:
        if isinstance(self.class_prior, tuple):
            total = math.fsum(self.class_prior)
            return Values(values=tuple(math.log(p / total) for p in self.class_prior))
        p = self.class_prior or 0.5
        return Values(values=(math.log(p / (1.0 - p)),))


def _tied_embeddings(structure: Structure) -> list[str]:
    tied = [p for p in structure.with_role(Role.EMBEDDING) if p.tied_to is not None]
    return [f"'{p.name}' is the embedding '{p.tied_to}', which zeros would erase" for p in tied]


def _require_zeroable(structure: Structure, head: Parameter) -> None:
    others = roles_of(structure)[head.tied_to or head.name] - {Role.HEAD}
    dead = why_dead_behind(head.activation)
    if head.tied_to or others:
        shared = head.tied_to or next(p.name for p in structure.parameters if p.tied_to == head.name)
        why = f"shares its tensor with '{shared}', which zeros would erase"
    elif head.frozen or head.detached:
        why = "receives no gradient, so that it would stay zero"
    elif dead:
        why = dead
    elif head.divided and head.length is None:
        why = "is divided by its own length, so that zeros would make no number"
    else:
        return
    raise RecipeError(
        f"Recipe 'zero-head' cannot zero '{head.name}': it {why}.",
        context=[f"shape {head.shape}, evidence: {head.evidence}"],
        fix='untie or unfreeze it, or choose another recipe, such as recipe="zero-bias"',
    )
