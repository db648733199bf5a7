"""Starts at the identity, on the stream and on its branches."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import by_role
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import why_not_zero_behind
from exnihilo.schemes import Noisy, RepeatedIdentity, Scheme
from exnihilo.schemes.scheme import require_finite, require_not_negative
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class IDInit:
    """Every map hands its input on, over and over where it widens; the last map of each branch does so in small.

    Rule:
        Maps: ``tau`` times an identity that is repeated along the longer side, on kernels seen as a matrix of ``out``
        by ``in * k * k``; on top of it noise of standard deviation ``noise``. The last map of each residual branch:
        ``epsilon`` times that identity, without noise. All else as for ``he``.

    Promise:
        No row and no column of a map is zero, also at the end of a branch, so that everything moves at the first step.
        Each branch adds ``epsilon`` times what arrives at its last map.

    Fails when:
        A map widens: the units that repeat others differ by the noise alone, and part slowly. A map that narrows or
        has a kernel sums several inputs: without a norm behind it the signal grows. What follows resolves no
        ``epsilon``: a stream in bfloat16 does not see the branches at first.

    Args:
        tau: The identity's entries, finite. Default 1.0, the paper's.
        epsilon: Those at the end of a branch, finite. Default 1e-6, the paper's.
        noise: Standard deviation of what is added to identities of ``tau``, not negative. Default 1e-6.

    Raises:
        InvalidValueError: A number is not finite, or the noise negative.

    Example:
        >>> IDInit().epsilon
        1e-06

    References:
        Pan, Wang, Wu, Wang, Zhang, Xu (2025), IDInit: A Universal and Stable Initialization Method for Neural Network
        Training, figure 3.

    Differs:
        The paper's summary and figure say the repeated identity, the kernel as a matrix, ``tau`` and ``epsilon``, and
        that the identity is loosened. That it is repeated along inputs too, in the order in which PyTorch flattens a
        kernel, that small identities have the pattern of the large ones, and the size of the noise are our reading.
    """

    name: ClassVar[str] = "idinit"
    tau: float = 1.0
    epsilon: float = 1e-6
    noise: float = 1e-6

    def __post_init__(self) -> None:
        require_finite("idinit", "tau", self.tau, 1.0)
        require_finite("idinit", "epsilon", self.epsilon, 1e-6)
        require_not_negative("idinit", "noise", self.noise, 1e-6)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        by_name = structure.by_name
        ends = {
            by_name[name].tied_to or name
            for branch in structure.branches
            if why_not_zero_behind(branch.ends_in) is None
            for name in branch.maps
        }
        return by_role(structure, lambda parameter: self._map(parameter, ends))

    def _map(self, parameter: Parameter, ends: set[str]) -> Assignment:
        if parameter.name in ends:
            return Assignment(scheme=RepeatedIdentity(gain=self.epsilon), reason="nearly closes a residual branch")
        identity: Scheme = RepeatedIdentity(gain=self.tau)
        loosened = Noisy(base=identity, std=self.noise) if self.noise else identity
        return Assignment(scheme=loosened, reason=_words(parameter))


def _words(parameter: Parameter) -> str:
    """What of the input a map hands on."""
    layout = parameter.layout
    out, in_ = layout.out_units, layout.in_units * layout.receptive_field
    if out == in_:
        return "hands its input on"
    return f"hands {in_} inputs on to {out} units, over and over" if out > in_ else f"sums {in_} inputs in {out} units"
