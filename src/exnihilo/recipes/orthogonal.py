"""A semi-orthogonal matrix for every map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import by_role, gain_after, map_words
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Orthogonal as OrthogonalScheme
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class OrthogonalMaps:
    """A semi-orthogonal matrix for every map, times the gain of the activation that really follows it.

    Rule:
        Maps: each logical matrix (out rows, in × kernel columns) is ``gain * Q`` with ``Q`` Haar-uniform. All else as
        for ``xavier``.

    Promise:
        All non-zero singular values of each matrix equal the gain.

    Fails when:
        Maps widen: the mean square falls to in / out of the input's. Or convolutions shall be isometries: a flattened
        kernel is none; ``DeltaOrthogonal`` is.

    Example:
        >>> OrthogonalMaps().name
        'orthogonal'

    References:
        Saxe, McClelland, Ganguli (2013), Exact solutions to the nonlinear dynamics of learning in deep linear neural
        networks, section 3.
    """

    name: ClassVar[str] = "orthogonal"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        return by_role(structure, _orthogonal)


def _orthogonal(parameter: Parameter) -> Assignment:
    gain, why = gain_after(parameter)
    return Assignment(scheme=OrthogonalScheme(gain=gain), reason=f"{map_words(parameter)}; {why}")
