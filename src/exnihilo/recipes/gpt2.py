"""GPT-2's law for every parameter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.depth_scaled import depths_of
from exnihilo.recipes.laws import by_role, require_branches
from exnihilo.recipes.records import Assignment
from exnihilo.schemes import Normal
from exnihilo.schemes.scheme import require_positive
from exnihilo.structure.records import Parameter, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class GPT2:
    """GPT-2's law: one std for all maps and embeddings, divided at the end of each residual branch.

    Rule:
        Maps ``N(0, std**2)``; the last maps of residual branches ``N(0, std**2 / N)`` with ``N`` the number of
        branches, which is twice the number of layers; embeddings and positions ``N(0, 0.02**2)``; biases and shifts 0;
        scales of norms neutral; other scales, adapters and frozen parameters as they are.

    Promise:
        Those standard deviations.

    Fails when:
        The width is far from 768: a fixed std grows the signal with the root of the width. Or branches end in norms,
        which take the division out again.

    Args:
        std: Of the maps, positive. Default 0.02.

    Raises:
        InvalidValueError: ``std`` is not positive and finite.
        RecipeError: On ``assign``: there is no residual branch.

    Example:
        >>> GPT2().std
        0.02

    References:
        Radford et al. (2019), Language Models are Unsupervised Multitask Learners, section 2.3.

    Differs:
        OpenAI's code draws positions with std 0.01.
    """

    name: ClassVar[str] = "gpt2"
    std: float = 0.02

    def __post_init__(self) -> None:
        require_positive("gpt2", "std", self.std, 0.02)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """An assignment for each parameter of known role."""
        require_branches(structure, self.name)
        depths = depths_of(structure, "total")
        by_name = structure.by_name
        ends = {
            by_name[name].tied_to or name: depths[branch.index]
            for branch in reversed(structure.branches)
            for name in branch.maps
        }
        return by_role(structure, lambda parameter: self._map(parameter, ends))

    def _map(self, parameter: Parameter, ends: Mapping[str, int]) -> Assignment:
        if parameter.name not in ends:
            return Assignment(scheme=Normal(std=self.std), reason=f"a map: std {self.std:g}")
        depth = ends[parameter.name]
        reason = f"ends a residual branch: std {self.std:g} / √{depth}"
        return Assignment(scheme=Normal(std=self.std / math.sqrt(depth)), reason=reason)
