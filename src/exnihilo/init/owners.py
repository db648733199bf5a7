"""The layout of a tensor in the module that owns it."""

from torch import Tensor, nn

from exnihilo.errors import InvalidValueError
from exnihilo.layouts import Layout


def layout_in(module: nn.Module, tensor: Tensor) -> Layout:
    """The layout that the module's operation gives to one of its parameters.

    Args:
        module: The module that owns the tensor, or any above it.
        tensor: A parameter of it, or what shares all of a parameter's memory, such as ``weight.data``.

    Raises:
        InvalidValueError: No parameter of the module is that tensor.
        LayoutError: The operation of its owner is not known.

    Example:
        >>> conv = nn.ConvTranspose2d(8, 16, 3)
        >>> layout_in(conv, conv.weight.data).fan_in
        72
    """
    for name, parameter in module.named_parameters(remove_duplicate=False):
        if parameter is tensor or (not tensor.is_meta and tensor.is_set_to(parameter)):
            return Layout.of(module, name)
    raise InvalidValueError(
        f"No parameter of {type(module).__name__} is the tensor of shape {tuple(tensor.shape)} that was given.",
        context=["module= names the module that owns the tensor, or any above it"],
        fix="kaiming_normal_(module.weight, module=module)",
    )
