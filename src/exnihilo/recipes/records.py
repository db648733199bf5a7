"""What a recipe is, and what it says of one parameter."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from exnihilo.gates.records import Gate
from exnihilo.structure.records import Structure

if TYPE_CHECKING:  # an assignment only holds its scheme
    from exnihilo.schemes import Scheme


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """What a recipe says of one parameter.

    Args:
        scheme: The law of its new values; None keeps the values that it has.
        reason: Why, in one line that names no place in the model, so that equal rows of a plan can be folded.
        rate: What its learning rate is multiplied by. Default 1.
        decay: Weight decay applies to it. Default True; biases, shifts and scales never decay, whatever stands here.
    """

    scheme: "Scheme | None"
    reason: str
    rate: float = 1.0
    decay: bool = True


@runtime_checkable
class Recipe(Protocol):
    """A law for a whole model: a frozen value, checked when it is built, whose fields are its options."""

    name: ClassVar[str]

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """What becomes of each parameter, by canonical name.

        Owners of tied parameters alone are named. A parameter that no rule covers is left out: the plan then names it
        in an error.

        Raises:
            RecipeError: The recipe makes no sense for this structure.
        """
        ...


@runtime_checkable
class GatingRecipe(Recipe, Protocol):
    """A recipe that adds parameters to a model: gates, each with the law of its values."""

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """What is added, and what becomes of it.

        Raises:
            RecipeError: A gate has no place in this structure.
        """
        ...
