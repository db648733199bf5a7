"""Schemes: laws for the values of one tensor, each with a promise that can be tested."""

from exnihilo.schemes.activations import ACTIVATIONS, Activation, activation_from_text, activation_named
from exnihilo.schemes.chrono import Chrono
from exnihilo.schemes.constant import Constant, Ones, Zeros
from exnihilo.schemes.formula import Formula
from exnihilo.schemes.gains import gain
from exnihilo.schemes.hadamard import Hadamard
from exnihilo.schemes.identity import Dirac, Identity, RepeatedIdentity
from exnihilo.schemes.mimetic import Mimetic
from exnihilo.schemes.mirrored import Mirrored
from exnihilo.schemes.named import ALIASES, SCHEMES, scheme_named
from exnihilo.schemes.noisy import Noisy
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.orthogonal import DeltaOrthogonal, Orthogonal
from exnihilo.schemes.rademacher import Rademacher
from exnihilo.schemes.scaled import scaled
from exnihilo.schemes.scheme import Scheme
from exnihilo.schemes.shared import Shared
from exnihilo.schemes.sliced import Sliced
from exnihilo.schemes.sparse import Sparse
from exnihilo.schemes.torch_default import TorchDefault
from exnihilo.schemes.truncated_normal import TruncatedNormal
from exnihilo.schemes.uniform import Uniform
from exnihilo.schemes.values import Values
from exnihilo.schemes.variance_scaling import (
    VarianceScaling,
    he_normal,
    he_uniform,
    lecun_normal,
    lecun_uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.schemes.weighted import Weighted
from exnihilo.schemes.zero_row import ZeroRow

glorot_normal = xavier_normal
glorot_uniform = xavier_uniform
kaiming_normal = he_normal
kaiming_uniform = he_uniform

__all__ = ["ACTIVATIONS", "ALIASES", "SCHEMES", "Activation", "Constant", "DeltaOrthogonal", "Dirac", "Hadamard"]
__all__ += ["Chrono", "Formula", "Identity", "Mimetic", "Mirrored", "Rademacher", "RepeatedIdentity", "Shared"]
__all__ += ["Noisy", "Normal", "Ones", "Orthogonal", "Scheme", "Sliced", "Sparse", "TorchDefault", "TruncatedNormal"]
__all__ += [
    "Uniform",
    "Values",
    "VarianceScaling",
    "Weighted",
    "ZeroRow",
    "Zeros",
    "activation_from_text",
    "activation_named",
    "gain",
    "glorot_normal",
]
__all__ += ["glorot_uniform", "he_normal", "he_uniform", "kaiming_normal", "kaiming_uniform", "lecun_normal"]
__all__ += ["lecun_uniform", "scaled", "scheme_named", "xavier_normal", "xavier_uniform"]
