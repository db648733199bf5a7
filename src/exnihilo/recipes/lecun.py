"""LeCun's law for every map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import Distribution, by_role, map_words, require_distribution
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import VarianceScaling
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class LeCun:
    """LeCun's law for every map: variance ``1 / fan_in``, whatever follows.

    Rule:
        Maps: variance ``1 / fan_in`` of each logical matrix; the law has no gain, being made for activations that
        keep unit variance by themselves, such as SELU. All else as for ``xavier``.

    Promise:
        The standard deviation of each map is ``1 / sqrt(fan_in)``: what is behind the map has the mean square of its
        input.

    Fails when:
        ReLU follows: it halves the mean square at each layer; see ``he``.

    Args:
        distribution: ``"normal"``, ``"truncated_normal"`` or ``"uniform"``. Default ``"normal"``.

    Raises:
        UnknownNameError: There is no such distribution.

    Example:
        >>> LeCun().name
        'lecun'

    References:
        LeCun, Bottou, Orr, Müller (1998), Efficient BackProp, section 4.6.
        Klambauer, Unterthiner, Mayr, Hochreiter (2017), Self-Normalizing Neural Networks, for SELU.
    """

    name: ClassVar[str] = "lecun"
    distribution: Distribution = "normal"

    def __post_init__(self) -> None:
        require_distribution(self.distribution)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        scheme = VarianceScaling(distribution=self.distribution)
        return by_role(structure, lambda parameter: Assignment(scheme=scheme, reason=map_words(parameter)))
