"""He's law for every map."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from exnihilo.errors import UnknownNameError
from exnihilo.recipes.laws import Distribution, by_role, gain_after, map_words, require_distribution
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import VarianceScaling
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class He:
    """He's (Kaiming's) law for every map, with the gain of the activation that really follows it.

    Rule:
        Maps: variance ``gain**2 / fan_in`` of each logical matrix, gain by quadrature: 2 / fan_in before ReLU,
        1 / fan_in where no activation follows. With ``mode="fan_out"`` that fan and the gain of the derivative.
        All else as for ``xavier``.

    Promise:
        The standard deviation of each map is ``gain / sqrt(fan_in)``: the mean square behind each activation is that
        of the map's input, exactly so for ReLU, else near unit mean square.

    Fails when:
        The network is residual and deep: each branch adds its variance to the stream.

    Args:
        distribution: ``"normal"``, ``"truncated_normal"`` or ``"uniform"``. Default ``"normal"``, that of the paper.
        mode: ``"fan_in"`` preserves the signal forward, ``"fan_out"`` the gradient backward. Default ``"fan_in"``.

    Raises:
        UnknownNameError: There is no such distribution or mode.

    Example:
        >>> He(mode="fan_out").name
        'he'

    References:
        He, Zhang, Ren, Sun (2015), Delving Deep into Rectifiers, section 2.2.
    """

    name: ClassVar[str] = "he"
    distribution: Distribution = "normal"
    mode: Literal["fan_in", "fan_out"] = "fan_in"

    def __post_init__(self) -> None:
        require_distribution(self.distribution)
        if self.mode not in ("fan_in", "fan_out"):
            raise UnknownNameError.of("mode", self.mode, ("fan_in", "fan_out"))

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        return by_role(structure, self._map)

    def _map(self, parameter: Parameter) -> Assignment:
        gain, why = gain_after(parameter, "forward" if self.mode == "fan_in" else "backward")
        scheme = VarianceScaling(scale=gain**2, mode=self.mode, distribution=self.distribution)
        return Assignment(scheme=scheme, reason=f"{map_words(parameter)}; {why}")
