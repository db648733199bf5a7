"""Xavier's law for every map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import Distribution, by_role, gain_after, map_words, require_distribution
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import VarianceScaling
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class Xavier:
    """Xavier's (Glorot's) law for every map, with the gain of the activation that really follows it.

    Rule:
        Maps: variance ``2 gain**2 / (fan_in + fan_out)`` of each logical matrix, gain by quadrature, 1 where no
        activation follows. Embeddings and positions ``N(0, 0.02**2)``; biases and shifts 0; scales of norms neutral;
        other scales, adapters and frozen parameters as they are.

    Promise:
        The standard deviation of each map is ``gain * sqrt(2 / (fan_in + fan_out))``.

    Fails when:
        Widths change much from layer to layer: neither direction is preserved, only their mean. Or the network is
        residual and deep: each branch adds its variance, which ``depth-scaled`` and ``zero-residual`` mend.

    Args:
        distribution: ``"normal"``, ``"truncated_normal"`` or ``"uniform"``. Default ``"uniform"``, that of the paper.

    Raises:
        UnknownNameError: There is no such distribution.

    Example:
        >>> Xavier(distribution="normal").name
        'xavier'

    References:
        Glorot, Bengio (2010), Understanding the difficulty of training deep feedforward neural networks, section 4.2.1.
    """

    name: ClassVar[str] = "xavier"
    distribution: Distribution = "uniform"

    def __post_init__(self) -> None:
        require_distribution(self.distribution)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        return by_role(structure, self._map)

    def _map(self, parameter: Parameter) -> Assignment:
        gain, why = gain_after(parameter)
        scheme = VarianceScaling(scale=gain**2, mode="fan_avg", distribution=self.distribution)
        return Assignment(scheme=scheme, reason=f"{map_words(parameter)}; {why}")


def xavier_of_gain_1(structure: Structure, distribution: Distribution) -> dict[str, Assignment]:
    """Xavier's law as it was published, whatever activation follows: what the laws of transformers start from."""

    def law(parameter: Parameter) -> Assignment:
        scheme = VarianceScaling(mode="fan_avg", distribution=distribution)
        return Assignment(scheme=scheme, reason=f"{map_words(parameter)}; gain 1, whatever follows")

    return by_role(structure, law)
