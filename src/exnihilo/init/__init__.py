"""A drop-in for ``torch.nn.init`` with keyed draws, and with the laws that it lacks: ``docs/init.md``."""

# Modules call the private two in reset_parameters.
from torch.nn.init import _calculate_correct_fan as _calculate_correct_fan  # pyright: ignore[reportPrivateUsage]
from torch.nn.init import (
    _calculate_fan_in_and_fan_out as _calculate_fan_in_and_fan_out,  # pyright: ignore[reportPrivateUsage]
)
from torch.nn.init import calculate_gain

from exnihilo.init.deprecated import (
    constant,
    dirac,
    eye,
    kaiming_normal,
    kaiming_uniform,
    normal,
    orthogonal,
    sparse,
    uniform,
    xavier_normal,
    xavier_uniform,
)
from exnihilo.init.elementwise import (
    constant_,
    normal_,
    ones_,
    rademacher_,
    trunc_normal_,
    truncated_normal_,
    uniform_,
    zeros_,
)
from exnihilo.init.matrices import delta_orthogonal_, orthogonal_, sparse_
from exnihilo.init.patterns import dirac_, eye_, hadamard_, identity_, repeated_identity_
from exnihilo.init.scaled import (
    kaiming_normal_,
    kaiming_uniform_,
    lecun_normal_,
    lecun_uniform_,
    variance_scaling_,
    xavier_normal_,
    xavier_uniform_,
)

__all__ = ["calculate_gain", "constant", "constant_", "delta_orthogonal_", "dirac", "dirac_", "eye", "eye_"]
__all__ += ["hadamard_", "identity_", "kaiming_normal", "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_"]
__all__ += ["lecun_normal_", "lecun_uniform_", "normal", "normal_", "ones_", "orthogonal", "orthogonal_"]
__all__ += ["rademacher_", "repeated_identity_", "sparse", "sparse_", "trunc_normal_", "truncated_normal_", "uniform"]
__all__ += ["uniform_", "variance_scaling_", "xavier_normal", "xavier_normal_", "xavier_uniform", "xavier_uniform_"]
__all__ += ["zeros_"]
