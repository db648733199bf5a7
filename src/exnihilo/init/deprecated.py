"""The names that torch.nn.init had before its functions ended in an underscore, with its warning."""

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec

from torch import Tensor

from exnihilo.init.elementwise import constant_, normal_, uniform_
from exnihilo.init.matrices import orthogonal_, sparse_
from exnihilo.init.patterns import dirac_, eye_
from exnihilo.init.scaled import kaiming_normal_, kaiming_uniform_, xavier_normal_, xavier_uniform_

_P = ParamSpec("_P")


def _old_name(function: Callable[_P, Tensor]) -> Callable[_P, Tensor]:
    new = function.__name__
    old = new.removesuffix("_")

    @functools.wraps(function)
    def deprecated(*args: _P.args, **kwargs: _P.kwargs) -> Tensor:
        warnings.warn(f"`nn.init.{old}` is now deprecated in favor of `nn.init.{new}`.", FutureWarning, stacklevel=2)
        return function(*args, **kwargs)

    deprecated.__name__ = deprecated.__qualname__ = old
    deprecated.__doc__ = f"The older name of ``{new}``; warns."
    return deprecated


uniform = _old_name(uniform_)
normal = _old_name(normal_)
constant = _old_name(constant_)
eye = _old_name(eye_)
dirac = _old_name(dirac_)
xavier_uniform = _old_name(xavier_uniform_)
xavier_normal = _old_name(xavier_normal_)
kaiming_uniform = _old_name(kaiming_uniform_)
kaiming_normal = _old_name(kaiming_normal_)
orthogonal = _old_name(orthogonal_)
sparse = _old_name(sparse_)
