"""Transformers without norms and without a warm-up."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.laws import owners
from exnihilo.recipes.layers import layers_of, maps_on, require_no_norms, scaled_in
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import xavier_of_gain_1
from exnihilo.schemes import Normal
from exnihilo.structure.records import Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class TFixup:
    """Xavier's law with feed-forward maps, values, attention outputs and embeddings scaled down by depth.

    Rule:
        Maps are Xavier's of gain 1; queries, keys and the gates of gated maps stay so. In ``N`` encoder layers (or
        layers of one kind) feed-forward maps, values and outputs of attention times ``0.67 N ** (-1/4)``; in ``M``
        decoder layers times ``(9M) ** (-1/4)``. Embeddings have standard deviation ``d ** (-1/2)`` for rows of ``d``
        numbers, times ``(9L) ** (-1/4)`` with ``L`` the number of layers on their side.

    Promise:
        Those standard deviations: one Adam step changes the output by an amount that does not grow with the depth.

    Fails when:
        The model has norms, or no attention: refused.

    Raises:
        RecipeError: On ``assign``: the model has norms, or no attention on a residual branch.

    Example:
        >>> TFixup().name
        't-fixup'

    References:
        Huang, Perez, Ba, Volkovs (2020), Improving Transformer Optimization Through Better Initialization, section 4.

    Differs:
        The authors multiply values by √2 as well, which only undoes a gain of 1/√2 that their framework has. With an
        encoder and a decoder every embedding is scaled by the larger of the two depths.
    """

    name: ClassVar[str] = "t-fixup"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Xavier's law, scaled by layer."""
        require_no_norms(structure, self.name)
        layers = layers_of(structure, self.name)
        assigned = xavier_of_gain_1(structure, "normal")
        for part, factor in (
            (layers.encoder, 0.67 * len(layers.encoder) ** -0.25),
            (layers.decoder, (9 * max(len(layers.decoder), 1)) ** -0.25),
        ):
            for name in (name for layer in part for name in maps_on(structure, layer)):
                assigned[name] = scaled_in(structure, name, assigned[name], factor, f"for {len(part)} layers")
        depth = max(len(layers.encoder), len(layers.decoder))
        for parameter in owners(structure):
            if parameter.role is Role.EMBEDDING and not parameter.frozen:
                size = parameter.shape[-1]
                std = (9 * depth) ** -0.25 / math.sqrt(size)
                assigned[parameter.name] = Assignment(scheme=Normal(std=std), reason=f"rows of {size}, {depth} layers")
        return assigned
