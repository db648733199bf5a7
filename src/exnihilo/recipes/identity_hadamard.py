"""Starts without randomness: identities, and Hadamard matrices where a map widens."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import by_role, keep
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import why_not_zero_behind
from exnihilo.schemes import Hadamard, Identity, Zeros
from exnihilo.schemes.hadamard import Scale
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityHadamard:
    """Every map hands its input on, through a Hadamard matrix where it widens; the last map of each branch is zero.

    Rule:
        Maps that do not widen: the identity, cut off. Maps that do: the first rows and columns of a Hadamard matrix,
        scaled. Kernels hold this at their center. The last map of each residual branch is zero. Embeddings are kept,
        biases zero, norms neutral.

    Promise:
        No number of a map is random: two models, whatever the seed, start the same. Every branch that ends in a zero
        adds exactly nothing.

    Fails when:
        Embeddings are drawn by the model: they are as random as it made them. A map widens beyond the next power of two
        of its inputs: rows of the Hadamard matrix then agree in all columns that are left, and where what follows
        narrows such units stay equal to each other for ever. ``exnihilo.check`` counts them.

    Args:
        scale: Of the Hadamard matrices: ``"paper"`` or ``"notebook"``. Default ``"paper"``: what is published; the
            authors' code divides by √2 more.

    Raises:
        UnknownNameError: There is no such ``scale``.

    Example:
        >>> IdentityHadamard().scale
        'paper'

    References:
        Zhao, Schäfer, Anandkumar (2022), ZerO Initialization: Initializing Neural Networks with only Zeros and Ones,
        algorithms 1 and 2.
    """

    name: ClassVar[str] = "identity-hadamard"
    scale: Scale = "paper"

    def __post_init__(self) -> None:
        Hadamard(scale=self.scale)  # refuses another word

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        by_name = structure.by_name
        ends = {
            by_name[name].tied_to or name
            for branch in structure.branches
            if why_not_zero_behind(branch.ends_in) is None
            for name in branch.maps
        }
        assigned = by_role(structure, lambda parameter: self._map(parameter, ends))
        looked_up = (p for p in structure.parameters if p.role in {Role.EMBEDDING, Role.POSITION} and p.tied_to is None)
        return {**assigned, **{p.name: keep("an embedding: the model's own values") for p in looked_up}}

    def _map(self, parameter: Parameter, ends: set[str]) -> Assignment:
        if parameter.name in ends:
            return Assignment(scheme=Zeros(), reason="closes a residual branch")
        out, in_ = parameter.layout.out_units, parameter.layout.in_units
        if out > in_:
            return Assignment(scheme=Hadamard(scale=self.scale), reason=f"widens {in_} to {out}")
        return Assignment(scheme=Identity(), reason="hands its input on")
