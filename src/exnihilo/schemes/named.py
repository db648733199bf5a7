"""The schemes by name."""

from collections.abc import Callable, Mapping

from exnihilo.errors import UnknownNameError
from exnihilo.schemes.chrono import Chrono
from exnihilo.schemes.constant import Constant, Ones, Zeros
from exnihilo.schemes.formula import Formula
from exnihilo.schemes.hadamard import Hadamard
from exnihilo.schemes.identity import Dirac, Identity, RepeatedIdentity
from exnihilo.schemes.mimetic import Mimetic
from exnihilo.schemes.mirrored import Mirrored
from exnihilo.schemes.noisy import Noisy
from exnihilo.schemes.normal import Normal
from exnihilo.schemes.orthogonal import DeltaOrthogonal, Orthogonal
from exnihilo.schemes.rademacher import Rademacher
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

SCHEMES: Mapping[str, Callable[[], Scheme]] = {
    "zeros": Zeros,
    "ones": Ones,
    "constant": Constant,
    "normal": Normal,
    "uniform": Uniform,
    "truncated_normal": TruncatedNormal,
    "rademacher": Rademacher,
    "variance_scaling": VarianceScaling,
    "lecun_normal": lecun_normal,
    "lecun_uniform": lecun_uniform,
    "xavier_normal": xavier_normal,
    "xavier_uniform": xavier_uniform,
    "he_normal": he_normal,
    "he_uniform": he_uniform,
    "orthogonal": Orthogonal,
    "delta_orthogonal": DeltaOrthogonal,
    "identity": Identity,
    "repeated_identity": RepeatedIdentity,
    "hadamard": Hadamard,
    "dirac": Dirac,
    "mimetic": Mimetic,
    "mirrored": Mirrored,
    "chrono": Chrono,
    "formula": Formula,
    "shared": Shared,
    "sliced": Sliced,
    "sparse": Sparse,
    "noisy": Noisy,
    "torch_default": TorchDefault,
    "values": Values,
    "weighted": Weighted,
    "zero_row": ZeroRow,
}

# Second names of the same schemes: the authors' first names or last names, as other libraries have them.
ALIASES: Mapping[str, str] = {
    "glorot_normal": "xavier_normal",
    "glorot_uniform": "xavier_uniform",
    "kaiming_normal": "he_normal",
    "kaiming_uniform": "he_uniform",
}


def scheme_named(name: str) -> Scheme:
    """The scheme of that name or alias, with its default options.

    Raises:
        UnknownNameError: There is none; the nearest known name is suggested.

    Example:
        >>> scheme_named("kaiming_normal") == he_normal()
        True
    """
    name = ALIASES.get(name, name)
    if name not in SCHEMES:
        raise UnknownNameError.of("scheme", name, [*SCHEMES, *ALIASES])
    return SCHEMES[name]()
