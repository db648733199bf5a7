"""Very deep transformers with norms behind the sums."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.gates.records import Gate
from exnihilo.recipes.gating import gates_on, value_of
from exnihilo.recipes.layers import Layers, layers_of, maps_on, require_post_norm, scaled_in
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.xavier import xavier_of_gain_1
from exnihilo.structure.records import Branch, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepNorm:
    """Shortcuts scaled up and branches drawn smaller, the more layers there are.

    Rule:
        ``x = norm(α x + F(x))``. Maps are Xavier's of gain 1; feed-forward maps, values and outputs of attention times
        ``β``; queries, keys and the gates of gated maps stay so. Of ``N`` layers of one kind: ``α = (2N) ** (1/4)``,
        ``β = (8N) ** (-1/4)``. Of ``N`` encoder and ``M`` decoder layers: ``α = 0.81 (N**4 M) ** (1/16)``,
        ``β = 0.87 (N**4 M) ** (-1/16)`` in the encoder, ``α = (3M) ** (1/4)``, ``β = (12M) ** (-1/4)`` in the decoder.

    Promise:
        Those standard deviations, and ``norm(α x + F(x))``: a norm takes no notice of the size of what it is given, so
        that ``apply`` puts the constant ``1/α`` behind each branch, which is the same up to the norm's epsilon.

    Fails when:
        A norm stands elsewhere than behind the sum, or a branch has no place for its constant: refused.

    Raises:
        RecipeError: On ``assign``: there is no attention, or norms stand elsewhere.

    Example:
        >>> round(deepnorm_factors(200)[0], 4)
        4.4721

    References:
        Wang, Ma, Dong, Huang, Zhang, Wei (2022), DeepNet: Scaling Transformers to 1,000 Layers, section 4, figure 2.
    """

    name: ClassVar[str] = "deepnorm"

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Xavier's law, times the factor of the layer."""
        require_post_norm(structure, self.name)
        assigned = xavier_of_gain_1(structure, "normal")
        for layers, _, factor in _parts(layers_of(structure, self.name)):
            for layer in layers:
                for name in maps_on(structure, layer):
                    assigned[name] = scaled_in(structure, name, assigned[name], factor, f"for {len(layers)} layers")
        return assigned

    def gates(self, structure: Structure) -> Mapping[Gate, Assignment]:
        """The constant behind each branch."""
        require_post_norm(structure, self.name)
        shares = {
            branch.index: 1.0 / alpha
            for layers, alpha, _ in _parts(layers_of(structure, self.name))
            for layer in layers
            for branch in layer
        }

        def law(branch: Branch) -> Assignment:
            share = shares[branch.index]
            return value_of(share, f"the shortcut counts {1 / share:.4g} times as much as the branch")

        chosen = [branch for branch in structure.branches if branch.index in shares]
        return gates_on(structure, self.name, chosen, law, trains=False)


def deepnorm_factors(encoder: int, decoder: int = 0) -> tuple[float, float, float, float]:
    """``α`` and ``β`` of the encoder, then of the decoder; of layers of one kind give ``encoder`` alone.

    Example:
        >>> [round(factor, 4) for factor in deepnorm_factors(6, 6)]
        [1.4179, 0.497, 2.0598, 0.3433]
    """
    if not decoder:
        return (2 * encoder) ** 0.25, (8 * encoder) ** -0.25, 1.0, 1.0
    both = encoder**4 * decoder
    return 0.81 * both**0.0625, 0.87 * both**-0.0625, (3 * decoder) ** 0.25, (12 * decoder) ** -0.25


Part = tuple[tuple[tuple[Branch, ...], ...], float, float]


def _parts(layers: Layers) -> list[Part]:
    """Layers of a kind with their factors."""
    alpha, beta, decoding_alpha, decoding_beta = deepnorm_factors(len(layers.encoder), len(layers.decoder))
    return [(layers.encoder, alpha, beta), (layers.decoder, decoding_alpha, decoding_beta)]
