"""Transformers with norms inside their branches."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.recipes.layers import layers_of, maps_on, scaled_in
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import xavier_of_gain_1
from exnihilo.structure.records import Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class SubLN:
    """Xavier's law with feed-forward maps, values and attention outputs scaled up with the log of the depth.

    Rule:
        Maps are Xavier's of gain 1; queries, keys and the gates of gated maps stay so. Of ``N`` layers of one kind,
        feed-forward maps, values and outputs of attention times ``sqrt(ln 2N)``. Of ``N`` encoder and ``M`` decoder
        layers times ``sqrt(ln(2N) ln(3M) / 3)`` in the encoder and ``sqrt(ln 3M)`` in the decoder.

    Promise:
        Those standard deviations.

    Fails when:
        The branches have no norm between their maps: the larger values are meant for one. It is not checked.

    Raises:
        RecipeError: On ``assign``: there is no attention on a residual branch.

    Example:
        >>> SubLN().name
        'sub-ln'

    References:
        Wang, Ma, Huang, Dong, Wang, Peng, Wu, Bajaj, Singhal, Benhaim, Patra, Liu, Chaudhary, Song, Wei (2022),
        Foundation Transformers, section 3, figure 2.
    """

    name: ClassVar[str] = "sub-ln"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Xavier's law, scaled by layer."""
        layers = layers_of(structure, self.name)
        encoder, decoder = len(layers.encoder), len(layers.decoder)
        single = math.sqrt(math.log(2 * encoder))
        crossed = math.sqrt(math.log(2 * encoder) * math.log(3 * decoder) / 3) if decoder else single
        assigned = xavier_of_gain_1(structure, "normal")
        factors = ((layers.encoder, crossed), (layers.decoder, math.sqrt(math.log(3 * max(decoder, 1)))))
        for part, factor in factors:
            for name in (name for layer in part for name in maps_on(structure, layer)):
                assigned[name] = scaled_in(structure, name, assigned[name], factor, f"for {len(part)} layers")
        return assigned
