"""Zero convolutions: a trained copy that starts by adding nothing to its frozen trunk."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from exnihilo.errors import RecipeError
from exnihilo.recipes.gating import rest_kept
from exnihilo.recipes.joining import joining
from exnihilo.recipes.records import Assignment
from exnihilo.recipes.zero import nearly_zero
from exnihilo.schemes import Zeros
from exnihilo.schemes.scheme import require_not_negative
from exnihilo.structure.records import Parameter, Role, Structure


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroConv:
    """The maps that join a trained copy to its frozen trunk are zero; the rest is kept.

    Rule:
        A trained map is 0, weight and bias, where its output is added to what frozen parameters alone made: the 1x1
        convolutions of a ControlNet, at the input of the copy too if the trunk made what is added to there. Behind
        such a sum the trunk counts as frozen still. Low-rank adapters are kept, since one of their factors is zero
        already.

    Promise:
        The output is that of the trunk alone at the start, bit for bit. The joining maps move at the first step, the
        copy at the second.

    Fails when:
        The trained layers are the trunk's own, such as the last ones of a network that is fine-tuned: their ends join
        a frozen path as well, and zeros there erase what they had learned. Or nothing is frozen when the plan is made:
        then the maps are to be named.

    Args:
        parameters: The weights of the maps by a name with wildcards, or by a role such as ``"role:HEAD"``. Default
            None: those that the structure shows.
        epsilon: Standard deviation of the weights in place of zero, not negative. Default 0.0; a small number such as
            1e-4 lets the copy move at the first step.

    Raises:
        InvalidValueError: ``epsilon`` is negative or not finite.
        UnknownNameError: On ``assign``: the pattern means no parameter.
        RecipeError: On ``assign``: there is no such map; zeros in one would never open or would erase something else;
            or one feeds another and nothing else does: two zeros in a row.

    Example:
        >>> ZeroConv(parameters="control.zero_*.weight").epsilon
        0.0

    References:
        Zhang, Rao, Agrawala (2023), Adding Conditional Control to Text-to-Image Diffusion Models, section 3.1.
    """

    name: ClassVar[str] = "zero-conv"
    parameters: str | None = None
    epsilon: float = 0.0

    def __post_init__(self) -> None:
        require_not_negative("zero-conv", "epsilon", self.epsilon, 1e-4)

    def assign(self, structure: Structure) -> Mapping[str, Assignment]:
        """Zeros for the joining maps and their biases, keep for the rest."""
        maps = joining(structure, self.name, self.parameters, _is_map, "map")
        if not self.epsilon:
            _require_one_in_a_row(structure, maps)
        names = {one.name for one in maps}
        biases = [b.tied_to or b.name for b in structure.with_role(Role.BIAS) if b.follows in names and not b.frozen]
        weight = Assignment(scheme=nearly_zero(self.epsilon), reason="joins a trained path to its trunk")
        bias = Assignment(scheme=Zeros(), reason="joins a trained path to its trunk")
        return rest_kept(structure, {**dict.fromkeys(names, weight), **dict.fromkeys(biases, bias)})


def _is_map(parameter: Parameter) -> bool:
    return bool(parameter.layout.in_dims) and parameter.role not in (Role.ADAPTER, Role.EMBEDDING, Role.POSITION)


def _require_one_in_a_row(structure: Structure, maps: tuple[Parameter, ...]) -> None:
    names = {one.name for one in maps}
    for one in maps:
        if one.fed_by in names:
            raise RecipeError(
                f"'{one.name}' and '{one.fed_by}' of {structure.model} would be two zeros in a row.",
                context=["the second reads the first alone, so that neither would ever receive a gradient"],
                fix=f"recipe=\"zero-conv(parameters='{one.name}')\", or epsilon=0.0001",
            )
