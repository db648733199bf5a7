"""The recipes by name."""

from collections.abc import Callable, Mapping
from dataclasses import is_dataclass

from exnihilo.errors import InvalidValueError
from exnihilo.recipes.adaln_zero import AdaLNZero
from exnihilo.recipes.admin import Admin
from exnihilo.recipes.constant import AllConstant
from exnihilo.recipes.deepnorm import DeepNorm
from exnihilo.recipes.default import Default
from exnihilo.recipes.delta_orthogonal import DeltaOrthogonalMaps
from exnihilo.recipes.depth_scaled import DepthScaled
from exnihilo.recipes.fixup import Fixup
from exnihilo.recipes.gpt2 import GPT2
from exnihilo.recipes.he import He
from exnihilo.recipes.identity_hadamard import IdentityHadamard
from exnihilo.recipes.idinit import IDInit
from exnihilo.recipes.layerscale import LayerScale
from exnihilo.recipes.lecun import LeCun
from exnihilo.recipes.looks_linear import LooksLinear
from exnihilo.recipes.mimetic import MimeticAttention
from exnihilo.recipes.mup import MuP
from exnihilo.recipes.orthogonal import OrthogonalMaps
from exnihilo.recipes.prior_bias import PriorBias
from exnihilo.recipes.records import Recipe
from exnihilo.recipes.recurrent import Recurrent
from exnihilo.recipes.rezero import ReZero
from exnihilo.recipes.siren import Siren
from exnihilo.recipes.skipinit import SkipInit
from exnihilo.recipes.sub_ln import SubLN
from exnihilo.recipes.t_fixup import TFixup
from exnihilo.recipes.xavier import Xavier
from exnihilo.recipes.zero_bias import ZeroBias
from exnihilo.recipes.zero_conv import ZeroConv
from exnihilo.recipes.zero_gate import ZeroGate
from exnihilo.recipes.zero_head import ZeroHead
from exnihilo.recipes.zero_residual import ZeroResidual
from exnihilo.recipes.zeros import AllZeros
from exnihilo.recipes.zeros_noise import ZerosNoise
from exnihilo.schemes.spec import built, options_text

RECIPES: Mapping[str, Callable[[], Recipe]] = {
    "default": Default,
    "zeros": AllZeros,
    "constant": AllConstant,
    "zeros+noise": ZerosNoise,
    "xavier": Xavier,
    "he": He,
    "lecun": LeCun,
    "orthogonal": OrthogonalMaps,
    "zero-bias": ZeroBias,
    "zero-head": ZeroHead,
    "zero-residual": ZeroResidual,
    "depth-scaled": DepthScaled,
    "gpt2": GPT2,
    "rezero": ReZero,
    "skipinit": SkipInit,
    "layerscale": LayerScale,
    "fixup": Fixup,
    "t-fixup": TFixup,
    "deepnorm": DeepNorm,
    "sub-ln": SubLN,
    "adaln-zero": AdaLNZero,
    "zero-conv": ZeroConv,
    "zero-gate": ZeroGate,
    "identity-hadamard": IdentityHadamard,
    "idinit": IDInit,
    "delta-orthogonal": DeltaOrthogonalMaps,
    "looks-linear": LooksLinear,
    "mimetic": MimeticAttention,
    "siren": Siren,
    "recurrent": Recurrent,
    "admin": Admin,
    "prior-bias": PriorBias,
}


def recipe_named(text: str) -> Recipe:
    """The recipe of a name, with any options in parentheses.

    Raises:
        UnknownNameError: There is no such recipe, or it has no such option; the nearest known name is suggested.
        InvalidValueError: The text has another form, or an option's value is refused.

    Example:
        >>> recipe_named("depth-scaled(base=normal(std=0.02), per=layer)").per
        'layer'
    """
    if text.partition("(")[0].strip() == MuP.name:
        raise InvalidValueError(
            f"Recipe '{text}' has no base: its rates are by how much wider a model is than that.",
            fix="recipe = exnihilo.mup(narrow_model, example)",
        )
    return built(text, "recipe", RECIPES, example="zero-residual")


def recipe_text(recipe: Recipe) -> str:
    """The text of a recipe: its name, and the options that differ from their defaults.

    Example:
        >>> recipe_text(AllConstant(value=0.5)), recipe_text(AllConstant())
        ('constant(value=0.5)', 'constant')
    """
    if isinstance(recipe, MuP):
        return recipe.spelled
    return f"{recipe.name}{options_text(recipe) if is_dataclass(recipe) else ''}"


def recipes() -> dict[str, str]:
    """What each recipe does, in one line, by name.

    Example:
        >>> recipes()["default"]
        "Keeps every parameter: the values that the model's own constructor gave it."
    """
    return {name: (recipe.__doc__ or "").partition("\n")[0] for name, recipe in RECIPES.items()}
